"""A stream's results and failures as the bytes of files that are written in one go.

The same records in the same order make the same bytes, so that a file that is written again is recognised.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pipeline.schemas import arrow_schema, avro_schema, csv_columns, streamed_fields, streamed_row
from pipeline.sinks.csv import csv_line, entity_lines
from pipeline.sinks.jsonl import failure_line, json_line
from pipeline.sources.compression import compression_ending
from transforms.documents import DocumentEntities, Failure

_COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": lambda data: gzip.compress(data, mtime=0),
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


@dataclass(frozen=True)
class ResultFormat:
    """A format of result files.

    Attributes:
        name: ``jsonl``, ``csv``, ``avro`` or ``parquet``.
        suffix: The files' ending, which says how they are compressed.
        strategy: The aggregation strategy that made the entities.
        include_text: Whether the document's text is written.
        escape_formulas: For csv; see `pipeline.sinks.csv.escape_formula`.
    """

    name: str
    suffix: str
    strategy: str
    include_text: bool
    escape_formulas: bool = True

    def record(self, result: DocumentEntities) -> bytes:
        """One result as it waits for its file: its lines of CSV, or its row in JSON whatever the format.

        Raises:
            ValueError: If a text is no Unicode, or a number not finite.
        """
        if self.name == "csv":
            return "".join(f"{line}\n" for line in entity_lines(result, self.escape_formulas)).encode()
        return f"{json_line(streamed_row(result, self.include_text))}\n".encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """The content of a file of these records, in their order."""
        if self.name == "avro":
            return self._avro(records)
        if self.name == "parquet":
            return self._parquet(records)
        header = f"{csv_line(csv_columns(self.strategy))}\n".encode() if self.name == "csv" else b""
        return _compressed(header + b"".join(records), self.suffix)

    def _avro(self, records: Sequence[bytes]) -> bytes:
        file = io.BytesIO()
        schema = avro_schema("Result", streamed_fields(self.strategy, self.include_text))
        marker = hashlib.sha256(b"".join(records)).digest()[:16]
        fastavro.writer(file, schema, map(json.loads, records), codec="deflate", sync_marker=marker)
        return file.getvalue()

    def _parquet(self, records: Sequence[bytes]) -> bytes:
        file = io.BytesIO()
        schema = arrow_schema(streamed_fields(self.strategy, self.include_text))
        rows: list[dict[str, Any]] = [json.loads(record) for record in records]
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, file, compression="snappy", use_compliant_nested_type=True)
        return file.getvalue()


@dataclass(frozen=True)
class FailureFormat:
    """JSON Lines of failures.

    Attributes:
        suffix: The files' ending, which says how they are compressed.
    """

    suffix: str

    def record(self, failure: Failure) -> bytes:
        """One failure as a line of JSON."""
        return f"{failure_line(failure)}\n".encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """The content of a file of these records, in their order."""
        return _compressed(b"".join(records), self.suffix)


def _compressed(data: bytes, suffix: str) -> bytes:
    return _COMPRESSIONS[compression_ending(suffix)](data)
