"""The cores and the memory of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def usable_cores() -> int:
    """How many cores this process may use, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_mib(process: str = "self") -> float:
    """The most memory that a process and its children hold or have held, in MiB, what they share counted for each.

    Args:
        process: Its number, or `self`.

    Returns:
        0.0 if the process has ended, or the system does not tell of others.
    """
    folder = Path("/proc") / process
    try:
        # The system's own peak, which `getrusage` mixes with that of the process that started this one.
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return _own_peak_mib() if process == "self" else 0.0
    own = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    return own + sum(peak_mib(child) for child in _children(folder))


def _children(folder: Path) -> Iterator[str]:
    """The numbers of a process's children, as far as the system tells."""
    try:
        for task in (folder / "task").iterdir():
            yield from (task / "children").read_text().split()
    except OSError:
        return


def _own_peak_mib() -> float:
    import resource  # which not all systems have

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
