"""Records with named fields: their limits, and their conversion to documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms.documents import Document, Failure

MAX_RECORD_BYTES = 256 * 1024 * 1024
"""The largest size of a line, of a CSV record and of an Avro block. Nothing larger is held in memory.

A document with the default number of `--max_document_chars` needs less than half of it, even with JSON's escapes.
"""

MAX_RECORD_VALUES = 10_000_000
"""The most values of a JSON or CSV record: a value of two bytes takes a hundred bytes once it is parsed.

The check counts commas and similar characters, including those within texts. Texts contain few of them.
"""


class UnreadableError(Exception):
    """An error for a file that cannot be read, or not to its end; the message quotes nothing of the content."""


@dataclass(frozen=True)
class DocumentFields:
    """The names of the record's fields that make a document, and the encoding of files.

    Attributes:
        text: The field with the text.
        id: The field with the id; a record may lack it.
        encoding: The encoding of files of text, JSON Lines and CSV; None to read it from each file's first bytes.
    """

    text: str = "text"
    id: str = "id"
    encoding: str | None = None


class BadRecordError(ValueError):
    """An error for a record that cannot become a document; the message quotes none of its values."""


def document_of(
    record: Mapping[str, Any], fields: DocumentFields, source: str, position: int | str, payload: bytes
) -> Document | Failure:
    """Makes a document from a record, or a failure that describes what the record lacks.

    A record without an id is named `source:position`.

    Args:
        record: The record's fields.
        fields: The names of the fields to use.
        source: The file or table that contains the record.
        position: The position in the source: a byte's offset, a row's number from 0, or the name of a table's row.
        payload: The record's bytes for a failure: the original ones, or JSON for a binary format.
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
    """Return the record's id and its text; the id is empty if the record has none.

    Raises:
        BadRecordError: If the text is missing or not a string, if the id is a list or an object, or if either is not
            valid Unicode.
    """
    return _id(record, fields.id), _text(record, fields.text)


def _id(record: Mapping[str, Any], field: str) -> str:
    """Return the record's id as text, or an empty string if it has none."""
    value = record.get(field)
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        raise BadRecordError(f"field {field!r} contains {type(value).__name__}, which is not an id")
    return _unicode(value if isinstance(value, str | bytes) else str(value), field)


def _text(record: Mapping[str, Any], field: str) -> str:
    if field not in record:
        raise BadRecordError(f"the record has no field {field!r}")
    value = record[field]
    if value is None:
        raise BadRecordError(f"field {field!r} is null")
    if not isinstance(value, str | bytes):
        raise BadRecordError(f"field {field!r} contains {type(value).__name__}, not a string")
    return _unicode(value, field)


def _unicode(value: str | bytes, field: str) -> str:
    """Return the value as text. Rejects bytes that are not UTF-8, and strings with lone surrogates."""
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        value.encode("utf-8")
    except UnicodeError:
        raise BadRecordError(f"field {field!r} is not valid Unicode") from None
    return value


def json_payload(record: Mapping[str, Any]) -> bytes:
    r"""Return a record of a binary format as JSON, for the dead letter; bytes that are not UTF-8 become `\udcXX`.

    >>> json_payload({"text": b"caf\xe9", "n": 1})
    b'{"text": "caf\\udce9", "n": 1}'
    """
    return json.dumps(record, ensure_ascii=False, default=_plain).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def require_fields(columns: Sequence[str], fields: DocumentFields) -> None:
    """Rejects a file whose columns do not define the text, or define the id more than once.

    The message names no column of the file: in a CSV file without a header row, the names would be text.

    Raises:
        UnreadableError: If not exactly one column has the text's name, or if several columns have the id's name.
    """
    for field, least in ((fields.text, 1), (fields.id, 0)):
        if not least <= columns.count(field) <= 1:
            raise UnreadableError(f"{columns.count(field)} of the {len(columns)} columns are named {field!r}")


BOM = b"\xef\xbb\xbf"


def parse_object(line: bytes, what: str = "line") -> dict[str, Any]:
    """Parses one JSON object.

    Args:
        line: The object's bytes.
        what: The name of the input in error messages.

    Raises:
        BadRecordError: If the bytes are not UTF-8, are not a JSON object, or exceed a limit for values, nesting or
            digits.
    """
    if len(line) > MAX_RECORD_VALUES and sum(map(line.count, (b",", b":", b"[", b"{"))) > MAX_RECORD_VALUES:
        raise BadRecordError(f"the {what}'s JSON may have more than {MAX_RECORD_VALUES} values")
    try:
        # `json` also accepts bytes, but would then guess UTF-16 and UTF-32 too.
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadRecordError(f"byte {error.start} of the {what} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadRecordError(f"the {what} is not JSON from character {error.pos} on") from None
    except RecursionError:
        raise BadRecordError(f"the {what}'s JSON is nested too deeply") from None
    except ValueError:
        # The only other error is Python's limit on the digits of an integer.
        raise BadRecordError(f"the {what}'s JSON contains an integer with too many digits") from None
    if not isinstance(value, dict):
        raise BadRecordError(f"the {what}'s JSON is {type(value).__name__}, not an object")
    return value


# The encoder is made once; `json.dumps` would make one for each row.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def json_line(row: dict[str, Any]) -> str:
    """Return a row as one line of JSON, with the row's order of keys and without ASCII escapes.

    Raises:
        ValueError: If a number is not finite, since JSON cannot represent it.
    """
    return _encode(row)
