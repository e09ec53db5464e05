"""Tables by protocol, and a launcher that does runs in this process, where importing torch is paid only once."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import transformers

import make_arrow
from mamol.core.files import write_json
from mamol.launch.job import Job, Outcome
from tests.lines import QUICK, Finished, run


class InProcess:
    """Stands for a launcher.

    Attributes:
        done: Names of the jobs it was given.
    """

    def __init__(self) -> None:
        self.done: list[str] = []

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        """Does the jobs one after the other."""
        for job in jobs:
            self.done.append(job.name)
            error = "" if job.trained else self._error(job, "", {})
            if not error and not job.followed:
                error = self._error(job, job.follow_up, {"load_path": str(job.folder), **job.follow_options})
                job.note_follow_up()
            yield Outcome(job, error)

    def _error(self, job: Job, command: str, options: dict) -> str:
        write_json(job.beside("json"), {**job.config, **options})
        result = run(*([command] if command else []), "with", job.beside("json"))
        return result.stderr.strip() if result.returncode else ""


def use(launcher: InProcess, patch: pytest.MonkeyPatch) -> None:
    """``reproduce`` and ``standin`` give their runs to this launcher."""
    for command in ("reproduce.command", "standin"):
        patch.setattr(f"mamol.experiments.{command}.launcher_named", lambda name, **options: launcher)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    """``reproduce`` and ``standin`` do their runs in this process."""
    launcher = InProcess()
    use(launcher, monkeypatch)
    return launcher


@pytest.fixture(scope="session")
def tables(scene_folder: Path, table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_root with ``synthetic`` (disjoint) and ``synthetic_<protocol>`` for disjoint, paper and blocks."""
    root = tmp_path_factory.mktemp("data")
    for name in ("synthetic", "synthetic_disjoint"):
        shutil.copytree(table_folder, root / name)
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    for protocol in ("paper", "blocks"):
        out = root / f"synthetic_{protocol}"
        options = ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(out), "--protocol", protocol]
        if make_arrow.main([*options, *sizes]):
            raise RuntimeError("make_arrow.py failed")
    return root


def reproduce(tables: Path, log_dir: Path, *arguments: object) -> Finished:
    """``python run.py reproduce with …`` on the synthetic tables with a tiny budget."""
    budget = [*QUICK, "max_epoch=1", "limit_batches=2", "seeds=1", "datasets=synthetic"]
    return run("reproduce", "with", *budget, f"data_root={tables}", f"log_dir={log_dir}", *arguments)


@pytest.fixture(scope="session")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small random ViLT."""
    path = tmp_path_factory.mktemp("vilt")
    sizes = {"hidden_size": 32, "num_hidden_layers": 12, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    model = transformers.ViltModel(transformers.ViltConfig(**sizes, image_size=12, patch_size=4, vocab_size=20))
    model.save_pretrained(path)
    return path
