"""What ``make audit`` says of pip-audit's answers."""

import json
import subprocess
from typing import Any

import pytest

from tests import audit

TORCH: dict[str, Any] = {"name": "torch", "version": "2.6", "vulns": []}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI"}
BROKEN = {"name": "pillow", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


@pytest.mark.parametrize(
    ("packages", "status", "said"),
    [
        ([TORCH], 0, "audit: 0 known defects in 1 packages\n"),
        ([TORCH, SKIPPED], 0, "audit: 0 known defects in 1 packages; not looked up: numpy\n"),
        ([TORCH, BROKEN], 1, "pillow 1.0: PYSEC-1, mended in 1.1\naudit: 1 known defects in 2 packages\n"),
        ([SKIPPED], 2, "audit: no index of known defects can be reached (it knows no package); nothing was checked"),
        (None, 2, "audit: no index of known defects can be reached (Connection refused); nothing was checked"),
    ],
)
def test_an_audit_that_asked_nobody_is_no_clean_one(
    packages: list[dict[str, Any]] | None,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    done = subprocess.CompletedProcess((), 0, answer, "Traceback\nConnection refused\n")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: done)
    assert audit.main() == status
    assert capsys.readouterr().out.startswith(said)
