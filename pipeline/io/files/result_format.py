"""The interface of a format of result files, in batch and in streaming."""

from __future__ import annotations

import bz2
import gzip
import lzma
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import apache_beam as beam
import zstandard

from pipeline.io.files.compression import compression_ending
from pipeline.io.records import json_line
from pipeline.schemas import streamed_row
from transforms.documents import DocumentEntities

_COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@dataclass(frozen=True)
class ResultFormat(ABC):
    """A format of result files.

    In batch, `write` gives Beam's own transform for such files. In streaming, a file is written in one go, from records
    that have waited for it. The same records in the same order make the same bytes, so that a file that is written
    again is recognised.

    Attributes:
        suffix: The files' ending, which includes that of their compression.
        strategy: The aggregation strategy that made the entities.
        include_text: Whether the document's text is written.
        escape_formulas: For csv; see `pipeline.io.files.formats.csv.escape_formula`.
    """

    suffix: str
    strategy: str
    include_text: bool
    escape_formulas: bool = True

    @abstractmethod
    def write(self, prefix: str, num_shards: int) -> beam.PTransform:
        """Return the transform that writes a batch's results.

        Args:
            prefix: The files' prefix.
            num_shards: The number of files; 0 leaves it to the runner.
        """

    def record(self, result: DocumentEntities) -> bytes:
        """Return one result as it waits for its file, by default as a line of JSON.

        Raises:
            ValueError: If a text is not Unicode, or a number not finite.
        """
        return f"{json_line(streamed_row(result, self.include_text))}\n".encode()

    @abstractmethod
    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file of these records, in their order."""


def compressed(data: bytes, suffix: str) -> bytes:
    """Return data compressed as a suffix says; the same data make the same bytes."""
    return _COMPRESSIONS[compression_ending(suffix)](data)
