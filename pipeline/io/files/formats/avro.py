"""Avro object container files: reading documents, and writing results."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import fastavro
from apache_beam.io.avroio import WriteToAvro

from pipeline.io.fields import Column, DocumentFields
from pipeline.io.files.formats.avro_blocks import read_records
from pipeline.io.files.formats.avro_schemas import schema_columns
from pipeline.io.files.matching import Shard, open_raw
from pipeline.io.files.result_format import ResultFormat, WriteFiles
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import UnreadableError, document_of, json_payload, require_fields
from pipeline.schemas import avro_schema, result_fields, streamed_fields, typed_row, with_types
from transforms.documents import Document, Failure

_MARKER_BYTES = 16


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads every record of the blocks that begin in a shard.

    A record's position is the offset of its block and its number in the block. If a file is truncated exactly between
    two blocks, this cannot be detected: Avro does not store the file's length.
    """

    def check(schema: Any) -> None:
        require_fields(_names(schema), fields)
        if _check_sizes(schema, {}):
            raise UnreadableError("the records take no bytes")

    with open_raw(shard.path) as file:
        for place, record in read_records(file, shard, check):
            yield document_of(record, fields, shard.source, place, json_payload(record))


def _names(schema: Any) -> list[str]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnreadableError("the file does not contain records")
    return [field["name"] for field in schema["fields"]]


def columns(path: str, fields: DocumentFields, settings: ReadSettings) -> list[Column]:
    """Return the schema's fields, with those of nested records."""
    with open_raw(path) as file:
        schema = fastavro.reader(file).writer_schema
    _names(schema)
    return list(schema_columns(schema))


def _check_sizes(schema: Any, empty: dict[str, bool]) -> bool:
    """Return whether values of a schema take no bytes, and reject a schema with lists of such values.

    Such a list takes only the bytes of its length, so a small file could fill all memory.

    Args:
        schema: The schema as it is written in the file.
        empty: The result for each named type so far.

    Raises:
        UnreadableError: If the schema contains such lists.
    """
    if isinstance(schema, str):
        return schema == "null" or empty.get(schema, False)
    if isinstance(schema, list):  # a union: a number selects the branch
        for branch in schema:
            _check_sizes(branch, empty)
        return False
    kind = schema["type"]
    if kind in ("array", "map"):
        if _check_sizes(schema.get("items", "string"), empty):
            raise UnreadableError("the schema has lists of values that take no bytes")
        _check_sizes(schema.get("values", "string"), empty)
        return False
    if kind in ("record", "error"):
        sizes = [_check_sizes(field["type"], empty) for field in schema["fields"]]
        nothing = all(sizes)
    elif kind == "fixed":
        nothing = schema["size"] == 0
    else:
        return False if kind == "enum" else _check_sizes(kind, empty)
    # fastavro refers to a named type by its full name.
    empty[schema["name"]] = nothing
    return nothing


class AvroResults(ResultFormat):
    """Avro files of results, for batch and streaming."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes each result as a record `Result`, in blocks compressed with deflate."""
        schema = avro_schema("Result", result_fields(self.strategy, self.include_text, self.kept))
        files = WriteToAvro(prefix, schema, codec="deflate", file_name_suffix=self.suffix, num_shards=num_shards)
        return WriteFiles("Rows" >> beam.Map(typed_row, self.include_text, self.kept), files)

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file. Its marker is a hash of the records, so equal records make equal bytes."""
        file = io.BytesIO()
        schema = avro_schema("Result", streamed_fields(self.strategy, self.include_text, self.kept))
        marker = hashlib.sha256(b"".join(records)).digest()[:_MARKER_BYTES]
        rows = (with_types(json.loads(record), self.kept) for record in records)
        fastavro.writer(file, schema, rows, codec="deflate", sync_marker=marker)
        return file.getvalue()
