"""Writing a whole file at once: all of it under its name, or nothing."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress

import tenacity
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

_ATTEMPTS = 4
_FIRST_WAIT = 0.25  # seconds; doubled each time


class UnwritableError(Exception):
    """A file that could not be written, and why; quotes nothing of what it was to hold."""


def put_file(names: Iterable[str], data: bytes) -> str:
    """Writes a file under the first of some names that is free; one that holds just this is taken for written.

    So a file is never overwritten by another, and a file that is written again is not there twice.

    Args:
        names: Paths on any file system that Beam knows, best first.
        data: The file's content.

    Returns:
        The path that the content is under now.

    Raises:
        UnwritableError: If it cannot be written, after some attempts; nothing is left behind.
    """
    for name in names:
        try:
            if _put(name, data):
                return name
        except Exception as error:
            raise UnwritableError(f"{name} cannot be written: {_reason(error)}") from error
    raise ValueError("there are no names to write to")


@tenacity.retry(
    stop=tenacity.stop_after_attempt(_ATTEMPTS),
    wait=tenacity.wait_exponential(_FIRST_WAIT),
    retry=tenacity.retry_if_exception_type(Exception),
    reraise=True,
)
def _put(name: str, data: bytes) -> bool:
    """Whether the data are under this name now, and not something else."""
    if FileSystems.exists(name):
        with FileSystems.open(name, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return file.read() == data
    folder, base = FileSystems.split(name)
    # Hidden, so that no glob for the results finds it.
    temporary = FileSystems.join(folder, f".{base}.{uuid.uuid4().hex}.tmp")
    try:
        _create(temporary, data)
        FileSystems.rename([temporary], [name])
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([temporary])
        raise
    return True


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
