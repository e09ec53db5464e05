"""The notebooks in examples/ run from the first to the last cell, in a real kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.pages import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LESS = {"max_epoch=10": "max_epoch=1", "per_class=50": "per_class=20", "0:40": "0:14", "(40, 56": "(14, 56"}
"""One epoch of few samples runs as ten of more do, and a map as a larger one."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for there, less in LESS.items():
            cell.source = cell.source.replace(there, less)
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1
    told = [line for each in outputs if each.get("name") == "stderr" for line in each.text.splitlines()]
    assert set(told) == {"backbone tiny has RANDOM frozen weights: results mean nothing as CLIP results"}


def test_the_first_map_is_kept_with_what_it_gives() -> None:
    notebook = nbformat.read(ROOT / "examples" / "first_map.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any("image/png" in output.get("data", {}) for cell in code for output in cell.outputs)
