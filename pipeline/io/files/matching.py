"""The files that match a pattern, their shards, and their bytes."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from pipeline.io.compression import compression_ending, decompress
from pipeline.io.files.content import HEAD_BYTES, as_utf8, compression_of, encoding_of, is_utf8
from pipeline.io.records import UnreadableError

_BLOCK_BYTES = 1024 * 1024

_COMPRESSED_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True)
class Shard:
    """A part of a file, or the whole file.

    Attributes:
        path: The file's path, as it was matched.
        start: The offset of the first byte. A line, or another unit of a file, belongs to the shard with its first
            byte.
        end: The offset after the last byte; None for the file's end at the time of reading.
    """

    path: str
    start: int = 0
    end: int | None = None

    def holds(self, offset: int) -> bool:
        """Return whether a unit that begins at this offset belongs to this shard."""
        return self.start <= offset and (self.end is None or offset < self.end)

    @property
    def source(self) -> str:
        """The path as text; bytes of it that are not UTF-8 are escaped."""
        return self.path.encode("utf-8", "backslashreplace").decode("utf-8")

    def __str__(self) -> str:
        """Return the path, and the range of bytes if it is not the whole file."""
        if self.start == 0 and self.end is None:
            return self.source
        return f"{self.source} (bytes {self.start} to {'the end' if self.end is None else self.end})"


def match_files(pattern: str) -> list[FileMetadata]:
    """Return the files that a pattern matches, sorted by path.

    Args:
        pattern: A path or a glob on any file system that Beam supports. `*` matches within a folder, `**` across
            folders, and `**/` also no folder. The path of a local file, such as `report[1].csv`, is no glob.

    Returns:
        Paths with their sizes; empty if nothing matches.
    """
    if _is_file(pattern):
        return [FileSystems.get_filesystem(pattern).metadata(pattern)]
    full = rooted(pattern) if is_glob(pattern) else pattern
    globs = list(dict.fromkeys((full, full.replace("/**/", "/"))))  # each is listed once
    with _brackets_in_sets():
        found = {file.path: file for match in FileSystems.match(globs) for file in match.metadata_list}
    files = sorted([*found.values(), *_with_backslashes(pattern)], key=_path)
    if not files and FileSystems.exists(pattern):
        files = [FileSystems.get_filesystem(pattern).metadata(pattern)]
    return files


@contextmanager
def _brackets_in_sets() -> Iterator[None]:
    """Ignores Python's warning about `[[]`, which stands for a bracket."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _is_file(pattern: str) -> bool:
    """Return whether a pattern is the path of a file on this machine, although it may look like a glob."""
    return is_local(pattern) and Path(pattern).is_file()


def same_file(path: str) -> str:
    """Return the spelling of a path that is equal for all spellings of it, such as `./a.txt` and `a.txt`."""
    return os.path.abspath(path) if is_local(path) else path  # noqa: PTH100, which leaves `..` in the path


def _translated(pattern: str) -> re.Pattern[str]:
    with _brackets_in_sets():
        return re.compile(FileSystem.translate_pattern(pattern))


def _with_backslashes(pattern: str) -> Iterator[FileMetadata]:
    r"""Yield the local files that match a glob but have a backslash in their names.

    Beam treats a backslash as the separator of folders, and no wildcard matches it.
    """
    if os.sep == "\\" or not is_glob(pattern) or not is_local(pattern):
        return
    full = rooted(pattern)
    matches = _translated(full).match
    for path in _walk(full):
        if "\\" in path and not matches(path) and matches(path.replace("\\", "_")) and Path(path).is_file():
            yield FileMetadata(path, Path(path).stat().st_size)


def _walk(pattern: str, problems: list[OSError] | None = None) -> Iterator[str]:
    """Yield all paths below the folder in which a local glob begins.

    Args:
        pattern: The glob.
        problems: Gets the error of each folder that cannot be listed.
    """
    first, _ = os.path.split(re.split(r"[*?[]", pattern, maxsplit=1)[0])
    for folder, folders, names in os.walk(first, onerror=None if problems is None else problems.append):
        yield from (f"{folder.rstrip('/')}/{name}" for name in (*names, *folders))


def is_folder(path: str) -> bool:
    """Return whether a path names a folder: it ends in a slash, or is a folder on this machine."""
    return (is_local(path) and Path(path).is_dir()) or (path.endswith("/") and not is_glob(path))


def pattern_of(path: str) -> str:
    """Return the glob for the files in a folder, but not in the folders in it; another path is returned as it is.

    >>> pattern_of("gs://bucket/letters/"), pattern_of("gs://bucket/x-*.csv")
    ('gs://bucket/letters/*', 'gs://bucket/x-*.csv')
    """
    if not is_folder(path):
        return path
    name = re.sub(r"[*?[]", r"[\g<0>]", path) if is_local(path) else path
    return f"{name.rstrip('/')}/*"


def unmatched_by_beam(pattern: str, endings: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the paths that match a local glob but that Beam skips silently, each with its problem.

    Args:
        pattern: As for `match_files`.
        endings: The endings of files, in lower case. A folder with such an ending is yielded, unless the pattern has
            `**`.
    """
    if not is_glob(pattern) or not is_local(pattern) or _is_file(pattern):
        return
    full = rooted(pattern)
    matches = _translated(full).match
    unlisted: list[OSError] = []
    for path in _walk(full, unlisted):
        if not matches(path):
            continue
        if Path(path).is_symlink() and not Path(path).exists():
            yield path, "the target of the link does not exist"
        elif "**" not in pattern and _has_ending(path, endings) and Path(path).is_dir():
            yield path, "is a folder; expected the files in it"
    for error in unlisted:
        if _leads_to(error.filename, full):
            yield error.filename, f"the folder cannot be listed: {error.strerror}"


def _leads_to(folder: str, pattern: str) -> bool:
    """Return whether a glob can match a path below a folder.

    >>> _leads_to("in/a", "in/*/x.jsonl"), _leads_to("in/a/b", "in/*/x.jsonl"), _leads_to("in/a/b", "in/**.jsonl")
    (True, False, True)
    """
    parts, depth = pattern.split("/"), folder.count("/") + 1
    head = FileSystem.translate_pattern("/".join(parts[:depth]))
    return "**" in pattern or (depth < len(parts) and re.match(head, folder) is not None)


def _has_ending(path: str, endings: Sequence[str]) -> bool:
    return path.lower().removesuffix(compression_ending(path)).endswith(tuple(endings))


def is_glob(pattern: str) -> bool:
    """Return whether a path contains a wildcard."""
    return any(wildcard in pattern for wildcard in "*?[")


def rooted(pattern: str) -> str:
    """Return a pattern that begins with a folder's name.

    Beam lists the folder before the first wildcard. It finds nothing if that folder has no name.
    """
    return pattern if "/" in pattern or "\\" in pattern else f"./{pattern}"


def is_local(path: str) -> bool:
    """Return whether a path is on this machine."""
    return FileSystems.get_scheme(path) is None


def _path(file: FileMetadata) -> str:
    return file.path


def split_file(path: str, size: int, shard_bytes: int) -> list[Shard]:
    """Splits a file into shards. The last one has no end, so that a file that has grown is still read to its end.

    >>> [(shard.start, shard.end) for shard in split_file("a.txt", 150, 64)]
    [(0, 64), (64, 128), (128, None)]
    """
    starts = list(range(0, max(size, 1), shard_bytes))
    return [Shard(path, start, end) for start, end in zip(starts, [*starts[1:], None], strict=True)]


def open_raw(path: str) -> BinaryIO:
    """Opens a file's bytes as they are stored.

    Beam's own decompression is not used, because it accepts a truncated stream as a complete one.

    Raises:
        UnreadableError: If the path is a local pipe, socket or device, because reading it might never end.
    """
    if is_local(path) and (file := Path(path)).exists() and not (file.is_file() or file.is_dir()):
        raise UnreadableError("this is a pipe or a device, not a file")
    return FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED)


def read_blocks(path: str, start: int = 0, encoding: str | None = None) -> Iterator[bytes]:
    """Yield a text file's bytes in blocks, decompressed and in UTF-8.

    Args:
        path: The file.
        start: The offset of the first byte; only for files that `can_split`.
        encoding: The file's encoding; None to read it from the first bytes.

    Raises:
        UnreadableError: If a compressed stream is corrupt or ends early, or if the file is no text.
    """
    with open_raw(path) as file:
        if start:
            file.seek(start)
            yield from iter(partial(file.read, _BLOCK_BYTES), b"")
            return
        head = file.read(HEAD_BYTES)
        compression = compression_of(path, head)
        size = _COMPRESSED_BLOCK_BYTES if compression else _BLOCK_BYTES
        blocks: Iterator[bytes] = chain(filter(None, [head]), iter(partial(file.read, size), b""))
        yield from as_utf8(decompress(blocks, compression) if compression else blocks, encoding)


def can_split(path: str, encoding: str | None = None) -> bool:
    """Return whether a text file can be read from any offset: it is not compressed, and is in UTF-8."""
    with open_raw(path) as file:
        head = file.read(HEAD_BYTES)
    return compression_of(path, head) is None and is_utf8(encoding or encoding_of(head))
