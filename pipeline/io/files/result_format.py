"""The interface of a format of result files, for batch and streaming."""

from __future__ import annotations

import bz2
import gzip
import lzma
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import zstandard

from pipeline.beam_internals import limit_cleanup_glob
from pipeline.io.compression import compression_ending
from pipeline.io.records import json_line
from pipeline.schemas import KeptField, streamed_row
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

    In batch, `write` returns Beam's own transform for such files. In streaming, `file` makes a whole file at once from
    records that waited for it. The same records in the same order make the same bytes, so that a file that is written
    again is recognized.

    Attributes:
        suffix: The files' ending, including the ending for their compression.
        strategy: The aggregation strategy that made the entities.
        include_text: Whether to write the document's text.
        escape_formulas: For csv; see `pipeline.io.files.formats.csv.escape_formula`.
        kept: The fields of the record that are passed on, for formats with columns.
    """

    suffix: str
    strategy: str
    include_text: bool
    escape_formulas: bool = True
    kept: tuple[KeptField, ...] = ()

    @abstractmethod
    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes a batch's results.

        Args:
            prefix: The files' prefix.
            num_shards: The number of files; with 0, the runner decides.
        """

    def record(self, result: DocumentEntities) -> bytes:
        """Return one result in the form in which it waits for its file, by default as a line of JSON.

        Raises:
            ValueError: If a text is not valid Unicode, or a number is not finite.
        """
        return f"{json_line(streamed_row(result, self.include_text))}\n".encode()

    @abstractmethod
    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file of these records, in their order."""


class WriteFiles(beam.PTransform):
    """Writes a PCollection to files, by a transform of Beam."""

    def __init__(self, rows: Any, files: Any) -> None:
        """Sets the two steps.

        Args:
            rows: The labelled transform from elements to what the files contain.
            files: `WriteToText`, `WriteToAvro` or `WriteToParquet`.
        """
        super().__init__()
        self._rows = rows
        self._files = limit_cleanup_glob(files)

    def expand(self, elements: Any) -> Any:
        """Build the steps that write the files."""
        return elements | self._rows | "Write" >> self._files


def compressed(data: bytes, suffix: str) -> bytes:
    """Return the data, compressed according to a suffix; the same data make the same bytes."""
    return _COMPRESSIONS[compression_ending(suffix)](data)
