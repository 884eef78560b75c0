"""Standard error on a disk that may be full."""

from __future__ import annotations

import io
import sys
from typing import Any


def drop_what_cannot_be_written() -> None:
    """Lets this process go on where its standard error cannot be written, a log on a full disk for example.

    Beam's worker prints the stack of a step that fails before it reports the failure. Where that print raises, the
    failure is never reported, and the runner waits for ever.
    """
    if sys.stderr is None or not hasattr(sys.stderr, "fileno"):
        return
    try:
        raw = _Dropping(sys.stderr.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # a stream of somebody's own, without a descriptor
        return
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=sys.stderr.encoding, errors="backslashreplace", line_buffering=True
    )


class _Dropping(io.FileIO):
    """A file that takes what it is given, also where it cannot keep it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)
