"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.files import Shard, open_raw
from pipeline.sources.records import DocumentFields, document_of, json_payload, require_fields
from transforms.documents import Document, Failure

_BATCH_ROWS = 256


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every row's text and id, a batch at a time; a row's place is its number from 0."""
    with open_raw(shard.path) as file:
        for number, record in enumerate(_records(pq.ParquetFile(file), fields)):
            yield document_of(record, fields, shard.source, number, json_payload(record))


def _records(table: pq.ParquetFile, fields: DocumentFields) -> Iterator[dict[str, Any]]:
    present = table.schema_arrow.names
    require_fields(present, fields)
    names = [name for name in dict.fromkeys((fields.id, fields.text)) if name in present]
    for batch in table.iter_batches(_BATCH_ROWS, columns=names):
        values = [_values(batch.column(name)) for name in names]
        for row in zip(*values, strict=True):
            yield dict(zip(names, row, strict=True))


def _values(column: pa.Array) -> list[Any]:
    """A column as Python values, strings as bytes: Arrow would refuse a whole batch for one that is not UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_binary())
    return column.to_pylist()


def columns(path: str) -> list[str]:
    """The names of the schema's columns."""
    with open_raw(path) as file:
        return list(pq.ParquetFile(file).schema_arrow.names)
