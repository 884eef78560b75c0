"""Parquet files: reading documents, and writing results."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.parquetio import WriteToParquet

from pipeline.io.files.matching import Shard, open_raw
from pipeline.io.files.result_format import ResultFormat, WriteFiles
from pipeline.io.records import DocumentFields, document_of, json_payload, require_fields
from pipeline.schemas import arrow_schema, result_fields, result_row, streamed_fields
from transforms.documents import Document, Failure

_BATCH_ROWS = 256

_BATCH_BYTES = 64 * 1024 * 1024  # the most bytes of strings to expand from a dictionary at a time


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads the text and the id of every row of the row groups that begin in a shard.

    A row's position is its number in the file, from 0.
    """
    with open_raw(shard.path) as file:
        table = pq.ParquetFile(file)
        require_fields(table.schema_arrow.names, fields)
        groups = _row_groups(table, shard)
        numbers = chain.from_iterable(groups.values())
        for number, record in zip(numbers, _records(file, table, list(groups), fields), strict=True):
            yield document_of(record, fields, shard.source, number, json_payload(record))


def _row_groups(table: pq.ParquetFile, shard: Shard) -> dict[int, range]:
    """Return the row groups that begin in a shard, each with its rows' numbers in the file."""
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
    # Strings stay in their dictionaries, since many rows may share one long string there.
    table = pq.ParquetFile(file, metadata=table.metadata, read_dictionary=names)
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups, columns=names):
        values = [_values(batch.column(name)) for name in names]
        for row in zip(*values, strict=True):
            yield dict(zip(names, row, strict=True))


def _values(column: pa.Array) -> Iterable[Any]:
    """Return a column as Python values, with strings as bytes.

    Arrow would reject a whole batch because of one string that is not UTF-8.
    """
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


def columns(path: str, encoding: str | None = None) -> list[str]:
    """Return the names of the schema's columns."""
    with open_raw(path) as file:
        return list(pq.ParquetFile(file).schema_arrow.names)


class ParquetResults(ResultFormat):
    """Parquet files of results."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes each result as a row, in pages compressed with Snappy."""
        files = WriteToParquet(
            prefix,
            arrow_schema(result_fields(self.strategy, self.include_text)),
            codec="snappy",
            use_compliant_nested_type=True,
            file_name_suffix=self.suffix,
            num_shards=num_shards,
        )
        return WriteFiles("Rows" >> beam.Map(result_row, self.include_text), files)

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file."""
        file = io.BytesIO()
        schema = arrow_schema(streamed_fields(self.strategy, self.include_text))
        rows: list[dict[str, Any]] = [json.loads(record) for record in records]
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, file, compression="snappy", use_compliant_nested_type=True)
        return file.getvalue()
