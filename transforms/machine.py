"""The cores and the memory of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path


def usable_cores() -> int:
    """Return the number of cores that this process may use. The machine can have more."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_mib(process: str = "self") -> float:
    """Return the peak memory of a process plus the peaks of its running descendants, in MiB.

    Memory that several processes share is counted for each of them.

    Args:
        process: The process id, or `self`.

    Returns:
        The peak; 0.0 if the process has ended, or if the system reports only on this process.
    """
    folder = Path("/proc") / process
    try:
        # VmHWM is the peak of this process alone. That of `getrusage` can be from the process that started this one.
        lines = (folder / "status").read_text().splitlines()
    except OSError:
        return _own_peak_mib() if process == "self" else 0.0
    own = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    return own + sum(peak_mib(child) for child in _children(folder))


def _children(folder: Path) -> Iterator[str]:
    """Yields the ids of a process's children, if the system lists them."""
    try:
        for task in (folder / "task").iterdir():
            yield from (task / "children").read_text().split()
    except OSError:
        return


def _own_peak_mib() -> float:
    import resource  # not available on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
