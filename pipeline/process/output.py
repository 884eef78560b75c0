"""Standard output and standard error, which never change how the process ends.

A reader may be gone (`| head -1`), a disk may be full, a stream may be closed, and its encoding may lack characters.
None of these is a failure of a run: a scheduler would run it again, and the second run would delete the results.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from pipeline import PROGRAM

STDIN, STDOUT, STDERR = 0, 1, 2


def guard_output() -> None:
    """Makes both streams of this process safe to write, for the program and for every library.

    Output that cannot be written is dropped. Beam's worker prints the stack of a failed step before it reports the
    failure. If that print raises an error, the failure is never reported, and the runner waits for ever.

    Call this at the beginning of a process, before it opens a file. The streams of a notebook are left as they are.
    """
    _open_closed_descriptors()
    sys.stdout = _guarded(sys.stdout, STDOUT)
    sys.stderr = _guarded(sys.stderr, STDERR)


def show(text: str) -> None:
    """Prints a text on standard output, as far as that is possible; a notebook shows it below its cell."""
    _write(sys.stdout, text)


def report(text: str) -> None:
    """Prints a text on standard error, as far as that is possible; it may be called by the handler of a signal."""
    _write(sys.stderr, text)


def write_now(text: str, descriptor: int = STDERR) -> None:
    """Writes a text to a descriptor, past the streams: a signal may have interrupted a `print`."""
    with suppress(OSError):
        os.write(descriptor, text.encode("utf-8", "backslashreplace"))


def _open_closed_descriptors() -> None:
    """Opens the descriptors of the three streams if they are closed, on a device that drops everything.

    The next file that is opened would get the descriptor otherwise, and the output of a library would be in that file.
    """
    for descriptor in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest descriptor that is free


def _guarded(stream: TextIO | None, descriptor: int) -> TextIO:
    """Return a stream that drops what cannot be written; a stream that is not a file stays as it is."""
    if stream is not None:
        file = _file_of(stream)
        if file is None or type(file) is not io.FileIO or file.fileno() != descriptor:  # guarded already, or redirected
            return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Dropping(descriptor, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        errors="backslashreplace",
        line_buffering=stream is None or bool(stream.line_buffering) or descriptor == STDERR,
        write_through=stream is not None and getattr(stream, "write_through", False),
    )


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:
        return
    file = _file_of(stream)
    data = f"{text}\n".encode(stream.encoding or "utf-8", "backslashreplace")
    with suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a signal has interrupted another print
        if file is None:
            stream.write(data.decode(stream.encoding or "utf-8"))
        stream.flush()
    if file is not None:  # not through the stream's buffer, whose rest would raise an error at the end of the process
        with suppress(ValueError):  # it is closed
            dropping = file if isinstance(file, _Dropping) else _Dropping(file.fileno(), "w", closefd=False)
            dropping.write(data)


def _file_of(stream: TextIO) -> io.FileIO | None:
    """Return the file behind a stream; None if there is none, as in a notebook."""
    buffer = getattr(stream, "buffer", None)
    file = getattr(buffer, "raw", buffer)  # Python's option -u leaves out the buffer
    return file if isinstance(file, io.FileIO) else None


class _Dropping(io.FileIO):
    """A file that drops data that cannot be written; a line on standard error reports it once for standard output."""

    _reported = False

    def write(self, data: Any) -> int:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            if self.fileno() == STDOUT and not self._reported and not isinstance(error, BrokenPipeError):
                self._reported = True
                write_now(f"{PROGRAM}: standard output cannot be written: {error.strerror}\n")
        return len(data)

    def _write_some(self, data: memoryview) -> int:
        while (written := super().write(data)) is None:  # a pipe that does not block, and is full
            select.select([], [self], [])
        return written
