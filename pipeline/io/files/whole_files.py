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
from apache_beam.io.gcp.gcsio import parse_gcs_path
from google.api_core.exceptions import PreconditionFailed

from pipeline.beam_internals import storage_client

_ATTEMPTS = 4
_FIRST_WAIT = 0.25  # seconds; doubled each time


class UnwritableError(Exception):
    """A file that could not be written, and why; quotes nothing of what it was to hold."""


def put_file(name_of: Callable[[int], str], data: bytes) -> str:
    """Writes a file under the next of some names that is free; where it was written just before, that is found.

    So a file is never overwritten by another, and one that is written again at once is not there twice. Several
    processes may write under the same names on local disks with hard links and on Cloud Storage, where a name can be
    taken in one step; on other file systems the later of two in the same moment would win.

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
    while not _put_new(name_of(free), data):
        if _holds(name_of(free), data):
            break
        free += 1  # another process has just taken the name
    return name_of(free)


def _put_new(name: str, data: bytes) -> bool:
    """Writes a file where none is; False where one is."""
    if name.startswith("gs://"):
        return _upload_new(name, data)
    folder, base = FileSystems.split(name)
    # Hidden, so that no glob for the results finds it.
    temporary = FileSystems.join(folder, f".{base}.{uuid.uuid4().hex}.tmp")
    try:
        _create(temporary, data)
        return _move_new(temporary, name)
    except BaseException:
        with suppress(Exception):
            FileSystems.delete([temporary])
        raise


def _upload_new(name: str, data: bytes) -> bool:
    """An object of Cloud Storage is there as a whole or not at all, and can be asked to be the first of its name."""
    bucket, path = parse_gcs_path(name)
    client = storage_client(FileSystems.get_filesystem(name))
    try:
        client.bucket(bucket).blob(path).upload_from_string(data, "application/octet-stream", if_generation_match=0)
    except PreconditionFailed:
        return False
    return True


def _move_new(temporary: str, name: str) -> bool:
    """Gives a file its name, in one step where the file system can: a rename would overwrite what is there."""
    try:
        if "://" in name:
            raise OSError
        os.link(temporary, name)
    except FileExistsError:
        moved = False
    except OSError:  # nothing of the kind here
        FileSystems.rename([temporary], [name])
        return True
    else:
        moved = True
    FileSystems.delete([temporary])
    return moved


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
