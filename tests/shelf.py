"""A remote file system for tests: ``shelf:///folder/file`` is the local ``/folder/file``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

PREFIX = "shelf://"


class ShelfFileSystem(LocalFileSystem):
    """Known to Beam as soon as this module is imported."""

    @classmethod
    def scheme(cls) -> str:
        return "shelf"

    def join(self, basepath: str, *paths: str) -> str:
        return PREFIX + super().join(basepath.removeprefix(PREFIX), *paths)

    def split(self, path: str) -> tuple[str, str]:
        head, tail = super().split(path.removeprefix(PREFIX))
        return PREFIX + head, tail

    def exists(self, path: str) -> bool:
        return super().exists(path.removeprefix(PREFIX))

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for found in LocalFileSystem(None)._list(dir_or_prefix.removeprefix(PREFIX)):
            yield FileMetadata(PREFIX + found.path, found.size_in_bytes, found.last_updated_in_seconds)

    def open(self, path: str, *arguments: Any, **settings: Any) -> Any:
        return super().open(path.removeprefix(PREFIX), *arguments, **settings)
