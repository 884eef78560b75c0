"""The fields of a record that are passed on to its result, with their types."""

from __future__ import annotations

import base64
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

from pipeline.io.fields import (
    BadRecordError,
    Column,
    DocumentFields,
    UnshowableValue,
    column_of,
    listed_names,
    unicode_of,
    value_at,
)
from pipeline.schemas import ALL_FIELDS, FieldType, KeptField
from transforms.errors import ArgumentError

Naming = Literal["json", "csv", "parquet", "avro", "bigquery"]
"""The kinds of results, by which the columns of kept fields are named and typed."""

_logger = logging.getLogger(__name__)

_INT64 = range(-(2**63), 2**63)


def kept_values(record: Mapping[str, Any], fields: DocumentFields) -> dict[str, Any]:
    """Return the values of the fields to keep, as JSON values: times in ISO 8601, bytes in base64.

    Raises:
        BadRecordError: If a value is not of the field's type.
    """
    kept: dict[str, Any] = {}
    for field in fields.keep:
        if field.name == ALL_FIELDS:
            left_out = {column_of(name, list(record)) for name in (fields.id, *fields.texts)}
            # The error names no field: a name in JSON may be text.
            kept |= {name: _json_value(value, field.name) for name, value in record.items() if name not in left_out}
        else:
            kept[field.column or field.name] = _typed(value_at(record, field.name), field)
    return kept


def _typed(value: Any, field: KeptField) -> Any:
    if value is None or field.type is None or isinstance(value, UnshowableValue):
        return _json_value(value, field.name)
    if field.type == "STRING":
        plain = unicode_of(value, field.name) if isinstance(value, bytes) else _json_value(value, field.name)
        return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = {
        "INTEGER": isinstance(value, int) and is_number and value in _INT64,
        "FLOAT": is_number,
        "BOOLEAN": isinstance(value, bool),
        "BYTES": isinstance(value, bytes | str),
        "TIMESTAMP": isinstance(value, datetime),
    }
    if not fits[field.type]:
        problem = f"contains {type(value).__name__}, which is not {field.type}, its type in the first file"
        raise BadRecordError(f"field {field.name!r} {problem}")
    if field.type == "BYTES":
        return base64.b64encode(value if isinstance(value, bytes) else value.encode()).decode("ascii")
    return _json_value(float(value) if field.type == "FLOAT" else value, field.name)


def _json_value(value: Any, name: str) -> Any:
    """Return a value as JSON can contain it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return unicode_of(value, name)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {unicode_of(str(key), name): _json_value(each, name) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(each, name) for each in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UnshowableValue):
        raise BadRecordError(f"field {name!r} contains a value that Python cannot show")
    return str(value)


def kept_fields(
    given: str, columns: Sequence[Column], fields: DocumentFields, *, complete: bool, naming: Naming
) -> tuple[KeptField, ...]:
    """Return the fields to keep that a flag names, with their types.

    Args:
        given: The names, separated by commas, or `ALL_FIELDS`.
        columns: The columns of the source, as far as they are known.
        fields: The fields of the text and the id.
        complete: Whether no record has other fields than these columns.
        naming: The rule for the columns of the results. Only JSON has values without a type; others become strings.

    Raises:
        ArgumentError: If a name is not that of a column, or occurs twice, or if the columns for `ALL_FIELDS` are
            unknown.
    """
    typed = naming != "json"
    types = {column.name: column.type for column in columns}
    names = [name for name in listed_names(given) if name]
    if names == [ALL_FIELDS]:
        if not complete and typed:
            problem = "the fields of JSON are not known before the start; expected their names for results with columns"
            raise ArgumentError(f"keep_fields={given!r}: {problem}")
        if not complete:
            return (KeptField(ALL_FIELDS),)
        top = [name for name in types if not column_of(name.rpartition(".")[0], list(types))]
        used = {column_of(name, top) for name in (fields.id, *fields.texts)}
        names = [column.name for column in columns if column.name in top and column.name not in {*used, ""}]
    for name in names:
        if types and name not in types and not complete:
            _logger.warning("--keep_fields=%r: in none of the first records of the input", name)
        elif types and name not in types:
            raise ArgumentError(f"keep_fields={name!r}: not a field of the input; expected names of its fields, or *")
        if names.count(name) > 1:
            raise ArgumentError(f"keep_fields={given!r}: {name!r} is there {names.count(name)} times; expected once")
    kept = tuple(KeptField(name, _kept_type(types.get(name), typed), _column(name, naming)) for name in names)
    _check_columns(kept)
    return kept


def _check_columns(kept: Sequence[KeptField]) -> None:
    """Rejects fields of one column; BigQuery ignores case in names."""
    first: dict[str, str] = {}
    for field in kept:
        earlier = first.setdefault(field.column.lower(), field.name)
        if earlier != field.name:
            problem = f"the same column {field.column} as {earlier!r}; expected one of them"
            raise ArgumentError(f"keep_fields={field.name!r}: {problem}")


def _column(name: str, naming: Naming) -> str:
    """Return the name of a field's column: in BigQuery of letters, digits and underscores, in Avro of ASCII alone.

    >>> _column("message.sent-at", "bigquery"), _column("7", "avro"), _column("a.b", "csv")
    ('message_sent_at', '_7', 'a.b')
    """
    if naming not in ("bigquery", "avro"):
        return name
    flags = re.ASCII if naming == "avro" else re.UNICODE
    return re.sub(r"^(?=\d)|[^\w]", "_", name, flags=flags)


def _kept_type(kind: FieldType | None, typed: bool) -> FieldType | None:
    if not typed:
        return "BYTES" if kind == "BYTES" else None
    return "STRING" if kind in ("RECORD", None) else kind
