"""The fields of a record that make a document: names, and paths into nested records."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.schemas import ALL_FIELDS, FieldType, KeptField

PIECE_JOINT = "\n\n"
"""The blank line between the pieces of a text that several values make."""

_DEEPEST = 8  # the levels of nested records whose fields are listed


class BadRecordError(ValueError):
    """An error for a record that cannot become a document; the message quotes none of its values."""


@dataclass(frozen=True)
class Column:
    """A column, or a field in a nested record.

    Attributes:
        name: The name; for a nested field the path, with dots.
        type: The type in BigQuery's terms: ``RECORD`` for records and lists; None if the source has no types.
        described: The type in the source's own terms, for error messages.
    """

    name: str
    type: FieldType | None = None
    described: str = ""

    @property
    def is_text(self) -> bool:
        """True if its values may be texts."""
        return self.type in (None, "STRING", "BYTES")


@dataclass(frozen=True)
class DocumentFields:
    """The names of the record's fields that make a document.

    A name is that of a field, or a path into nested records: ``message.body``. A path continues in each item of a list.

    Attributes:
        text: The field with the text, or several separated by commas. Their texts are joined by a blank line.
        id: The field with the id; a record may lack it.
        keep: The fields that are passed on to the result.
    """

    text: str = "text"
    id: str = "id"
    keep: tuple[KeptField, ...] = ()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The names of the fields with text; a name with a comma is quoted, as in CSV.

        >>> DocumentFields('subject, message.body, "a, b"').texts
        ('subject', 'message.body', 'a, b')
        """
        return listed_names(self.text)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all fields that are read, each once; `ALL_FIELDS` is not among them."""
        kept = (field.name for field in self.keep if field.name != ALL_FIELDS)
        return tuple(dict.fromkeys((self.id, *self.texts, *kept)))


def values_at(record: Any, name: str) -> Iterator[Any]:
    """Yield the values at a path: none if a field is missing, and several if the path continues in a list.

    A field whose own name contains dots comes before a path. A text in a list is yielded although the path goes on: in
    chats, a message is either a text, or a list of texts and of objects with texts.

    >>> list(values_at({"to": ["Ann", {"name": "Ben"}], "a.b": 1}, "to.name"))
    ['Ann', 'Ben']
    """
    yield from _values_at(record, name, in_list=False)


def value_at(record: Any, name: str) -> Any:
    """Return the value at a path; None if a field is missing, and a list of values if there are several."""
    values = list(values_at(record, name))
    return values if len(values) > 1 else next(iter(values), None)


def _values_at(record: Any, name: str, *, in_list: bool) -> Iterator[Any]:
    if isinstance(record, Mapping):
        if name in record:
            yield record[name]
            return
        first, dot, rest = name.partition(".")
        if dot and first in record:
            yield from _values_at(record[first], rest, in_list=in_list)
    elif isinstance(record, list | tuple):
        for item in record:
            yield from _values_at(item, name, in_list=True)
    elif in_list and isinstance(record, str):
        yield record


def paths_of(record: Any, prefix: str = "", depth: int = _DEEPEST) -> Iterator[str]:
    """Yield the paths of all fields of a record, with those of nested records and of the records in lists.

    >>> list(paths_of({"id": 1, "to": [{"name": "Ann"}]}))
    ['id', 'to', 'to.name']
    """
    if isinstance(record, Mapping):
        for name, value in record.items():
            yield f"{prefix}{name}"
            if depth:
                yield from paths_of(value, f"{prefix}{name}.", depth - 1)
    elif isinstance(record, list | tuple):
        for item in record:
            yield from paths_of(item, prefix, depth)


def listed_names(given: str) -> tuple[str, ...]:
    """Return the names in a flag, which are separated by commas, and quoted as in CSV if they contain one."""
    return tuple(name.strip() for name in next(csv.reader([given], skipinitialspace=True), []))


def column_of(name: str, columns: Sequence[str]) -> str | None:
    """Return the column in which a path begins; None if there is no such column.

    >>> column_of("message.body", ["id", "message"]), column_of("text", ["id"])
    ('message', None)
    """
    while name not in columns:
        name, dot, _ = name.rpartition(".")
        if not dot:
            return None
    return name


def text_of(record: Mapping[str, Any], fields: DocumentFields) -> str:
    """Return the text of a record. Several pieces are joined by a blank line; empty ones are left out.

    Raises:
        BadRecordError: If a piece is not a string or not valid Unicode, or if the record has no piece at all.
    """
    if fields.text in record:  # also a name with a comma
        return _text(record[fields.text], fields.text)
    values = [(name, value) for name in fields.texts for value in values_at(record, name)]
    pieces = [_text(value, name) for name, value in values if value is not None]
    if not pieces:
        names = " or ".join(map(repr, fields.texts))
        is_null = bool(values) or any(column_of(name, list(record)) for name in fields.texts)
        raise BadRecordError(f"field {names} contains no text" if is_null else f"the record has no field {names}")
    return PIECE_JOINT.join(filter(None, pieces))


def _text(value: Any, name: str) -> str:
    if value is None:
        raise BadRecordError(f"field {name!r} is null")
    if not isinstance(value, str | bytes):
        raise BadRecordError(f"field {name!r} contains {type(value).__name__}, not a string")
    return unicode_of(value, name)


def id_of(record: Mapping[str, Any], name: str) -> str:
    """Return the record's id as text, or an empty string if it has none.

    Raises:
        BadRecordError: If the id is a list or an object, or is not valid Unicode.
    """
    value = record.get(name)
    if value is None and "." in name:
        value = value_at(record, name)
    if value is None:
        return ""
    if isinstance(value, UnshowableValue):
        raise BadRecordError(f"field {name!r} contains a value that Python cannot show")
    if isinstance(value, Mapping | list | tuple):
        raise BadRecordError(f"field {name!r} contains {type(value).__name__}, which is not an id")
    return unicode_of(value if isinstance(value, str | bytes) else str(value), name)


class UnshowableValue:
    """A value that has no form in Python, such as a time with nanoseconds."""

    def __str__(self) -> str:
        return "a value that Python cannot show"


def unicode_of(value: str | bytes, name: str) -> str:
    """Return a value as text.

    Raises:
        BadRecordError: If bytes are not UTF-8, or a string contains half a surrogate pair.
    """
    try:
        if isinstance(value, bytes):
            return value.decode("utf-8")
        value.encode("utf-8")
    except UnicodeError:
        raise BadRecordError(f"field {name!r} is not valid Unicode") from None
    return value
