"""Files that are replaced together: all or none, whenever the writer is killed; one writer at a time."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from mamol.core.errors import MamolError
from mamol.core.files import JOURNAL, alone, finish_publishing, publishing, replacing, replacing_folder
from tests.faults.kills import killed_at

OLD, NEW = {"a": "old a", "b": "old b", "c": "old c"}, {"a": "new a", "b": "new b"}
every_signal = pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])


def write(folder: Path) -> None:
    with publishing(folder, gone=["c"]) as place:
        for name, content in NEW.items():
            place(name).write_text(content)


def content_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With earlier files."""
    for name, content in OLD.items():
        (tmp_path / name).write_text(content)
    return tmp_path


@every_signal
def test_killed_at_any_moment_the_old_or_the_new_files_are_whole(sign: signal.Signals, folder: Path) -> None:
    """Whoever comes next finishes what was listed; nothing is left behind once it was written again."""
    seen, moment = set(), 0
    while killed_at(moment, sign, folder, lambda: write(folder)):
        finish_publishing(folder)
        found = {name: content for name, content in content_of(folder).items() if not name.startswith(".")}
        assert found in (OLD, NEW), moment
        seen.add(found == NEW)
        write(folder)
        assert content_of(folder) == NEW, moment
        for name, content in OLD.items():
            (folder / name).write_text(content)
        moment += 1
    assert seen == {False, True}
    assert moment >= 7  # two files, the journal and its rename, two renames, two removals


def fail(folder: Path) -> None:
    with publishing(folder) as place:
        place("a").write_text("half")
        raise ZeroDivisionError


def test_a_failure_leaves_the_old_files_and_nothing_else(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail(folder)
    assert content_of(folder) == OLD


def test_a_folder_without_place_is_named_and_not_there(tmp_path: Path) -> None:
    """The error of a short write has no name of a file."""
    with pytest.raises(OSError, match="File too large") as told, replacing_folder(tmp_path / "made"):
        raise OSError(errno.EFBIG, "File too large")
    assert told.value.filename == str(tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_a_second_writer_is_refused_by_name(folder: Path) -> None:
    with alone(folder), pytest.raises(MamolError, match=f"{folder}: another process is writing there; wait for"):
        write(folder)
    assert content_of(folder) == OLD
    write(folder)
    assert content_of(folder) == NEW


@pytest.mark.parametrize(
    "journal",
    [
        "{",
        "[]",
        '{"new": {"../a": ".a.1@x.tmp"}, "gone": []}',
        '{"new": {"a": "/etc/passwd"}, "gone": []}',
        '{"new": {}, "gone": ["../x"]}',
        '{"new": {}}',
    ],
)
def test_a_journal_that_cannot_be_followed(journal: str, folder: Path) -> None:
    (folder / JOURNAL).write_text(journal)
    with pytest.raises(MamolError, match=r"not replaced to the end, and \.publishing\.json in it cannot be followed"):
        finish_publishing(folder)
    (folder / JOURNAL).unlink()
    assert content_of(folder) == OLD


def test_what_the_dead_left_is_removed_and_what_the_living_write_stays(tmp_path: Path) -> None:
    def leave() -> None:
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert killed_at(99, signal.SIGKILL, tmp_path, leave)
    (left,) = tmp_path.iterdir()
    elsewhere = tmp_path / ".a.1@another-machine.tmp"
    elsewhere.touch()
    with replacing(tmp_path / "a") as mine:
        mine.write_text("whole")
        with replacing(tmp_path / "b") as other:
            other.write_text("b")
            assert mine.is_file()
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", elsewhere.name}


def killed_behind_the_journal(folder: Path) -> None:
    moment = 0
    while killed_at(moment, signal.SIGKILL, folder, lambda: write(folder)) and not (folder / JOURNAL).is_file():
        moment += 1


def test_a_journal_names_plain_files(folder: Path) -> None:
    killed_behind_the_journal(folder)
    listed = json.loads((folder / JOURNAL).read_text())
    assert sorted(listed["new"]) == ["a", "b"]
    assert listed["gone"] == ["c"]


def test_a_second_writer_that_fails_loses_nothing_of_a_killed_one(folder: Path) -> None:
    """What the first had listed is there, though the second swept the folder before it failed."""
    killed_behind_the_journal(folder)
    with pytest.raises(ZeroDivisionError):
        fail(folder)
    assert content_of(folder) == NEW


def test_what_a_journal_lists_is_not_swept_away(folder: Path) -> None:
    """By one who writes another file there before the listed ones were renamed."""
    killed_behind_the_journal(folder)
    with replacing(folder / "d") as temporary:
        temporary.write_text("d")
    finish_publishing(folder)
    assert content_of(folder) == NEW | {"d": "d"}
