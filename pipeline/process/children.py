"""The processes that this process has started, directly or indirectly: Prism, and workers."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GRACE_SECONDS = 0.3
_POLL_SECONDS = 0.02


def end_children() -> None:
    """Ends every descendant of this process: by SIGTERM, and after 0.3 s by SIGKILL.

    Call this only at the end of the process: code that waits for a child would find it gone.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        children = list(descendants(os.getpid()))
        for child in children:
            with suppress(OSError):
                os.kill(child, number)
        end = time.monotonic() + _GRACE_SECONDS
        while any(map(is_running, children)) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)


def descendants(process: int) -> Iterator[int]:
    """Yield the ids of a process's children, then of their children, and so on."""
    parents = dict(_parents())
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        yield from sorted(more)
        found |= more


def is_running(process: int) -> bool:
    """Return whether a process runs; a process that has ended, and was not yet collected by its parent, does not."""
    folder = Path("/proc") / str(process)
    if Path("/proc/self/stat").exists():
        with suppress(OSError):
            return _stat(folder)[0] != "Z"
        return False
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def _parents() -> Iterator[tuple[int, int]]:
    """Yield the id of each process of this machine, with the id of its parent."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        yield from ((int(child), int(parent)) for child, parent in map(str.split, listed.splitlines()))
        return
    if Path("/proc/self").readlink().name != str(os.getpid()):
        return  # /proc contains the machine's process ids, but this process's own id is that of its container
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield int(folder.name), int(_stat(folder)[1])


def _stat(folder: Path) -> list[str]:
    """Return the fields of a process's `stat` after its name, which may contain spaces: state, parent and so on."""
    return (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
