"""Jobs whose script is a small stand-in for the program, which starts in an instant."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mamol.evaluation.predictions import write_predictions
from mamol.launch.job import Job

SCRIPT = """
import json, os, pathlib, shutil, sys, time
config = json.loads(pathlib.Path(sys.argv[-1]).read_text())
folder = pathlib.Path(config["log_dir"]) / f"{config['exp_name']}_seed{config['seed']}"
command = sys.argv[1] if sys.argv[1] != "with" else "train"
seen = {"command": command, "pid": os.getpid(), "there": folder.exists(),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "threads": os.environ.get("OMP_NUM_THREADS"),
        **{key: config.get(key) for key in ("resume_from", "load_path", "routing_class")}}
calls = pathlib.Path(config["log_dir"]) / "calls"
calls.mkdir(parents=True, exist_ok=True)
(calls / f"{time.time_ns()}.json").write_text(json.dumps(seen))
time.sleep(config.get("sleep", 0))
if config.get("fails"):
    print("a remark")
    print("error: " + config["fails"])
    sys.exit(1)
folder.mkdir(exist_ok=True)
if command == "train":
    shutil.copy(pathlib.Path(__file__).with_name("predictions.parquet"), folder)
    (folder / "metrics.json").write_text('{"test": {}}')
(calls / f"{time.time_ns()}.end").touch()
"""


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[..., Job]:
    """Makes a job of the stand-in script."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    kept = pd.DataFrame({name: [0] for name in ("index", "row", "col", "label", "prediction")}).assign(pattern="hsi")
    kept.attrs = {"fingerprint": "f"}
    write_predictions(tmp_path / "predictions.parquet", kept)

    def make(name: str = "job", *, follow_up: str = "", follow_options: dict | None = None, **options: Any) -> Job:
        config = {"log_dir": str(tmp_path / "runs"), "exp_name": name, "seed": 0, **options}
        return Job(name, config, follow_up, follow_options or {}, (str(script),))

    return make


def calls(job: Job) -> list[dict]:
    """What the script was called with, in order."""
    return [json.loads(path.read_text()) for path in sorted((job.folder.parent / "calls").glob("*.json"))]
