"""Avro object container files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fastavro

from pipeline.sources.files import Shard, UnreadableError, open_raw
from pipeline.sources.records import DocumentFields, document_of, json_payload, require_fields
from transforms.documents import Document, Failure


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every record; its place is its number from 0.

    A file that is cut exactly between two blocks cannot be told from a whole one: Avro does not store its length.
    """
    with open_raw(shard.path) as file:
        # Escaped, a string that is not UTF-8 fails its own record rather than the rest of the file.
        reader = fastavro.reader(file, handle_unicode_errors="surrogateescape")
        require_fields(_names(reader.writer_schema), fields)
        for number, record in enumerate(reader):
            yield document_of(record, fields, shard.source, number, json_payload(record))


def _names(schema: Any) -> list[str]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnreadableError("the file does not hold records")
    return [field["name"] for field in schema["fields"]]


def columns(path: str) -> list[str]:
    """The names of the schema's fields."""
    with open_raw(path) as file:
        return _names(fastavro.reader(file).writer_schema)
