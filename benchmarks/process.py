"""Runs the program as its own process, and measures its time and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from transforms.machine import peak_mib


def run_program(source: Path, precision: str, *flags: str) -> tuple[str, float, float]:
    """Runs the program over a file; its results go to a folder beside it.

    Args:
        source: The file.
        precision: Precision of the model.
        *flags: Further flags.

    Returns:
        The printed text, the seconds from start to end, and the peak memory in MiB.

    Raises:
        RuntimeError: If it fails.
    """
    command = [sys.executable, "-m", "pipeline", f"--input={source}", f"--output={source.parent}/out/x"]
    begin = time.perf_counter()
    child = subprocess.Popen(
        [*command, "--aggregation_strategy=first", f"--precision={precision}", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, peak_mib(str(child.pid)))
        time.sleep(0.05)
    seconds = time.perf_counter() - begin
    if child.returncode or child.stdout is None:
        raise RuntimeError(f"the program failed with exit code {child.returncode}")
    return child.stdout.read(), seconds, peak
