"""Writing a whole file at once: all of it under its name, or nothing."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from contextlib import suppress

import tenacity
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

_ATTEMPTS = 4
_FIRST_WAIT = 0.25  # seconds; doubled each time


class UnwritableError(Exception):
    """A file that could not be written, and why; quotes nothing of what it was to hold."""


def put_file(name_of: Callable[[int], str], data: bytes) -> str:
    """Writes a file under the next of some names that is free; where it was written just before, that is found.

    So a file is never overwritten by another, and one that is written again at once is not there twice.

    Args:
        name_of: The paths by their numbers from 0, on any file system that Beam knows.
        data: The file's content.

    Returns:
        The path that the content is under now.

    Raises:
        UnwritableError: If it cannot be written, after some attempts; nothing is left behind.
    """
    try:
        return _put(name_of, data)
    except Exception as error:
        raise UnwritableError(f"{name_of(0)} cannot be written: {_reason(error)}") from error


@tenacity.retry(
    stop=tenacity.stop_after_attempt(_ATTEMPTS),
    wait=tenacity.wait_exponential(_FIRST_WAIT),
    retry=tenacity.retry_if_exception_type(Exception),
    reraise=True,
)
def _put(name_of: Callable[[int], str], data: bytes) -> str:
    free = _first_free(name_of)
    for number in {0, free - 1} if free else ():
        if _holds(name_of(number), data):
            return name_of(number)
    folder, base = FileSystems.split(name_of(free))
    # Hidden, so that no glob for the results finds it.
    temporary = FileSystems.join(folder, f".{base}.{uuid.uuid4().hex}.tmp")
    try:
        _create(temporary, data)
        FileSystems.rename([temporary], [name_of(free)])
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([temporary])
        raise
    return name_of(free)


def _first_free(name_of: Callable[[int], str]) -> int:
    """The first number whose name is free, in as few looks as its logarithm."""
    if not FileSystems.exists(name_of(0)):
        return 0
    free = 1
    while FileSystems.exists(name_of(free)):
        free *= 2
    taken = free // 2
    while free - taken > 1:
        middle = (taken + free) // 2
        if FileSystems.exists(name_of(middle)):
            taken = middle
        else:
            free = middle
    return free


def _holds(name: str, data: bytes) -> bool:
    with FileSystems.open(name, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read() == data


def _create(name: str, data: bytes) -> None:
    with FileSystems.create(name, "application/octet-stream", CompressionTypes.UNCOMPRESSED) as file:
        file.write(data)
        file.flush()
        with suppress(io.UnsupportedOperation, AttributeError):
            # What is acknowledged must outlive a loss of power.
            os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    causes = getattr(error, "exception_details", None) or {}
    cause = next(iter(causes.values()), error)
    return getattr(cause, "strerror", None) or type(cause).__name__
