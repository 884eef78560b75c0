"""The columns of an Avro schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.io.fields import Column
from pipeline.schemas import FieldType

_TYPES: dict[str, FieldType] = {
    "string": "STRING",
    "enum": "STRING",
    "uuid": "STRING",
    "int": "INTEGER",
    "long": "INTEGER",
    "float": "FLOAT",
    "double": "FLOAT",
    "boolean": "BOOLEAN",
    "bytes": "BYTES",
    "fixed": "BYTES",
    "timestamp-millis": "TIMESTAMP",
    "timestamp-micros": "TIMESTAMP",
}
_DEEPEST = 8  # the levels of nested records whose fields are listed; a record may contain itself


def schema_columns(schema: Any, prefix: str = "", depth: int = _DEEPEST) -> Iterator[Column]:
    """Yield the fields of a record's schema, with those of nested records and of the records in lists.

    >>> schema = {"type": "record", "name": "r", "fields": [{"name": "text", "type": ["null", "string"]}]}
    >>> list(schema_columns(schema))
    [Column(name='text', type='STRING', described='string')]

    Args:
        schema: The schema of a record.
        prefix: The path of the record, with a dot at its end.
        depth: The levels of nested records to list.
    """
    for field in schema["fields"]:
        kind = _only_branch(field["type"])
        name = f"{prefix}{field['name']}"
        yield Column(name, *_described(kind))
        items = _only_branch(kind["items"]) if isinstance(kind, dict) and kind.get("type") == "array" else kind
        if depth and isinstance(items, dict) and items.get("type") == "record":
            yield from schema_columns(items, f"{name}.", depth - 1)


def _only_branch(kind: Any) -> Any:
    """Return the other type of a union with null, and any other type as it is."""
    others = [branch for branch in kind if branch != "null"] if isinstance(kind, list) else [kind]
    return others[0] if len(others) == 1 else kind


def _described(kind: Any) -> tuple[FieldType | None, str]:
    """Return a type in BigQuery's terms, and its name in Avro; a union has no type."""
    if isinstance(kind, list):
        return None, "union"
    name = (kind.get("logicalType") or kind["type"]) if isinstance(kind, dict) else kind
    if isinstance(name, dict | list):
        return _described(_only_branch(name))
    if name in ("record", "array", "map", "error"):
        return "RECORD", name
    plain = kind["type"] if isinstance(kind, dict) and name not in _TYPES else name
    if name != plain:  # a logical type that becomes an object in Python, such as date or decimal
        return "RECORD", name
    return _TYPES.get(plain), str(name)
