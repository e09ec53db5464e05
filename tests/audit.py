"""Known defects of the packages that are installed here: ``make audit``, by pip-audit.

pip-audit ends well where its index answers nothing at all; this says that nothing was checked.

    python -m tests.audit

Exit status: 0 no known defect, 1 known defects, 2 no index could be reached.
"""

import json
import subprocess
import sys
from typing import Any

COMMAND = (sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable")
CLEAN, FOUND, UNREACHABLE = 0, 1, 2


def main() -> int:
    """Asks pip-audit about the environment, and says what it found."""
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages = []
    asked = [each for each in packages if "skip_reason" not in each]
    if not asked:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1] if not packages else "it knows no package"
        print(f"audit: no index of known defects can be reached ({reason}); nothing was checked, status {UNREACHABLE}")
        return UNREACHABLE
    defects = [(each, defect) for each in asked for defect in each["vulns"]]
    for each, defect in defects:
        mended = ", ".join(defect.get("fix_versions", [])) or "no version yet"
        print(f"{each['name']} {each['version']}: {defect['id']}, mended in {mended}")
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    left = f"; not looked up: {', '.join(skipped)}" if skipped else ""
    print(f"audit: {len(defects)} known defects in {len(asked)} packages{left}")
    return FOUND if defects else CLEAN


if __name__ == "__main__":
    sys.exit(main())
