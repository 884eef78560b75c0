"""Looks for known holes in what constraints.txt pins; without an index that knows them it says so and ends well.

Exit code 1 is for holes, and for nothing else: `make lint` tells of them, `make audit` fails.
"""

from __future__ import annotations

import subprocess
import sys

ANSWER_SECONDS = 3
AUDIT_SECONDS = 120


def main() -> int:
    """Runs pip-audit, where that can work."""
    quiet = ["--quiet", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *quiet, "--constraint", "constraints.txt", "pip-audit>=2.9"]
    audit = [sys.executable, "-m", "pip_audit", "--requirement", "constraints.txt", "--no-deps", "--disable-pip"]
    try:
        if subprocess.run([sys.executable, "-c", "import pip_audit"], capture_output=True, check=False).returncode:
            subprocess.run(install, timeout=AUDIT_SECONDS, capture_output=True, check=True)
        audit += ["--progress-spinner", "off", "--timeout", str(ANSWER_SECONDS)]
        done = subprocess.run(audit, timeout=AUDIT_SECONDS, capture_output=True, text=True, check=False)
    except (subprocess.SubprocessError, OSError) as error:
        return _skipped(type(error).__name__)
    if done.returncode == 0:
        print(f"pip-audit: {(done.stderr.strip().splitlines() or [''])[-1]}")
        return 0
    if "found" not in done.stderr.lower():  # it could not look
        return _skipped((done.stderr.strip().splitlines() or ["it says nothing"])[-1])
    print(done.stdout, done.stderr, sep="\n")
    return 1


def _skipped(why: str) -> int:
    print(f"pip-audit is skipped: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
