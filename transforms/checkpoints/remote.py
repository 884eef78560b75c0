"""Copies a remote folder to this machine, completely or not at all, and checks the copied bytes.

Sizes are always compared. Google Cloud Storage stores a CRC32C of every object, which is compared too. For other file
systems, Beam's checksum is not always of the same kind (an S3 etag is an MD5 for some objects only), so it is not used.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from filelock import FileLock

_BLOCK = 1 << 20  # bytes


def download(root: str, wanted: Callable[[str], bool], cache: Path, *, required: str) -> Path | None:
    """Copies a remote folder's files into a cache, once for each state of the folder.

    If another thread or process is copying the same state, this call waits, and returns that copy.

    Args:
        root: The remote folder, with a slash at its end.
        wanted: Function that returns whether to copy a file, by its name below `root`.
        cache: A folder on this machine, which threads and processes share.
        required: Name of a file; without it nothing is copied.

    Returns:
        The copy, a folder below `cache`; None if there is no `required` file.

    Raises:
        ValueError: if the folder cannot be listed, or a file is lost, truncated or changed during the copy. The message
            does not name the folder, so the caller must put its name before the message. Nothing is left in the cache.
    """
    files = _list(root, wanted)
    if required not in files:
        return None
    target = cache / hashlib.sha256(f"{root}\n{_state(files)}".encode()).hexdigest()[:24]
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.is_dir():
            _copy_all(root, files, target)
            if _state(_list(root, wanted)) != _state(files):
                shutil.rmtree(target)
                raise ValueError("changed during the download; expected a folder that no other process changes")
    return target


def _list(root: str, wanted: Callable[[str], bool]) -> dict[str, FileMetadata]:
    try:
        listing = [FileSystems.match([root + pattern])[0].metadata_list for pattern in ("*", "onnx/*")]
    except Exception as error:
        raise ValueError(f"cannot be listed: {type(error).__name__}") from error
    found = {file.path[len(root) :]: file for files in listing for file in files}
    return {name: found[name] for name in sorted(found) if wanted(name)}


def _state(files: dict[str, FileMetadata]) -> str:
    return "\n".join(f"{name} {file.size_in_bytes} {file.last_updated_in_seconds}" for name, file in files.items())


def _copy_all(root: str, files: dict[str, FileMetadata], target: Path) -> None:
    """Copies into a folder of another name first, so that the files of a killed process do not look complete."""
    unfinished = target.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for name, file in files.items():
            path = unfinished / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(root + name, path, file.size_in_bytes)
        unfinished.replace(target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy(source: str, path: Path, size: int) -> None:
    try:
        copied, checksum = _copy_bytes(source, path)
        expected = _expected_checksum(source)
    except Exception as error:
        raise ValueError(f"cannot be downloaded: {type(error).__name__} at {path.name}") from error
    if copied != size:
        raise ValueError(f"cannot be downloaded whole: {path.name} has {size} bytes, and {copied} arrived")
    if expected not in (None, checksum):
        raise ValueError(f"damaged: {path.name} arrived with the CRC32C {checksum}; expected {expected}")


def _copy_bytes(source: str, path: Path) -> tuple[int, str]:
    """Copies a file; returns the number of its bytes, and their CRC32C in base64, as in Cloud Storage."""
    import google_crc32c  # comes with Cloud Storage's client

    checksum, copied = google_crc32c.Checksum(), 0
    with (
        FileSystems.open(source, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        path.open("wb") as output,
    ):
        while block := file.read(_BLOCK):
            output.write(block)
            checksum.update(block)
            copied += len(block)
    return copied, base64.b64encode(checksum.digest()).decode()


def _expected_checksum(source: str) -> str | None:
    return FileSystems.checksum(source) if source.startswith("gs://") else None
