"""Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
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
    """Reads text and id of every row of the row groups that begin in a shard; a row's place is its number from 0."""
    with open_raw(shard.path) as file:
        table = pq.ParquetFile(file)
        require_fields(table.schema_arrow.names, fields)
        groups = _row_groups(table, shard)
        numbers = chain.from_iterable(groups.values())
        for number, record in zip(numbers, _records(file, table, list(groups), fields), strict=True):
            yield document_of(record, fields, shard.source, number, json_payload(record))


def _row_groups(table: pq.ParquetFile, shard: Shard) -> dict[int, range]:
    """The row groups that begin in a shard, each with the numbers of its rows in the file."""
    groups, first = {}, 0
    for index in range(table.num_row_groups):
        group = table.metadata.row_group(index)
        if shard.holds(group.column(0).data_page_offset):
            groups[index] = range(first, first + group.num_rows)
        first += group.num_rows
    return groups


def _records(
    file: BinaryIO, table: pq.ParquetFile, groups: list[int], fields: DocumentFields
) -> Iterator[dict[str, Any]]:
    present = table.schema_arrow.names
    names = [name for name in dict.fromkeys((fields.id, fields.text)) if name in present]
    # Strings stay in their dictionaries: a long one that stands there once may be that of many rows.
    table = pq.ParquetFile(file, metadata=table.metadata, read_dictionary=names)
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names):
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
