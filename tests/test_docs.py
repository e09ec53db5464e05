"""README and the pages: links, line ranges, commands, options and names are those of the program."""

import ast
import importlib
import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import mamol.commands.run  # noqa: F401 - adds its commands to ex
from config import ex
from mamol.api.tables import options_of
from mamol.commands.tables import PLUGINS, parser
from mamol.core.names import PROTOCOLS
from mamol.core.settings import OPTIONS, Allowed, plugin_options
from mamol.data.facts import DATASETS
from mamol.data.imagetext.facts import BROKEN_IMAGES, PLOTS, WITHOUT_TEXT
from mamol.data.imagetext.hatefulmemes import TEST_FILES
from mamol.data.imagetext.registry import IMAGE_TEXT_DATASETS
from mamol.data.sceneinfo import LAYOUTS
from tests import method_lines
from tests.pages import PAGES, ROOT, commands, options, quoted, registered, section, tables, written
from tests.toys import toy_network

EQUATIONS = "MaMOL, equation by equation"
ALLOWED: dict[str, Allowed] = {name: spec.metadata["allowed"] for name, (_, spec) in OPTIONS.items()}
CHOICES = {
    "--protocol": PROTOCOLS,
    "--layout": LAYOUTS,
    "--plots": PLOTS,
    "--test-file": TEST_FILES,
    "--without-text": WITHOUT_TEXT,
    "--broken-images": BROKEN_IMAGES,
}
COMMANDS = {"train", *(name for name, _ in ex.gather_commands())}
by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.fixture
def plugins(page: Path, tmp_path: Path) -> Iterator[None]:
    """What the page's own files register is known while the page is read."""
    with registered(written(page, tmp_path)):
        yield


def choices(flag: str) -> tuple[str, ...] | None:
    """What a flag of make_arrow.py takes; None is anything."""
    return (*DATASETS, *IMAGE_TEXT_DATASETS) if flag == "--dataset" else CHOICES.get(flag)


def literal(text: str) -> object:
    """A value as Sacred reads it from the command line."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def check_option(key: str, text: str) -> None:
    """``key=text`` is an option, and the value one that it takes."""
    name, _, split = key.partition(".")
    allowed = ALLOWED | plugin_options()
    assert name in allowed, f"unknown option {key}"
    value = literal(text.strip('"'))
    value = dict.fromkeys(("train", "val", "test"), value) if split else value
    assert allowed[name].accepts(value), f"{key}={text} is not {allowed[name].told()}"


@by_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert file == ROOT or ROOT in file.parents, f"{page.name} links out of the project: {target}"
        if anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}, target


def test_line_ranges_are_those_of_the_objects() -> None:
    page = method_lines.PAGE.read_text()
    assert len(method_lines.ROW.findall(page)) == len(
        [r for r in tables(section(method_lines.PAGE, EQUATIONS)) if "lines" in r]
    )
    assert page == method_lines.refreshed(page), "lines have moved; run: python -m tests.method_lines"


def test_every_equation_has_a_row() -> None:
    rows = [row["equation"] for row in tables(section(method_lines.PAGE, EQUATIONS)) if "equation" in row]
    assert {int(number) for number in rows if number.isdecimal()} == set(range(1, 18))


def test_ranges_follow_an_object_that_moves(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n\n\nclass A:\n    @property\n    def b(self):\n        return 1\n")
    page = "| 1 | what | `a.py` | `A.b` | [9–9](../a.py#L9-L9) |\n"
    assert method_lines.refreshed(page, tmp_path) == "| 1 | what | `a.py` | `A.b` | [5–7](../a.py#L5-L7) |\n"
    for wrong in (page.replace("A.b", "A.c"), page.replace("a.py", "b.py")):
        with pytest.raises(LookupError, match="which is not there"):
            method_lines.refreshed(wrong, tmp_path)


ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"


def test_the_layers_on_the_page_are_those_that_are_checked() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = [each for each in config["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    shown = [quoted(row["room"]) for row in tables(section(ARCHITECTURE, "The layers"))]
    assert shown == [layer.split(" | ") for layer in contract["layers"]]
    assert {room for rooms in shown for room in rooms} == {
        p.parent.name for p in (ROOT / "mamol").glob("*/__init__.py")
    }


def test_the_contracts_are_where_the_page_says() -> None:
    rows = list(tables(section(ARCHITECTURE, "The contracts")))
    assert len(rows) >= 10
    for row in rows:
        linked = re.findall(r"\]\(\.\./(\S+)\.py\)", row["file"])
        modules = [importlib.import_module(name.replace("/", ".")) for name in linked]
        assert modules, row
        for name in quoted(row["contract"]):
            assert any(hasattr(module, name) for module in modules), name


@pytest.mark.parametrize("heading", ["The way of a batch", "The way of the mask"])
def test_the_files_in_the_diagrams_exist(heading: str) -> None:
    named = re.findall(r"mamol/[\w/]*(?:\.py)?", section(ARCHITECTURE, heading))
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_symbols_are_parameters_of_the_shape_they_say() -> None:
    network = toy_network(3, rank=4, experts_dynamic=2)
    d = network.tower.width
    sizes = {"K_d": 2, "E": 2 + 1 + 3, "M": 3, "r": 4, "d": d, "C": 5, "o": network.tower.output_dim, "classes": 3}
    rows = [row for row in tables(section(method_lines.PAGE, EQUATIONS)) if "shape" in row]
    assert len(rows) >= 8
    for row in rows:
        name = row["parameter of `Network`"].strip("`").replace("ℓ", "11").replace(".i.", ".0.")
        terms = [term.strip().replace("·", "*").replace("/", "//") for term in row["shape"].split(",")]
        expected = [eval(term, {}, sizes) for term in terms]
        assert list(network.get_parameter(name).shape) == expected, row


@by_page
@pytest.mark.usefixtures("plugins")
def test_quoted_options_exist_and_take_their_values(page: Path) -> None:
    for text in quoted(page.read_text()):
        for key, value in options(text.split()):
            if key != "weights_only":  # torch.load's
                check_option(key, value)
        flag, *values = text.split()
        if flag.startswith("--"):
            assert flag in flags(), text
            assert set(values) <= set(choices(flag) or values), text


def flags() -> set[str]:
    """The flags of make_arrow.py and of the modules that are run by ``python -m``."""
    scripts = [ROOT / "make_arrow.py", *(ROOT / "mamol").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
    return {flag for script in scripts for flag in re.findall(r'"(--[a-z-]+)"', script.read_text())}


def check_run(words: list[str]) -> None:
    before, _, after = " ".join(words).partition("with ")
    assert set(before.split()) <= COMMANDS, f"no such command: {before}"
    for word in after.split():
        if "=" in word:
            check_option(*word.split("=", 1))
        else:
            assert word in ex.named_configs, f"no such named config: {word}"


def check_make_arrow(words: list[str]) -> None:
    arguments = parser("").parse_args(words)
    options_of({name: value for name, value in vars(arguments).items() if name != PLUGINS})
    for name, value in vars(arguments).items():
        flag = f"--{name.replace('_', '-')}"
        assert value in (choices(flag) or (value,)), f"{flag} {value}"


@by_page
@pytest.mark.usefixtures("plugins")
def test_commands_are_the_programs(page: Path) -> None:
    for tool, what, *words in commands(page.read_text()):
        if tool == "mamol":
            check_make_arrow(words) if what == "tables" else check_run([what, *words])
        elif tool == "make":
            assert re.search(rf"^{what}:", (ROOT / "Makefile").read_text(), re.MULTILINE), what
        elif what == "-m":
            assert importlib.util.find_spec(words[0]), words[0]
        elif what == "run.py":
            check_run(words)
        elif what == "make_arrow.py":
            check_make_arrow(words)
        else:
            assert (ROOT / what).is_file(), what


def test_readme_has_commands_of_every_kind() -> None:
    seen = {" ".join(words[:2]) for words in commands(PAGES[0].read_text())}
    assert {"python run.py", "python make_arrow.py", "make demo", "make test"} <= seen


def test_the_demo_without_make_is_that_of_make() -> None:
    """Of the options that make names besides, such as data_root, the named config has the same values."""
    rule = (ROOT / "Makefile").read_text().partition("\ndemo:")[2].partition("\n\n")[0]
    rule = rule.replace("$(BIN)/", "").replace("$(DEMO)", "build/demo").replace("$$run", "build/demo/runs/demo_seed0")
    made = [words.split() for words in re.findall(r"python [^|;)\n]+", rule)]
    demo = ex.named_configs["demo"]()
    made = [[word for word in words if word not in {f"{key}={value}" for key, value in demo.items()}] for words in made]
    block = next(each for each in PAGES[0].read_text().split("```") if "mamol.data.synthetic" in each)
    assert made == [line.split() for line in block.splitlines() if line.startswith("python ")]
    assert len(made) == 5


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian with remote", "no such command: trian"),
        ("with remot", "no such named config: remot"),
        ("with remote learning_rat=1", "unknown option learning_rat"),
        ("with remote test_ratio=2", "test_ratio=2 is not"),
        ("with remote missing_ratio.train=x", "missing_ratio.train=x is not"),
        ("with remote method=pattern_gain", "method=pattern_gain is not one of mamol"),
    ],
)
def test_a_wrong_command_is_noticed(line: str, message: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        check_run(line.split())


def test_named_configurations_in_readme_exist() -> None:
    listed = PAGES[0].read_text().partition("Named configurations:")[2].partition("\n\n")[0]
    names = [name for name in quoted(listed) if "=" not in name]
    assert "remote" in names
    assert set(names) <= ex.named_configs.keys()


def test_the_site_has_every_page() -> None:
    named = re.findall(r"[\w/]+\.md", (ROOT / "mkdocs.yml").read_text("utf-8"))
    assert sorted(named) == sorted(
        ["index.md", "source/CHANGELOG.md", *(path.name for path in (ROOT / "docs").glob("*.md"))]
    )
