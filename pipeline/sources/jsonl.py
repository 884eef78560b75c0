"""JSON Lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from pipeline.sources.files import Shard
from pipeline.sources.limits import MAX_RECORD_VALUES, UnreadableError
from pipeline.sources.lines import shard_lines, strip_ending, too_long
from pipeline.sources.records import BadRecordError, DocumentFields, document_of
from transforms.documents import Document, Failure

_PEEKED_OBJECTS = 100
_PEEKED_LINES = 1000


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every line that is not blank as a JSON object."""
    for offset, line in json_lines(shard):
        if line is None:
            yield too_long(shard.source, offset)
        else:
            yield document_of_line(line, fields, shard.source, offset)


def json_lines(shard: Shard) -> Iterator[tuple[int, bytes | None]]:
    """The lines that are not blank, without their endings; None in place of one that is too long."""
    for offset, line in shard_lines(shard):
        if line is None or not line.isspace():
            yield offset, line if line is None else strip_ending(line)


def document_of_line(line: bytes, fields: DocumentFields, source: str, offset: int) -> Document | Failure:
    """Makes a document of a line, or a failure if the line is no JSON object with a text."""
    try:
        record = parse_object(line)
    except BadRecordError as problem:
        return Failure(line, f"{source}:{offset}: {problem}", "parse", {"source": source})
    return document_of(record, fields, source, offset, line)


def parse_object(line: bytes, what: str = "line") -> dict[str, Any]:
    """Parses one line, or other thing whose name is given for the sentence of a refusal.

    Raises:
        BadRecordError: If it is not UTF-8, not JSON, or not an object.
    """
    if len(line) > MAX_RECORD_VALUES and sum(map(line.count, (b",", b":", b"[", b"{"))) > MAX_RECORD_VALUES:
        raise BadRecordError(f"the {what}'s JSON may have more than {MAX_RECORD_VALUES} values")
    try:
        # `json` would take bytes too, but guess UTF-16 and UTF-32.
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRecordError(f"byte {error.start} of the {what} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadRecordError(f"the {what} is not JSON from character {error.pos} on") from None
    except RecursionError:
        raise BadRecordError(f"the {what}'s JSON is nested too deeply") from None
    except ValueError:
        # The one other refusal: Python's limit to the digits of an integer.
        raise BadRecordError(f"the {what}'s JSON holds an integer with too many digits") from None
    if not isinstance(value, dict):
        raise BadRecordError(f"the {what}'s JSON is {type(value).__name__}, not an object")
    return value


def columns(path: str) -> list[str]:
    """The keys of the first 100 lines that are objects, in the order of their appearance."""
    keys: dict[str, None] = {}
    # What stands before a compressed stream's early end shows its keys all the same.
    with suppress(UnreadableError):
        for record in islice(_objects(path), _PEEKED_OBJECTS):
            keys.update(dict.fromkeys(record))
    return list(keys)


def _objects(path: str) -> Iterator[dict[str, Any]]:
    for _, line in islice(json_lines(Shard(path)), _PEEKED_LINES):
        with suppress(BadRecordError):
            if line is not None:
                yield parse_object(line)
