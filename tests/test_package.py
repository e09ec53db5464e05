"""The package as pip installs it: one list of what it needs, all files, one top-level module, a console script."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mamol.core.version import VERSION
from tests.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
BASE = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
WANTED = {
    "requirements.txt": BASE,
    "requirements-dev.txt": BASE + PROJECT["dependency-groups"]["dev"],
    "requirements-ray.txt": BASE + EXTRAS["ray"],
    "requirements-slurm.txt": BASE + EXTRAS["slurm"],
    "requirements-export.txt": BASE + EXTRAS["export"],
    "requirements-docs.txt": PROJECT["dependency-groups"]["docs"],
}
LIBRARY = """
import logging, runpy, sys, numpy as np, pytorch_lightning, torch, mamol
from mamol.commands.cost import read_cost
assert read_cost().steps
torch.set_num_threads(2)
level = logging.getLogger("pytorch_lightning").level
rng, labels = np.random.default_rng(0), np.repeat([[1, 2]], 16, 0).repeat(8, 1)
hsi, sar = rng.normal(size=(16, 16, 4)), rng.normal(size=(16, 16, 1))
sizes = {"train_per_class": 16, "val_per_class": 4, "test_per_class": 8}
tables = mamol.build_tables({"hsi": hsi, "sar": sar}, labels, out="tables", patch_size=4, classes=["a", "b"], **sizes)
options = {"backbone": "tiny", "num_gpus": 0, "max_epoch": 1, "batch_size": 16, "per_gpu_batchsize": 16}
run = mamol.train("tables", method="mamol", log_dir="runs", exp_name="x", progress_bar=False, **options)
run = mamol.load("runs/x_seed0", num_gpus=0, progress_bar=False)
run.map({"hsi": hsi}).save("x.png")
run.save("adapter")
print(run.predict({"sar": np.zeros((3, 1, 4, 4))}).shape, run.evaluate("tables", ratios=[0], types=["both"]).shape[0])
assert (torch.get_num_threads(), logging.getLogger("pytorch_lightning").level) == (2, level)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""As a guest, then the script and its words; both in one process, as each would import for seconds."""


@pytest.mark.parametrize("name", WANTED)
def test_pins_are_those_of_the_one_list_and_within_its_ranges(name: str) -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / name).read_text(), re.MULTILINE))
    wanted = {canonicalize_name(each.name): each for each in map(Requirement, WANTED[name])}
    assert {canonicalize_name(each) for each in pins} == set(wanted), "run: make pins"
    outside = [each for each, pin in pins.items() if pin not in wanted[canonicalize_name(each)].specifier]
    assert outside == []


def test_all_files_of_pins_agree() -> None:
    base = set((ROOT / "requirements.txt").read_text().splitlines())
    for name, wanted in WANTED.items():
        assert base <= set((ROOT / name).read_text().splitlines()) or not set(BASE) <= set(wanted)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built of a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "mamol", source / "mamol", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "run.py", "config.py", "make_arrow.py"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that it is installed into, over the packages of the suite."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--target", folder, wheel)
    return folder


def pip(command: str, *arguments: object) -> None:
    line = [sys.executable, "-m", "pip", command, "--quiet", "--no-deps", "--no-index", *map(str, arguments)]
    done = subprocess.run([*line, "--disable-pip-version-check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def call(installed: Path, cwd: Path, *line: object) -> str:
    return finished(installed, cwd, *line).stdout


def finished(installed: Path, cwd: Path, *line: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(installed), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, *map(str, line)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done


def test_the_wheel_has_one_top_level_module_and_all_its_files(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [Parser().parsestr(archive.read(n).decode()) for n in names if n.endswith("dist-info/METADATA")]
    assert {name.split("/")[0] for name in names} == {"mamol", f"mamol-{VERSION}.dist-info"}
    here = {str(p.relative_to(ROOT)) for p in (ROOT / "mamol").rglob("*") if p.is_file() and p.suffix != ".pyc"}
    assert here <= set(names)
    assert metadata["Version"] == VERSION
    assert {"ray", "slurm"} <= set(metadata.get_all("Provides-Extra") or [])
    stated = [Requirement(each) for each in metadata.get_all("Requires-Dist") or []]
    assert {each.name for each in stated if not each.marker} == {Requirement(each).name for each in BASE}
    assert metadata["Summary"]
    assert metadata["Author"]
    assert metadata.get_all("Project-URL")


def test_the_installed_script_works_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "mamol"
    assert "houston2013" in call(installed, tmp_path, script, "datasets")
    assert call(installed, tmp_path, script, "tables", "--help").startswith("usage: mamol tables")


def test_the_installed_library_works_without_a_checkout(installed: Path, tmp_path: Path) -> None:
    """It prints nothing, and threads and loggers of its host stay as they are; then its script trains, too."""
    quick: dict[str, Any] = {"backbone": "tiny", "num_gpus": 0, "max_steps": 2, "batch_size": 16, "progress_bar": False}
    options = [f"{key}={value}" for key, value in {**quick, "per_gpu_batchsize": 16, "data_root": "tables"}.items()]
    script = (installed / "bin" / "mamol", "train", "with", "remote", *options, "log_dir=runs", "exp_name=y")
    done = finished(installed, tmp_path, "-c", LIBRARY, *script)
    assert done.stdout.startswith("(3, 2) 2\n")
    warning = "backbone tiny has RANDOM frozen weights: results mean nothing as CLIP results"
    assert set(done.stderr.splitlines()) == {warning}
    assert done.stdout.splitlines()[-1] == "runs/y_seed0"
    assert (tmp_path / "runs" / "y_seed0" / "metrics.json").is_file()
