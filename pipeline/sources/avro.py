"""Avro object container files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import fastavro
from fastavro.read import BLOCK_READERS

from pipeline.sources import snappy
from pipeline.sources.compression import decompress_block
from pipeline.sources.files import Shard, open_raw
from pipeline.sources.limits import MAX_RECORD_BYTES, UnreadableError
from pipeline.sources.records import DocumentFields, document_of, json_payload, require_fields
from transforms.documents import Document, Failure

_KINDS = {"deflate": "deflate", "bzip2": "bzip2", "xz": "xz", "zstandard": "zstd"}
_MARKER_BYTES = 16
_STEP_BYTES = 64 * 1024


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every record of the blocks that begin in a shard; its place is its block's offset and its number there.

    A file that is cut exactly between two blocks cannot be told from a whole one: Avro does not store its length.
    """
    with open_raw(shard.path) as file:
        # Escaped, a string that is not UTF-8 fails its own record rather than the rest of the file.
        blocks = fastavro.block_reader(file, handle_unicode_errors="surrogateescape")
        require_fields(_names(blocks.writer_schema), fields)
        if _check_sizes(blocks.writer_schema, {}):
            raise UnreadableError("the records take no bytes")
        found = _seek_block(file, shard)
        while found and shard.holds(file.tell()) and (block := next(blocks, None)) is not None:
            for number, record in enumerate(block):
                place = f"{block.offset}.{number}"
                yield document_of(record, fields, shard.source, place, json_payload(record))


def _seek_block(file: BinaryIO, shard: Shard) -> bool:
    """Goes from the end of the header to the first block of a shard; False if none begins there.

    A block begins after the file's own marker of 16 random bytes, with which the header ends and each block does. (One
    that a text quoted would not begin a block that ends with a marker where it says: an error, and no false records.)
    """
    first = file.tell()
    if shard.start <= first:
        return True
    file.seek(first - _MARKER_BYTES)
    marker = file.read(_MARKER_BYTES)
    at = shard.start - _MARKER_BYTES
    file.seek(at)
    window = b""
    while (shard.end is None or at < shard.end) and (step := file.read(_STEP_BYTES)):
        window = window[1 - _MARKER_BYTES :] + step
        at += len(step)
        if (found := window.find(marker)) >= 0:
            file.seek(at - len(window) + found + _MARKER_BYTES)
            return True
    return False


def _names(schema: Any) -> list[str]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        raise UnreadableError("the file does not hold records")
    return [field["name"] for field in schema["fields"]]


def columns(path: str) -> list[str]:
    """The names of the schema's fields."""
    with open_raw(path) as file:
        return _names(fastavro.reader(file).writer_schema)


def _check_sizes(schema: Any, empty: dict[str, bool]) -> bool:
    """Whether values of a schema take no bytes; a list of them, whose length is but a number, would fill all memory.

    Args:
        schema: The schema as it is written in the file.
        empty: What is known of the named types before it.

    Raises:
        UnreadableError: If there are such lists in it.
    """
    if isinstance(schema, str):
        return schema == "null" or empty.get(schema, False)
    if isinstance(schema, list):  # a union: a number says which
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
    # fastavro writes the full name where a type is named.
    empty[schema["name"]] = nothing
    return nothing


def _bounded(kind: str, read_packed: Callable[[BinaryIO], BinaryIO], file: BinaryIO) -> BinaryIO:
    """Unpacks a block, of which fastavro itself would hold whatever it expands to."""
    return io.BytesIO(decompress_block(read_packed(file).read(), kind, MAX_RECORD_BYTES))


for _codec, _kind in _KINDS.items():
    BLOCK_READERS[_codec] = partial(_bounded, _kind, BLOCK_READERS["null"])
BLOCK_READERS["snappy"] = snappy.read_block
