"""Parquet files: reading documents, and writing results."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.parquetio import WriteToParquet

from pipeline.io.fields import ALL_FIELDS, Column, DocumentFields, UnshowableValue, column_of
from pipeline.io.files.matching import Shard, open_raw
from pipeline.io.files.result_format import ResultFormat, WriteFiles
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import document_of, json_payload, require_fields
from pipeline.schemas import FieldType, arrow_schema, result_fields, streamed_fields, typed_row, with_types
from transforms.documents import Document, Failure

_BATCH_ROWS = 256

_BATCH_BYTES = 64 * 1024 * 1024  # the most bytes of strings to expand from a dictionary at a time


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads the text, the id and the kept fields of every row of the row groups that begin in a shard.

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
    schema = table.schema_arrow
    paths = _paths(schema, fields)
    # Strings stay in their dictionaries, since many rows may share one long string there. Lists have none.
    values = {table.schema.column(number).path for number in range(len(table.schema))}
    table = pq.ParquetFile(file, metadata=table.metadata, read_dictionary=[name for name in paths if name in values])
    for batch in table.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(paths)):
        columns = [_values(_leaf(batch, path)) for path in paths.values()]
        for row in zip(*columns, strict=True):
            yield dict(zip(paths, row, strict=True))


def _paths(schema: pa.Schema, fields: DocumentFields) -> dict[str, tuple[str, ...]]:
    """Return the columns to read by name, each as a path through structs. A path ends before a list."""
    names = [*fields.names, *(schema.names if any(field.name == ALL_FIELDS for field in fields.keep) else ())]
    paths: dict[str, tuple[str, ...]] = {}
    for name in names:
        column = column_of(name, schema.names)
        if column is None:
            continue
        kind, path = schema.field(column).type, [column]
        for part in name[len(column) + 1 :].split(".") if name != column else ():
            if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
                break
            kind = kind.field(part).type
            path.append(part)
        paths[".".join(path)] = tuple(path)
    return paths


def _leaf(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    column = batch.column(path[0])
    return pc.struct_field(column, list(path[1:])) if len(path) > 1 else column


def _values(column: pa.Array) -> Iterable[Any]:
    """Return a column as Python values, with strings as bytes.

    Arrow would reject a whole batch because of one string that is not UTF-8.
    """
    if not pa.types.is_dictionary(column.type):
        return _python_values(_plain(column))
    distinct = _plain(column.dictionary)
    if pa.types.is_large_binary(distinct.type):
        size = pc.sum(pc.binary_length(distinct).take(column.indices)).as_py() or 0
        if size > _BATCH_BYTES:
            return (None if at is None else distinct[at].as_py() for at in column.indices.to_pylist())
    return distinct.take(column.indices).to_pylist()


def _python_values(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()
    except (ValueError, ArithmeticError):  # one value spoils all, such as a time with nanoseconds
        return list(map(_python_value, column))


def _python_value(scalar: pa.Scalar) -> Any:
    """Return a value, as Arrow's text if Python has no form for it, such as a time with nanoseconds."""
    with suppress(ValueError, ArithmeticError):
        return scalar.as_py()
    with suppress(ValueError, ArithmeticError):
        return scalar.cast(pa.string()).as_py()
    return UnshowableValue()


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.large_binary())
    return column


def columns(path: str, fields: DocumentFields, settings: ReadSettings) -> list[Column]:
    """Return the schema's columns, with the fields of nested structs and of the structs in lists."""
    with open_raw(path) as file:
        schema = pq.ParquetFile(file).schema_arrow
    return [column for field in schema for column in _columns_of(field)]


def _columns_of(field: pa.Field, prefix: str = "") -> Iterator[Column]:
    name, kind = f"{prefix}{field.name}", field.type
    yield Column(name, _field_type(kind), str(kind))
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    for part in kind if pa.types.is_struct(kind) else ():
        yield from _columns_of(part, f"{name}.")


def _field_type(kind: pa.DataType) -> FieldType:
    """Return a type in BigQuery's terms; types that it lacks, or that need conversion, are ``RECORD``."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind) and kind.tz and kind.unit != "ns":
        return "TIMESTAMP"
    if pa.types.is_uint64(kind):  # its values may exceed 64 bits with a sign
        return "RECORD"
    return next((name for name, is_kind in _FIELD_TYPES.items() if is_kind(kind)), "RECORD")


def _is_text(kind: pa.DataType) -> bool:
    # A column of type null contains no value, and its rows become failures.
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


_FIELD_TYPES: dict[FieldType, Callable[[pa.DataType], bool]] = {
    "STRING": _is_text,
    "INTEGER": pa.types.is_integer,
    "FLOAT": pa.types.is_floating,
    "BOOLEAN": pa.types.is_boolean,
    "BYTES": _is_bytes,
}


class ParquetResults(ResultFormat):
    """Parquet files of results."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes each result as a row, in pages compressed with Snappy."""
        files = WriteToParquet(
            prefix,
            arrow_schema(result_fields(self.strategy, self.include_text, self.kept)),
            codec="snappy",
            use_compliant_nested_type=True,
            file_name_suffix=self.suffix,
            num_shards=num_shards,
        )
        return WriteFiles("Rows" >> beam.Map(typed_row, self.include_text, self.kept), files)

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file."""
        file = io.BytesIO()
        schema = arrow_schema(streamed_fields(self.strategy, self.include_text, self.kept))
        rows: list[dict[str, Any]] = [with_types(json.loads(record), self.kept) for record in records]
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, file, compression="snappy", use_compliant_nested_type=True)
        return file.getvalue()
