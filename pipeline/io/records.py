"""Records with named fields, their limits, and the way from one to a document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.documents import Document, Failure

MAX_RECORD_BYTES = 256 * 1024 * 1024
"""Bytes of the longest line or record of CSV, and of the largest block of Avro; of more no more is held. A document of
as many characters as `--max_document_chars` has by default needs less than half of it, even escaped in JSON."""

MAX_RECORD_VALUES = 10_000_000
"""Values of a record of JSON or CSV, for a value of two bytes takes a hundred once it is parsed. Commas and the like
are counted in texts too; but of a text's characters they are few."""


class UnreadableError(Exception):
    """A file that cannot be read (further); the message quotes nothing of what the file holds."""


@dataclass(frozen=True)
class DocumentFields:
    """Names of the fields of a record that make a document.

    Attributes:
        text: The field that holds the text.
        id: The field that holds the id; records need not have it.
    """

    text: str = "text"
    id: str = "id"


class BadRecordError(ValueError):
    """A record that is no document; the message quotes none of its values."""


def document_of(
    record: Mapping[str, Any], fields: DocumentFields, source: str, position: int | str, payload: bytes
) -> Document | Failure:
    """Makes a document of a record, or a failure that says what the record lacks.

    Args:
        record: The record's fields.
        fields: Which of them to take.
        source: The file or table it comes from.
        position: Its place there: a byte's offset, or a row's number from 0; whatever names a row of a table.
        payload: The record as it was read.
    """
    place = f"{source}:{position}"
    attributes = {"source": source}
    try:
        name = _id(record, fields.id) or place
        attributes["id"] = name
        text = _text(record, fields.text)
    except BadRecordError as problem:
        return Failure(payload, f"{place}: {problem}", "parse", attributes)
    return Document(name, text, {"source": source}, payload=payload)


def id_and_text(record: Mapping[str, Any], fields: DocumentFields) -> tuple[str, str]:
    """The record's id, empty if it has none, and its text.

    Raises:
        BadRecordError: If one of them is not what it should be.
    """
    return _id(record, fields.id), _text(record, fields.text)


def _id(record: Mapping[str, Any], field: str) -> str:
    """The record's id as text; empty if it has none."""
    value = record.get(field)
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        raise BadRecordError(f"field {field!r} holds {type(value).__name__}, which is no id")
    return _unicode(value if isinstance(value, str | bytes) else str(value), field)


def _text(record: Mapping[str, Any], field: str) -> str:
    if field not in record:
        raise BadRecordError(f"the record has no field {field!r}")
    value = record[field]
    if value is None:
        raise BadRecordError(f"field {field!r} is null")
    if not isinstance(value, str | bytes):
        raise BadRecordError(f"field {field!r} holds {type(value).__name__}, not a string")
    return _unicode(value, field)


def _unicode(value: str | bytes, field: str) -> str:
    """The value as text that UTF-8 can write, which a string with lone surrogates is not."""
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        value.encode("utf-8")
    except UnicodeError:
        raise BadRecordError(f"field {field!r} is not valid Unicode") from None
    return value


def json_payload(record: Mapping[str, Any]) -> bytes:
    r"""A record of a binary format as JSON, for the dead letter; bytes that are not UTF-8 become `\udcXX`.

    >>> json_payload({"text": b"caf\xe9", "n": 1})
    b'{"text": "caf\\udce9", "n": 1}'
    """
    return json.dumps(record, ensure_ascii=False, default=_plain).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def require_fields(columns: Sequence[str], fields: DocumentFields) -> None:
    """Refuses a file whose columns do not say where the text is, or the id.

    The sentence names no column of the file: those of a CSV file without a header row are text.

    Raises:
        UnreadableError: If the text's name is not that of one column, or the id's that of several.
    """
    for field, least in ((fields.text, 1), (fields.id, 0)):
        if not least <= columns.count(field) <= 1:
            raise UnreadableError(f"{columns.count(field)} of the {len(columns)} columns are named {field!r}")


BOM = b"\xef\xbb\xbf"


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


# Made once: `json.dumps` makes one for each row.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def json_line(row: dict[str, Any]) -> str:
    """A row as one line of JSON, in the row's order and its own script.

    Raises:
        ValueError: If a number is not finite: JSON has no name for it.
    """
    return _encode(row)
