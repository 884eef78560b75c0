"""Writes a file as a whole: under its name is either all of it or nothing."""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Callable
from contextlib import suppress

import tenacity
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsio import parse_gcs_path
from google.api_core.exceptions import PreconditionFailed

from pipeline.beam_internals import storage_client

_ATTEMPTS = 4
_FIRST_WAIT = 0.25  # seconds; doubled each time


class UnwritableError(Exception):
    """An error for a file that could not be written, with the reason; the message quotes none of the content."""


def atomic_write(name_of: Callable[[int], str], data: bytes) -> str:
    """Writes a file under the next free name, and returns that name.

    No file is ever overwritten. If the first or the last name in use already contains the same data, that name is
    returned instead. So a repeated write does not make a second copy.

    On local disks with hard links and on Cloud Storage, a name is claimed in one step. There, several processes may
    write under the same names. On other file systems, the later of two simultaneous writes would overwrite the earlier
    one.

    Args:
        name_of: A function that returns the path for a number from 0, on any file system that Beam supports.
        data: The file's content.

    Returns:
        The path that now contains the data.

    Raises:
        UnwritableError: If the file cannot be written after some attempts; no partial file remains.
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
    while not _put_new(name_of(free), data):
        if _holds(name_of(free), data):
            break
        free += 1  # another process has just taken the name
    return name_of(free)


def _put_new(name: str, data: bytes) -> bool:
    """Writes a file if its name is free; returns False if the name is taken."""
    if name.startswith("gs://"):
        return _upload_new(name, data)
    folder, base = FileSystems.split(name)
    # The name is hidden, so that no glob for results matches it.
    temporary = FileSystems.join(folder, f".{base}.{uuid.uuid4().hex}.tmp")
    try:
        _create(temporary, data)
        return _move_new(temporary, name)
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([temporary])
        raise


def _upload_new(name: str, data: bytes) -> bool:
    """Uploads an object to Cloud Storage if its name is free; returns False if the name is taken.

    An object appears as a whole or not at all. The service itself checks that the name is free.
    """
    bucket, path = parse_gcs_path(name)
    client = storage_client(FileSystems.get_filesystem(name))
    try:
        client.bucket(bucket).blob(path).upload_from_string(data, "application/octet-stream", if_generation_match=0)
    except PreconditionFailed:
        return False
    return True


def _move_new(temporary: str, name: str) -> bool:
    """Renames a file if the new name is free; returns False if the name is taken.

    A hard link does this in one step. If there are no hard links, the file is renamed, which overwrites an existing
    file.
    """
    try:
        if "://" in name:
            raise OSError
        os.link(temporary, name)
    except FileExistsError:
        moved = False
    except OSError:  # no hard links here
        FileSystems.rename([temporary], [name])
        return True
    else:
        moved = True
    FileSystems.delete([temporary])
    return moved


def _first_free(name_of: Callable[[int], str]) -> int:
    """Return the first number whose name is free, by binary search."""
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
            # Acknowledged data must survive a loss of power.
            os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    causes = getattr(error, "exception_details", None) or {}
    cause = next(iter(causes.values()), error)
    return getattr(cause, "strerror", None) or type(cause).__name__
