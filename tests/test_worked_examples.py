"""The worked examples in docs/: each file is executed as it stands on its page, alone and by the command line."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.io import savemat
from torch.nn import functional

from mamol.core.backbone import MLP, Backbone, BackboneFamily, BackboneRequest, Block, family_of
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint
from mamol.core.head import Head
from mamol.core.method import METHODS, Method
from mamol.core.settings import Settings
from mamol.core.task import TASKS, Task
from mamol.training.optim import optimiser
from tests import lines
from tests.data.imagetext.trees import food101_tree
from tests.invariants import assert_absent_content_is_inert, assert_neighbours_do_not_matter, features_of, gradients
from tests.lines import QUICK, Finished, process, run
from tests.pages import ROOT, files, registered, tables, written
from tests.toys import GRID, shake, toy_batch, toy_network

EXAMPLES = {
    "pattern_gain": ROOT / "docs" / "ADDING_A_METHOD.md",
    "mean_tokens": ROOT / "docs" / "ADDING_A_HEAD.md",
    "swiglu": ROOT / "docs" / "ADDING_A_BACKBONE.md",
    "top2": ROOT / "docs" / "ADDING_A_TASK.md",
    "campus": ROOT / "docs" / "DATASETS.md",
}
CONTRACTS: dict[str, list[type]] = {
    "ADDING_A_METHOD.md": [Method],
    "ADDING_A_HEAD.md": [Head],
    "ADDING_A_BACKBONE.md": [MLP, Block, Backbone, BackboneFamily],
    "ADDING_A_TASK.md": [Task],
}
Place = Callable[[str], Path]
Call = Callable[..., Finished]


@pytest.fixture
def plugin(tmp_path: Path) -> Place:
    """Writes the file of an example, as a user would."""

    def file(name: str) -> Path:
        (path,) = written(EXAMPLES[name], tmp_path)
        assert path.name == f"{name}.py"
        return path

    return file


@pytest.fixture
def known(plugin: Place) -> Iterator[Callable[[str], None]]:
    """Registers an example for one test."""
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(registered([plugin(name)]))


def ended(result: Finished) -> Path:
    """The folder that a finished run names in its last line."""
    assert result.returncode == 0, result.stderr[-2000:]
    return Path(result.stdout.splitlines()[-1])


def alone(*arguments: object) -> Finished:
    """A command line that knows no plugin before it and leaves none behind, as in a process of its own."""
    with registered([]):
        return run(*arguments)


def trains(table_folder: Path, tmp_path: Path, file: Path, *options: str, call: Call = alone) -> Path:
    """Runs the command line with a plugin to its end: the run's folder."""
    given = (f"data_root={table_folder}", f"plugins={file}", f"log_dir={tmp_path}", "max_epoch=1", *options)
    folder = ended(call("with", "remote", *QUICK, *given))
    assert 0 <= metrics_of(folder)["test"]["OA"] <= 100
    return folder


def metrics_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def evaluates(folder: Path, table_folder: Path, file: Path) -> pd.DataFrame:
    """``evaluate`` with the plugin: the scores at a rate of 0.7, all samples."""
    place = ("num_gpus=0", "progress_bar=False", f"load_path={folder}", f"data_root={table_folder}")
    grid = ("evaluate_ratios=0.7", "evaluate_types=both", f"plugins={file}")
    ended(alone("evaluate", "with", *place, *grid))
    return pd.read_csv(folder / "evaluation" / "grid.csv").query("present == 'all'")


def predicts(folder: Path, scene: Path, file: Path, present: str = "lidar") -> None:
    """``predict`` with the plugin: a map of the scene."""
    given = (f"load_path={folder}", f"scene={scene}", f"present={present}", f"plugins={file}", "num_gpus=0")
    drawn = alone("predict", "with", *given, "progress_bar=False")
    assert drawn.returncode == 0, drawn.stderr[-2000:]
    assert list((folder / "maps").glob("*.png"))


def refusal(*arguments: object) -> str:
    """What a refused command line says, in one line."""
    result = run(*arguments)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    return line


# --- the pages ---


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_page_shows_one_file_of_its_name_in_the_projects_style(name: str, plugin: Place) -> None:
    assert list(files(EXAMPLES[name])) == [f"{name}.py"]
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--config", str(ROOT / "pyproject.toml"), str(plugin(name))]
        checked = subprocess.run(ruff, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("page", CONTRACTS)
def test_the_page_names_what_the_contract_has(page: str) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    cells = [next(iter(row.values())) for row in tables(text) if next(iter(row)) in ("hook", "name")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    there = {name for contract in CONTRACTS[page] for name in members(contract)}
    asked = {name for contract in CONTRACTS[page] for name in getattr(contract, "__abstractmethods__", ())}
    assert asked <= named
    assert named <= there


def members(contract: type) -> set[str]:
    """What a contract itself has."""
    return vars(contract).keys() | contract.__annotations__.keys()


def test_the_hooks_on_the_page_are_those_of_a_method() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", EXAMPLES["pattern_gain"].read_text("utf-8"), re.MULTILINE))
    assert named == {name for name, value in vars(Method).items() if callable(value) and not name.startswith("_")}


# --- the method ---


def test_it_begins_as_the_frozen_tower(known: Callable[[str], None]) -> None:
    known("pattern_gain")
    batch = toy_batch()
    plain, ours = (features_of(toy_network(2, name), batch) for name in ("baseline", "pattern_gain"))
    torch.testing.assert_close(ours, plain)


def test_two_batches_train_it_and_nothing_else_of_the_encoder(known: Callable[[str], None]) -> None:
    known("pattern_gain")
    network = toy_network(2, "pattern_gain")
    frozen = {name: value.clone() for name, value in network.tower.state_dict().items()}
    before = {name: value.clone() for name, value in network.trainable_state().items()}
    stepper = optimiser(network, "adamw", 1e-2, 0.0)
    for seed in range(2):
        terms = network.method.loss(network, toy_batch(seed=seed), TASKS["classes"])
        assert list(terms) == ["loss"]
        stepper.zero_grad()
        terms["loss"].backward()
        stepper.step()
    gains = [name for name in before if name.startswith("method.")]
    assert len(gains) == 2 * 6
    after = network.trainable_state()
    assert all(not torch.equal(after[name], before[name]) for name in gains)
    assert all(torch.equal(value, frozen[name]) for name, value in network.tower.state_dict().items())


def test_it_does_what_its_equation_says(known: Callable[[str], None]) -> None:
    known("pattern_gain")
    network, batch = toy_network(2, "pattern_gain", gain_scale=0.5), toy_batch()
    shake(network)
    layer, mlp = network.method.layers["11"], network.tower.blocks[11].feed_forward
    z, available = torch.randn(3, 4, network.tower.width), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    state = network.method.begin(replace(network.streams(batch)["visual"], available=available))
    for n, m in enumerate(available):
        expected = (1 + 0.5 * (layer.gain.weight @ m + layer.gain.bias)) * mlp(z[n])
        torch.testing.assert_close(network.method.feed_forward(11, z, mlp, state)[n], expected)


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
def test_it_is_not_disturbed_by_absent_windows(fusion: str, known: Callable[[str], None]) -> None:
    known("pattern_gain")
    network, batch = toy_network(2, "pattern_gain", fusion=fusion), toy_batch()
    shake(network)
    assert_absent_content_is_inert(network, batch, 1e6)
    assert_neighbours_do_not_matter(network, batch)


def test_its_settings_are_options_and_blocks_are_chosen(known: Callable[[str], None]) -> None:
    known("pattern_gain")
    assert METHODS["pattern_gain"].options == ("expert_blocks", "gain_scale")
    method = toy_network(2, "pattern_gain", expert_blocks="last2").method
    assert isinstance(method, Method)
    assert set(method.layers) == {"10", "11"}
    settings = Settings.of({"method": "pattern_gain", "gain_scale": 2})
    assert settings.method.chosen() == {"expert_blocks": "last6", "gain_scale": 2.0}
    assert settings.decisive()["gain_scale"] == 2.0
    with pytest.raises(MamolError, match="gain_scale='strong' must be a number"):
        Settings.of({"gain_scale": "strong"})


def test_an_option_may_say_more_exactly_what_it_takes(plugin: Place) -> None:
    file = plugin("pattern_gain")
    said = 'option(1.0, POSITIVE, "meaning")'
    assert f"`{said}`" in EXAMPLES["pattern_gain"].read_text("utf-8")
    text = file.read_text("utf-8").replace("gain_scale: float = 1.0", f"gain_scale: float = {said}")
    imports = "from mamol.core.options import POSITIVE, option\n"
    file.write_text(text.replace("from mamol.methods.layered", f"{imports}from mamol.methods.layered"), "utf-8")
    with registered([file]):
        assert Settings.of({"method": "pattern_gain"}).method.chosen()["gain_scale"] == 1.0
        with pytest.raises(MamolError, match="gain_scale=-1 must be a number above 0"):
            Settings.of({"method": "pattern_gain", "gain_scale": -1})


def test_a_plugin_is_forgotten_after_a_test() -> None:
    assert "pattern_gain" not in METHODS
    with pytest.raises(MamolError, match="unknown option gain_scale"):
        Settings.of({"gain_scale": 2})


def test_the_command_line_has_the_method(
    plugin: Place, table_folder: Path, corner_folder: Path, tmp_path: Path
) -> None:
    file = plugin("pattern_gain")
    folder = trains(table_folder, tmp_path, file, "method=pattern_gain", "gain_scale=0.5", "exp_name=gain")
    config, metrics = json.loads((folder / "config.json").read_text()), metrics_of(folder)
    assert (folder.name, metrics["method"], config["gain_scale"]) == ("gain_seed0", "pattern_gain", 0.5)
    grid = evaluates(folder, table_folder, file)
    assert grid["OA"].tolist() == pytest.approx([metrics["test"]["OA"]])
    predicts(folder, corner_folder, file)
    there = (f"load_path={folder}", f"data_root={table_folder}", "num_gpus=0")
    for command in ("evaluate", "predict"):
        without = refusal(command, "with", *there, f"scene={corner_folder}")
        assert "method 'pattern_gain' is unknown" in without
        assert "plugins=" in without


@pytest.mark.parametrize("option", ["method=pattern_gain", "head=mean_tokens"])
def test_without_the_plugin_the_message_names_it_and_plugins(option: str, table_folder: Path, tmp_path: Path) -> None:
    told = refusal("with", "remote", *QUICK, f"data_root={table_folder}", option, f"log_dir={tmp_path / 'runs'}")
    assert option.partition("=")[2] in told
    assert "plugins=" in told
    assert not (tmp_path / "runs").exists()


def test_the_list_has_the_method(plugin: Place) -> None:
    listed = alone("methods", "with", f"plugins={plugin('pattern_gain')}")
    (row,) = [line for line in listed.stdout.splitlines() if line.startswith("pattern_gain")]
    assert "a gain on the frozen MLPs from the missing pattern" in row
    assert "756,495" in row


def test_a_package_brings_the_method_along(plugin: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = re.findall(r"^```toml\n(.*?)^```$", EXAMPLES["pattern_gain"].read_text(), re.MULTILINE | re.DOTALL)
    points = tomllib.loads(table)["project"]["entry-points"]["mamol"]
    assert points == {"pattern_gain": "my_package.pattern_gain"}
    package, installed = tmp_path / "site" / "my_package", tmp_path / "site" / "my_package-1.dist-info"
    package.mkdir(parents=True)
    installed.mkdir()
    (package / "__init__.py").touch()
    plugin("pattern_gain").rename(package / "pattern_gain.py")
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    lines = [f"{name} = {module}" for name, module in points.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[mamol]", *lines]) + "\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    try:
        listed = alone("methods")
    finally:
        for module in ("my_package", "my_package.pattern_gain"):
            sys.modules.pop(module, None)
    assert any(line.startswith("pattern_gain ") for line in listed.stdout.splitlines()), listed.stderr[-1000:]


@pytest.mark.usefixtures("tiny")
def test_two_processes_train_the_method(plugin: Place, table_folder: Path, tmp_path: Path) -> None:
    """Really two, neither of which this one has told of the plugin."""
    given = (table_folder, tmp_path, plugin("pattern_gain"), "method=pattern_gain")
    one = trains(*given, "exp_name=one")
    pair = ("exp_name=two", "cpu_processes=2", "per_gpu_batchsize=4")
    two = trains(*given, *pair, call=partial(process, "run.py"))
    rows = [pd.read_parquet(folder / "predictions.parquet") for folder in (one, two)]
    assert len(rows[1]) == len(rows[0]) == metrics_of(two)["test"]["n"]
    assert metrics_of(two)["method"] == "pattern_gain"
    losses = [pd.read_csv(folder / "history.csv").iloc[-1] for folder in (one, two)]
    assert losses[1]["train/loss"] == pytest.approx(losses[0]["train/loss"], rel=1e-3)


def test_a_file_that_is_no_plugin_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_this_name\n")
    assert f"plugins={broken}" in refusal("methods", "with", f"plugins={broken}")
    assert "there is no such Python file" in refusal("methods", "with", f"plugins={tmp_path / 'none.py'}")


# --- the head ---


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
def test_the_head_reads_all_tokens_of_present_modalities(fusion: str, known: Callable[[str], None]) -> None:
    known("mean_tokens")
    network, batch = toy_network(2, "mamol", fusion=fusion, head="mean_tokens"), toy_batch()
    shake(network)
    features = network.features(batch)[0]
    shape = (6, GRID**2, network.tower.output_dim)
    assert {name: tuple(value.shape) for name, value in features.items()} == {"hsi": shape, "lidar": shape}
    absent = ~batch["available"][:, 1]
    assert absent.any()
    assert not features["lidar"][absent].any()
    mean = torch.cat([features[name].sum(1) / GRID**2 for name in ("hsi", "lidar")], 1)
    head = network.head.linear
    torch.testing.assert_close(network(batch)[0], mean @ head.weight.T + head.bias)
    assert_absent_content_is_inert(network, batch, 1e6)
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert gradients(network, batch).keys() == trainable


def test_the_command_line_has_the_head(plugin: Place, table_folder: Path, tmp_path: Path) -> None:
    file = plugin("mean_tokens")
    folder = trains(table_folder, tmp_path, file, "head=mean_tokens", "exp_name=mean_tokens")
    grid = evaluates(folder, table_folder, file)
    assert grid["OA"].tolist() == pytest.approx([metrics_of(folder)["test"]["OA"]])
    without = refusal("evaluate", "with", f"load_path={folder}", f"data_root={table_folder}", "num_gpus=0")
    assert "head 'mean_tokens' is unknown" in without
    assert "plugins=" in without


# --- the backbone ---


def swiglu(seed: int = 0) -> Backbone:
    """The tower of the example."""
    return family_of("swiglu").visual(BackboneRequest("swiglu", "openai", seed=seed), GRID)


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_on_the_backbone(name: str, fusion: str, known: Callable[[str], None]) -> None:
    known("swiglu")
    network, batch = toy_network(2, name, tower=swiglu(), fusion=fusion, prompt_length=6), toy_batch()
    network.eval()
    shake(network)
    whole, short = (
        torch.stack(list(network.features(batch, shortcut=shortcut)[0].values()), 1) for shortcut in (False, True)
    )
    torch.testing.assert_close(short, whole, atol=1e-5, rtol=1e-5)
    assert_absent_content_is_inert(network, batch, 1e6)
    assert_neighbours_do_not_matter(network, batch)
    trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
    before = {name: value.detach().clone() for name, value in trained.items()}
    stepper = optimiser(network, "adamw", 1e-2, 0.0)
    sum(network.train().method.loss(network, batch, TASKS["classes"]).values()).backward()
    stepper.step()
    assert [name for name, value in trained.items() if torch.equal(value, before[name])] == []
    assert fingerprint(network.tower.weights.state_dict()) == network.tower.fingerprint


def test_the_block_is_plain_attention_and_a_gated_mlp(known: Callable[[str], None]) -> None:
    known("swiglu")
    block = swiglu().blocks[0]
    x, heads = torch.randn(2, 5, 64), 4
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in block.qkv(x).chunk(3, -1))
    weights = (q @ k.transpose(-1, -2) * (64 // heads) ** -0.5).softmax(-1)
    expected = block.out((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(block.attend(x, x), expected)
    mlp = block.feed_forward
    halves = zip(mlp.up.weight.chunk(2), mlp.up.bias.chunk(2), strict=True)
    first, second = (functional.linear(x, weight, bias) for weight, bias in halves)
    torch.testing.assert_close(mlp(x), mlp.down(functional.silu(first) * second))
    assert (mlp.width, mlp.expanded, mlp.inner) == (64, 320, 160)


def test_the_same_request_gives_the_same_frozen_weights(known: Callable[[str], None]) -> None:
    known("swiglu")
    first, again, other = swiglu(), swiglu(), swiglu(seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.origin.random
    assert not any(parameter.requires_grad for parameter in first.parameters())
    with pytest.raises(MamolError, match="backbone=swiglu takes no images"):
        family_of("swiglu").image_grid("swiglu", None)
    with pytest.raises(MamolError, match=r"backbone=swigly: unknown; .*swiglu"):
        family_of("swigly")


def test_the_command_line_has_the_backbone(
    plugin: Place, table_folder: Path, corner_folder: Path, tmp_path: Path
) -> None:
    file = plugin("swiglu")
    folder = trains(table_folder, tmp_path, file, "backbone=swiglu", "exp_name=swiglu")
    backbone = metrics_of(folder)["backbone"]
    assert (backbone["name"], backbone["random"]) == ("swiglu", True)
    predicts(folder, corner_folder, file)
    without = refusal("predict", "with", f"load_path={folder}", f"scene={corner_folder}", "num_gpus=0")
    assert "backbone=swiglu: unknown" in without


# --- the task ---

CLASSES = ("bread", "cake", "soup")
PROBABILITIES = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], np.float32)
LABELS = np.array([0, 1, 2, 2])


def test_the_task_counts_two_guesses(known: Callable[[str], None]) -> None:
    known("top2")
    task = TASKS["top2"]
    assert (task.scores, task.selection) == (("top2", "OA"), "top2")
    assert task.scored(PROBABILITIES, LABELS) == {"top2": 75.0, "OA": 25.0}
    assert task.row(PROBABILITIES[:0], LABELS[:0]) == {"n": 0, "top2": None, "OA": None}
    available = np.array([[True, True], [True, True], [True, False], [True, False]])
    report = task.report(PROBABILITIES, LABELS, available, ("image", "text"), CLASSES)
    assert (report["n"], report["top2"], report["OA"]) == (4, 75.0, 25.0)
    assert report["per_class"] == {"bread": 100.0, "cake": 0.0, "soup": 0.0}
    assert report["per_pattern"] == {
        "image+text": {"n": 2, "top2": 100.0, "OA": 50.0},
        "image": {"n": 2, "top2": 50.0, "OA": 0.0},
    }


def test_a_network_descends_the_tasks_loss(known: Callable[[str], None]) -> None:
    known("top2")
    network, batch = toy_network(2), toy_batch()
    terms = network.method.loss(network, batch, TASKS["top2"])
    torch.testing.assert_close(terms["loss"], functional.cross_entropy(network(batch)[0], batch["label"]))


def test_the_command_line_has_the_task(plugin: Place, tmp_path: Path) -> None:
    file, raw, out = plugin("top2"), tmp_path / "raw", tmp_path / "tables"
    food101_tree(raw, 40, 0, 32)
    with registered([]):
        made = lines.tables("--dataset", "food101_top2", "--root", raw, "--out", out, "--plugins", file)
    assert made.returncode == 0, made.stderr[-2000:]
    small = ("image_size=32", f"data_root={out}", "max_epoch=1", "limit_batches=2")
    folder = ended(alone("with", "remote", *QUICK, *small, f"plugins={file}", f"log_dir={tmp_path}"))
    test = metrics_of(folder)["test"]
    assert list(test)[:3] == ["n", "top2", "OA"]
    assert 0 <= test["OA"] <= test["top2"] <= 100
    assert (folder / "confusion.png").exists()
    grid = evaluates(folder, out, file)
    assert grid["top2"].notna().all()
    without = refusal("with", "remote", *QUICK, *small, f"log_dir={tmp_path}")
    assert "top2" in without
    assert "plugins=" in without


# --- the dataset ---


@pytest.fixture
def campus(tmp_path: Path) -> Path:
    """Raw files of the example's scene, smaller than it says: four quarters of one class each."""
    root, draw = tmp_path / "campus", np.random.default_rng(0)
    root.mkdir()
    height, width = 24, 28
    label = 1 + (np.arange(height)[:, None] >= height // 2) + 2 * (np.arange(width) >= width // 2)
    bright = label[..., None] + draw.normal(size=(height, width, 1))
    np.save(root / "aviris.npy", (bright + 0.1 * draw.normal(size=(height, width, 224))).astype(np.float32))
    savemat(root / "heights.mat", {"ndsm": (label + draw.normal(size=label.shape)).astype(np.float32)})
    first = (np.arange(height)[:, None] + np.arange(width)) % 2 == 0
    savemat(root / "truth.mat", {"gt": label, "train": label * first, "test": label * ~first})
    return root


def test_the_command_line_has_the_dataset(plugin: Place, campus: Path, tmp_path: Path) -> None:
    file, out = plugin("campus"), tmp_path / "tables"
    sizes = ("--patch-size", 4, "--train-per-class", 8, "--val-per-class", 4, "--test-per-class", 6)
    place = ("--dataset", "campus", "--root", campus, "--out", out, "--protocol", "official")
    made = process("make_arrow.py", *place, *sizes, "--plugins", file)
    assert made.returncode == 0, made.stderr[-2000:]
    assert "campus: 24 x 28, bands: hsi 224, lidar 1" in made.stdout
    assert "published are (1200, 800, 650, 900)" in made.stderr
    for name in ("lawn", "tree", "roof", "road"):
        assert name in made.stdout
    given = (f"data_root={out}", "dataset=campus", "max_epoch=1", f"log_dir={tmp_path}", "exp_name=campus")
    folder = ended(run("with", "remote", *QUICK, *given))
    assert metrics_of(folder)["data"]["dataset"] == "campus"
    predicts(folder, campus, file)
    unknown = lines.tables(*place)
    assert unknown.returncode == 1
    assert "campus" in unknown.stderr
    (line,) = unknown.stderr.splitlines()
    assert line.startswith("error: ")
