"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.sources.files import Shard, open_raw
from pipeline.sources.records import DocumentFields, document_of, json_payload, require_fields
from transforms.documents import Document, Failure

_BATCH_ROWS = 256
_BATCH_BYTES = 64 * 1024 * 1024  # of strings that are made of a dictionary at a time


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every row's text and id, a batch at a time; a row's place is its number from 0."""
    with open_raw(shard.path) as file:
        for number, record in enumerate(_records(file, fields)):
            yield document_of(record, fields, shard.source, number, json_payload(record))


def _records(file: BinaryIO, fields: DocumentFields) -> Iterator[dict[str, Any]]:
    table = pq.ParquetFile(file)
    present = table.schema_arrow.names
    require_fields(present, fields)
    names = [name for name in dict.fromkeys((fields.id, fields.text)) if name in present]
    # Strings stay in their dictionaries: a long one that stands there once may be that of many rows.
    table = pq.ParquetFile(file, metadata=table.metadata, read_dictionary=names)
    for batch in table.iter_batches(_BATCH_ROWS, columns=names):
        values = [_values(batch.column(name)) for name in names]
        for row in zip(*values, strict=True):
            yield dict(zip(names, row, strict=True))


def _values(column: pa.Array) -> Iterable[Any]:
    """A column as Python values, strings as bytes: Arrow would refuse a whole batch for one that is not UTF-8."""
    if not pa.types.is_dictionary(column.type):
        return _plain(column).to_pylist()
    distinct = _plain(column.dictionary)
    if pa.types.is_large_binary(distinct.type):
        size = pc.sum(pc.binary_length(distinct).take(column.indices)).as_py() or 0
        if size > _BATCH_BYTES:
            return (None if at is None else distinct[at].as_py() for at in column.indices.to_pylist())
    return distinct.take(column.indices).to_pylist()


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column


def columns(path: str) -> list[str]:
    """The names of the schema's columns."""
    with open_raw(path) as file:
        return list(pq.ParquetFile(file).schema_arrow.names)
