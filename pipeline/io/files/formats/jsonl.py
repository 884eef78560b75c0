"""JSON Lines files: reading documents, and writing results and failures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.io.files.lines import shard_lines, strip_ending, too_long
from pipeline.io.files.matching import Shard
from pipeline.io.files.result_format import ResultFormat, WriteFiles, compressed
from pipeline.io.records import BadRecordError, DocumentFields, UnreadableError, document_of, json_line, parse_object
from pipeline.schemas import failure_json_row, result_row
from transforms.documents import Document, DocumentEntities, Failure

_PEEKED_OBJECTS = 100

_PEEKED_LINES = 1000


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every line that is not blank as a JSON object."""
    for offset, line in json_lines(shard, fields.encoding):
        if line is None:
            yield too_long(shard.source, offset)
        else:
            yield document_of_line(line, fields, shard.source, offset)


def json_lines(shard: Shard, encoding: str | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines that are not blank, without their endings; None in place of a line that is too long."""
    for offset, line in shard_lines(shard, encoding):
        if line is None or not line.isspace():
            yield offset, line if line is None else strip_ending(line)


def document_of_line(line: bytes, fields: DocumentFields, source: str, offset: int) -> Document | Failure:
    """Makes a document from a line, or a failure if the line is not a JSON object with a text."""
    try:
        record = parse_object(line)
    except BadRecordError as problem:
        return Failure(line, f"{source}:{offset}: {problem}", "parse", {"source": source})
    return document_of(record, fields, source, offset, line)


def columns(path: str, encoding: str | None = None) -> list[str]:
    """Return the keys of the first 100 objects in the first 1000 lines, in the order of their appearance."""
    keys: dict[str, None] = {}
    # If a compressed stream ends early, the keys of the objects before its end are still returned.
    with suppress(UnreadableError):
        for record in islice(_objects(path, encoding), _PEEKED_OBJECTS):
            keys.update(dict.fromkeys(record))
    return list(keys)


def _objects(path: str, encoding: str | None) -> Iterator[dict[str, Any]]:
    for _, line in islice(json_lines(Shard(path), encoding), _PEEKED_LINES):
        with suppress(BadRecordError):
            if line is not None:
                yield parse_object(line)


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
