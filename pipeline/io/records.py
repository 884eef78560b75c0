"""Records with named fields: their limits, and their conversion to documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.io.fields import BadRecordError, DocumentFields, column_of, id_of, text_of
from pipeline.io.kept_fields import kept_values
from transforms.documents import NO_FIELDS, Document, Failure

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
        name = id_of(record, fields.id) or place
        attributes["id"] = name
        text = text_of(record, fields)
        kept = kept_values(record, fields) if fields.keep else NO_FIELDS
    except BadRecordError as problem:
        return Failure(payload, f"{place}: {problem}", "parse", attributes)
    return Document(name, text, {"source": source}, None, payload, None, kept)


def content_of(record: Mapping[str, Any], fields: DocumentFields) -> tuple[str, str, Mapping[str, Any]]:
    """Return the record's id, its text, and its kept fields; the id is empty if the record has none.

    Raises:
        BadRecordError: If the text is missing or not a string, the id is a list or an object, or a kept field has
            another type. Also if any of them is not valid Unicode.
    """
    return id_of(record, fields.id), text_of(record, fields), kept_values(record, fields) if fields.keep else NO_FIELDS


def json_payload(record: Mapping[str, Any]) -> bytes:
    r"""Return a record of a binary format as JSON, for the dead letter; bytes that are not UTF-8 become `\udcXX`.

    >>> json_payload({"text": b"caf\xe9", "n": 1})
    b'{"text": "caf\\udce9", "n": 1}'
    """
    return json.dumps(record, ensure_ascii=False, default=_plain).encode("utf-8", "backslashreplace")


def _plain(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def require_fields(columns: Sequence[str], fields: DocumentFields) -> None:
    """Rejects a file whose columns do not define the text, or define a field more than once.

    A kept field that the file lacks is null.

    The message names no column of the file: in a CSV file without a header row, the names would be text.

    Raises:
        UnreadableError: If a text has no column, or a field has several.
    """
    for name in fields.names:
        count = columns.count(column_of(name, columns) or name)
        if count > 1 or (count == 0 and name in fields.texts):
            raise UnreadableError(f"{count} of the {len(columns)} columns are named {name!r}")


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
