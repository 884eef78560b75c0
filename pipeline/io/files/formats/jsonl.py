"""JSON files: reading documents from lines, arrays or objects, and writing results and failures as lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.io.fields import BadRecordError, Column, DocumentFields, paths_of
from pipeline.io.files.formats.json_values import is_one_value, split_values
from pipeline.io.files.lines import shard_lines, strip_ending, too_long
from pipeline.io.files.matching import Shard, read_blocks
from pipeline.io.files.result_format import ResultFormat, WriteFiles, compressed
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import UnreadableError, document_of, json_line, parse_object
from pipeline.schemas import failure_json_row, result_row
from transforms.documents import Document, DocumentEntities, Failure

_PEEKED_OBJECTS = 100

_PEEKED_VALUES = 1000


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads every object of a file: one in each line that is not blank, or those of an array, or one after another."""
    for offset, value in json_objects(shard, settings.encoding):
        if value is None:
            yield too_long(shard.source, offset)
        else:
            yield document_of_object(value, fields, shard.source, offset)


def json_objects(shard: Shard, encoding: str | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield the values of a file, each with the offset of its first byte; None in place of a value that is too long.

    A file that is one array, or has objects of several lines, belongs to its first shard. The others have no values.
    """
    if not is_one_value(shard.path, encoding):
        yield from json_lines(shard, encoding)
    elif shard.start == 0:
        yield from split_values(read_blocks(shard.path, 0, encoding))


def json_lines(shard: Shard, encoding: str | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines that are not blank, without their endings; None in place of a line that is too long."""
    for offset, line in shard_lines(shard, encoding):
        if line is None or not line.isspace():
            yield offset, line if line is None else strip_ending(line)


def document_of_object(value: bytes, fields: DocumentFields, source: str, offset: int) -> Document | Failure:
    """Makes a document from a value, or a failure if it is not a JSON object with a text."""
    try:
        record = parse_object(value)
    except BadRecordError as problem:
        return Failure(value, f"{source}:{offset}: {problem}", "parse", {"source": source})
    return document_of(record, fields, source, offset, value)


def columns(path: str, fields: DocumentFields, settings: ReadSettings) -> list[Column]:
    """Return the fields of the first 100 objects in the first 1000 values, with those of nested objects."""
    keys: dict[str, None] = {}
    # If a compressed stream ends early, the keys of the objects before its end are still returned.
    with suppress(UnreadableError):
        for record in islice(_objects(path, settings.encoding), _PEEKED_OBJECTS):
            keys.update(dict.fromkeys(paths_of(record)))
    return list(map(Column, keys))


def _objects(path: str, encoding: str | None) -> Iterator[dict[str, Any]]:
    for _, value in islice(json_objects(Shard(path), encoding), _PEEKED_VALUES):
        with suppress(BadRecordError):
            if value is not None:
                yield parse_object(value)


def describe(path: str, fields: DocumentFields, settings: ReadSettings) -> str:
    """Return the form of the file, unless it has an object per line."""
    return "an array, or objects of several lines" if is_one_value(path, settings.encoding) else ""


def result_line(result: DocumentEntities, include_text: bool) -> str:
    """Return a result as a line of JSON."""
    return json_line(result_row(result, include_text))


def failure_line(failure: Failure) -> str:
    """Return a failure as a line of JSON, with its time in ISO 8601 and its bytes in base64."""
    return json_line(failure_json_row(failure))


class JsonlResults(ResultFormat):
    """JSON Lines files of results."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes each result as a line."""
        lines = beam.Map(result_line, self.include_text).with_output_types(str)
        return WriteFiles("Lines" >> lines, WriteToText(prefix, self.suffix, num_shards=num_shards))

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file."""
        return compressed(b"".join(records), self.suffix)


@dataclass(frozen=True)
class FailureLines:
    """JSON Lines files of a stream's failures.

    Attributes:
        suffix: The files' ending, including the ending for their compression.
    """

    suffix: str

    def write(self, prefix: str) -> WriteFiles:
        """Return the transform that writes each of a batch's failures as a line."""
        lines = beam.Map(failure_line).with_output_types(str)
        return WriteFiles("Lines" >> lines, WriteToText(prefix, self.suffix))

    def record(self, failure: Failure) -> bytes:
        """Return one failure as a line of JSON."""
        return f"{failure_line(failure)}\n".encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file of these records, in their order."""
        return compressed(b"".join(records), self.suffix)
