"""The help at both doors: every command, its main options, three examples; all of it true."""

import shlex
import subprocess
import sys

import pytest

import mamol.commands.run
from config import ex
from mamol.commands import help as manual
from mamol.core.settings import OPTIONS
from tests.lines import run, tables
from tests.pages import ROOT
from tests.test_docs import check_make_arrow, check_run


def mamol(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m mamol <words>``."""
    return subprocess.run([sys.executable, "-m", "mamol", *words], capture_output=True, text=True, cwd=ROOT)


def test_the_manual_has_all_commands() -> None:
    theirs = {name for name, _ in ex.gather_commands()}
    assert set(manual.COMMANDS) - {"train"} == theirs - set(manual.SACREDS) | {"print_config"}


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_shows_commands_and_examples(words: list[str]) -> None:
    told = run(*words).stdout
    assert told == manual.overview(manual.RUN) + "\n"
    for name, command in manual.COMMANDS.items():
        assert ("with …" if name == "train" else name) in told
        assert command.summary in told
    assert "dummy" not in told
    assert len(told.partition("Examples:\n")[2].splitlines()) == 3


def test_the_console_script_tells_the_same_in_its_words() -> None:
    done = mamol()
    assert done.returncode == 0
    assert done.stdout == manual.overview("mamol") + "\n"
    assert "  mamol train with remote" in done.stdout
    assert "  tables " in done.stdout


def test_the_overview_needs_no_torch() -> None:
    code = "import sys; from run import run; run(['run.py']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True)


@pytest.mark.parametrize("name", manual.COMMANDS)
def test_every_command_has_a_page(name: str) -> None:
    told = run("help", name)
    assert told.returncode == 0
    assert told.stdout.startswith(manual.COMMANDS[name].summary)
    for option in manual.COMMANDS[name].options:
        assert f"  {option} " in told.stdout
        assert OPTIONS[option][1].metadata["meaning"] in told.stdout
    assert run(name, "--help").stdout == told.stdout


def test_examples_are_calls_that_the_program_takes() -> None:
    for name, command in manual.COMMANDS.items():
        for example in command.examples:
            check_run(["" if name == "train" else name, *shlex.split(example)])
    for line in tables().stdout.partition("examples:\n")[2].splitlines():
        _, script, *words = shlex.split(line)
        assert script == "make_arrow.py"
        check_make_arrow(words)


def test_tables_has_a_page_at_both_doors() -> None:
    assert tables().stdout == tables("--help").stdout
    told = mamol("tables", "--help").stdout
    assert told.startswith("usage: mamol tables")
    assert "  mamol tables --dataset trento" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predct"], "predct: there is no such command; did you mean predict? there are train, predict"),
        (["help", "predct"], "predct: there is no such command; did you mean predict?"),
        (["data_root=x"], "data_root=x: there is no such command; options stand behind the word with"),
        (["--unknown"], "--unknown: not understood; options are name=value behind with"),
        (["help", "save_config"], "save_config: Sacred's own, without a page"),
    ],
)
def test_what_is_no_command_is_told(words: list[str], message: str) -> None:
    told = run(*words)
    assert told.returncode == 1
    assert told.stderr.startswith(f"error: {message}")
    assert len(told.stderr.splitlines()) == 1
