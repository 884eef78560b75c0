"""Keeps the process running if its standard output or error cannot be written."""

from __future__ import annotations

import io
import sys
from typing import Any


def drop_what_cannot_be_written() -> None:
    """Drops output to standard error that cannot be written, for example to a log on a full disk.

    Beam's worker prints the stack of a failed step before it reports the failure. If that print raises an error, the
    failure is never reported, and the runner waits for ever.
    """
    if sys.stderr is None or not hasattr(sys.stderr, "fileno"):
        return
    try:
        raw = _Dropping(sys.stderr.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # a custom stream without a descriptor
        return
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=sys.stderr.encoding, errors="backslashreplace", line_buffering=True
    )


def escape_what_cannot_be_encoded() -> None:
    """Prints characters that the terminal's encoding lacks as escapes, instead of raising an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class _Dropping(io.FileIO):
    """A file that silently drops data if it cannot be written."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError:
            return len(data)
