"""The columns of results and failures, defined once; the schema of every format is made from them."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

import pyarrow as pa

from transforms.documents import DocumentEntities, Entity, Failure

FieldType = Literal["STRING", "INTEGER", "FLOAT", "BOOLEAN", "BYTES", "TIMESTAMP", "RECORD"]
FieldMode = Literal["REQUIRED", "NULLABLE", "REPEATED"]


@dataclass(frozen=True)
class Field:
    """A column, described with BigQuery's types and modes.

    Attributes:
        name: The column's name.
        type: The column's type; `RECORD` has `fields`.
        mode: `REQUIRED`, `NULLABLE` (the value may be missing) or `REPEATED` (the value is a list).
        description: The column's description in the table's schema.
        fields: The columns of a `RECORD`.
    """

    name: str
    type: FieldType
    mode: FieldMode
    description: str
    fields: tuple[Field, ...] = ()


def _attributes_field(description: str) -> Field:
    key = Field("key", "STRING", "NULLABLE", "The attribute's name")
    value = Field("value", "STRING", "NULLABLE", "The attribute's value")
    return Field("attributes", "RECORD", "REPEATED", description, (key, value))


ALL_FIELDS = "*"
"""The name that stands for all fields of a record but the text and the id."""


@dataclass(frozen=True)
class KeptField:
    """A field of a record that is passed on to the result.

    Attributes:
        name: The field's path, with dots in nested records, or `ALL_FIELDS`.
        type: The type of its values in the result; None for JSON values of any type.
        column: The name of its column in the result.
    """

    name: str
    type: FieldType | None = None
    column: str = ""


FAILURE_FIELDS: tuple[Field, ...] = (
    Field("timestamp", "TIMESTAMP", "REQUIRED", "When it happened"),
    Field("payloadString", "STRING", "REQUIRED", "The record as text; what is not UTF-8 is replaced"),
    Field("payloadBytes", "BYTES", "REQUIRED", "The record's original bytes; empty where a whole file failed"),
    _attributes_field("The record's attributes, and where it came from"),
    Field("errorMessage", "STRING", "NULLABLE", "One sentence saying what is wrong"),
    Field("stacktrace", "STRING", "NULLABLE", "Where in the code it happened; empty if there was no exception"),
    Field("stage", "STRING", "NULLABLE", "The step that gave up: read, parse, classify, group or write"),
)
"""The columns of Google's Pub/Sub-to-BigQuery templates, plus `stage`."""


GRANULARITIES = ("document", "entity")
"""The kinds of row in a BigQuery table of results: one row per document, or one per entity."""

_MODEL_FIELDS = (
    Field("model", "STRING", "REQUIRED", "The checkpoint, as it was named"),
    Field("model_revision", "STRING", "REQUIRED", "The checkpoint's commit or content hash"),
)


def label_field(strategy: str) -> str:
    """Return the name of the label's column, as in Hugging Face: `entity` for tokens, `entity_group` for groups.

    >>> label_field("none"), label_field("first")
    ('entity', 'entity_group')
    """
    return "entity" if strategy == "none" else "entity_group"


def entity_fields(strategy: str) -> tuple[Field, ...]:
    """Return the columns of one entity under an aggregation strategy."""
    fields = (
        Field(label_field(strategy), "STRING", "REQUIRED", "The label"),
        Field("score", "FLOAT", "REQUIRED", "Probability of the label, between 0 and 1"),
        Field("word", "STRING", "REQUIRED", "The tokenizer's rendering of the tokens"),
        Field("text", "STRING", "NULLABLE", "Exactly the document's text from start to end"),
        Field("start", "INTEGER", "NULLABLE", "First code point in the document's text"),
        Field("end", "INTEGER", "NULLABLE", "Code point after the last"),
    )
    if strategy != "none":
        return fields
    return (*fields, Field("index", "INTEGER", "NULLABLE", "Position of the token among the model's inputs"))


def _kept_columns(kept: Sequence[KeptField]) -> tuple[Field, ...]:
    """Return the column with the fields of the record that are passed on; nothing if there are none."""
    fields = tuple(Field(each.column, each.type or "STRING", "NULLABLE", "A field of the record") for each in kept)
    return (Field("fields", "RECORD", "NULLABLE", "Fields of the record", fields),) if fields else ()


def result_fields(strategy: str, include_text: bool, kept: Sequence[KeptField] = ()) -> tuple[Field, ...]:
    """Return the columns of a result.

    Args:
        strategy: The aggregation strategy's name. With `none`, each entity is a token with the columns `entity` and
            `index`.
        include_text: Whether to include the document's text as a column.
        kept: The fields of the record to include.
    """
    text = Field("text", "STRING", "REQUIRED", "The document's text")
    return (
        Field("id", "STRING", "REQUIRED", "The document's id"),
        *((text,) if include_text else ()),
        Field("entities", "RECORD", "REPEATED", "The entities, in order of their place", entity_fields(strategy)),
        Field("num_tokens", "INTEGER", "REQUIRED", "Tokens of the whole text, without special tokens"),
        Field("num_windows", "INTEGER", "REQUIRED", "Windows that the model read"),
        Field("truncated", "BOOLEAN", "REQUIRED", "Whether the end of the text was not read"),
        *_MODEL_FIELDS,
        Field("aggregation_strategy", "STRING", "REQUIRED", "How tokens were made into entities"),
        *_kept_columns(kept),
    )


def table_fields(
    strategy: str, include_text: bool, granularity: str, kept: Sequence[KeptField] = ()
) -> tuple[Field, ...]:
    """Return the columns of a BigQuery table of results.

    Several runs may write to one table, so each row contains the time when it was made. The query for the latest row of
    an id needs this time. BigQuery's own ingestion time cannot replace it: rows in the streaming buffer have none yet,
    and `SELECT *` and copies of a table omit it.

    Args:
        strategy: The aggregation strategy's name.
        include_text: Whether to include the document's text as a column; not used for rows of entities.
        granularity: The kind of row, one of `GRANULARITIES`.
        kept: The fields of the record to include.
    """
    if granularity == "entity":
        number = Field("entity_number", "INTEGER", "REQUIRED", "Position among the document's entities, from 0")
        document = Field("id", "STRING", "REQUIRED", "The document's id")
        columns: tuple[Field, ...] = (
            document,
            number,
            *entity_fields(strategy),
            *_MODEL_FIELDS,
            *_kept_columns(kept),
        )
    else:
        columns = result_fields(strategy, include_text, kept)
    return (
        *columns,
        _attributes_field("The document's attributes, and where it came from"),
        Field("event_time", "TIMESTAMP", "NULLABLE", "When the document was made, if its source says so"),
        Field("processed_at", "TIMESTAMP", "REQUIRED", "When the row was made"),
    )


def streamed_fields(strategy: str, include_text: bool, kept: Sequence[KeptField] = ()) -> tuple[Field, ...]:
    """Return the columns of a file of a stream's results: those of a result, and the message's attributes.

    Args:
        strategy: As for `result_fields`.
        include_text: As for `result_fields`.
        kept: As for `result_fields`.
    """
    return (*result_fields(strategy, include_text, kept), _attributes_field("The message's attributes"))


def csv_columns(strategy: str, kept: Sequence[KeptField] = ()) -> tuple[str, ...]:
    """Return the columns of a CSV file, which contains one row per entity; the kept fields are the last.

    >>> csv_columns("first")
    ('id', 'entity_group', 'score', 'word', 'text', 'start', 'end', 'model', 'model_revision')
    """
    return (
        "id",
        *(field.name for field in entity_fields(strategy)),
        "model",
        "model_revision",
        *(field.column for field in kept),
    )


def _integer(value: int | None) -> int | None:
    return None if value is None else int(value)


def entity_row(entity: Entity, strategy: str) -> dict[str, Any]:
    """Return one entity as a row with the keys of `entity_fields`.

    Numbers of numpy become Python's, because the `json` module rejects numpy's.
    """
    row = {
        label_field(strategy): entity.label,
        "score": float(entity.score),
        "word": entity.word,
        "text": entity.text,
        "start": _integer(entity.start),
        "end": _integer(entity.end),
    }
    if strategy == "none":
        row["index"] = _integer(entity.index)
    return row


def result_row(result: DocumentEntities, include_text: bool) -> dict[str, Any]:
    """Return one result as a row with the keys of `result_fields`, in their order."""
    strategy = result.aggregation_strategy
    return {
        "id": result.id,
        **({"text": result.text} if include_text else {}),
        "entities": [entity_row(entity, strategy) for entity in result.entities],
        "num_tokens": int(result.num_tokens),
        "num_windows": int(result.num_windows),
        "truncated": bool(result.truncated),
        "model": result.model,
        "model_revision": result.model_revision,
        "aggregation_strategy": strategy,
        **_kept(result),
    }


def _kept(result: DocumentEntities) -> dict[str, Any]:
    """Return the column with the record's fields; nothing if none are passed on."""
    return {"fields": dict(result.document.fields)} if result.document.fields else {}


def streamed_row(result: DocumentEntities, include_text: bool) -> dict[str, Any]:
    """Return one result as a row with the keys of `streamed_fields`, in their order."""
    return {**result_row(result, include_text), "attributes": _attribute_rows(result.attributes)}


def typed_row(result: DocumentEntities, include_text: bool, kept: Sequence[KeptField]) -> dict[str, Any]:
    """Return one result as a row of a format with types, which has objects for times and bytes."""
    return with_types(result_row(result, include_text), kept)


_OBJECTS: dict[str, Callable[[Any], Any]] = {
    "TIMESTAMP": datetime.fromisoformat,
    "BYTES": base64.b64decode,
    "FLOAT": float,  # of "nan", which JSON lacks
}


def with_types(row: dict[str, Any], kept: Sequence[KeptField]) -> dict[str, Any]:
    """Return a row whose kept fields are objects of their types instead of JSON values."""
    if values := row.get("fields"):
        for field in kept:
            if field.type in _OBJECTS and values.get(field.column) is not None:
                values[field.column] = _OBJECTS[field.type](values[field.column])
    return row


def entity_rows(result: DocumentEntities) -> Iterator[dict[str, Any]]:
    """Yield one flat row per entity with the keys of `csv_columns`; nothing for a document without entities."""
    for entity in result.entities:
        yield {
            "id": result.id,
            **entity_row(entity, result.aggregation_strategy),
            "model": result.model,
            "model_revision": result.model_revision,
        }


def table_rows(
    result: DocumentEntities, include_text: bool, granularity: str, processed_at: float
) -> list[dict[str, Any]]:
    """Return one result as rows with the keys of `table_fields`, in the JSON form that BigQuery accepts.

    Args:
        result: The result.
        include_text: As for `table_fields`.
        granularity: As for `table_fields`. With `entity`, a document without entities has no row.
        processed_at: The time when the rows are made, in seconds since the epoch.
    """
    common = {
        "attributes": _attribute_rows(result.attributes),
        "event_time": None if result.timestamp is None else _iso(result.timestamp),
        "processed_at": _iso(processed_at),
    }
    if granularity == "entity":
        common = {**_kept(result), **common}
        rows = (_numbered(number, row) for number, row in enumerate(entity_rows(result)))
        return [{**_finite(row), **common} for row in rows]
    row = result_row(result, include_text)
    return [{**row, "entities": list(map(_finite, row["entities"])), **common}]


def _numbered(number: int, row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "entity_number": number, **row}


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return the entity's row, with a score that is not finite replaced by a string.

    JSON has no number for such a score. BigQuery accepts the strings `NaN`, `Infinity` and `-Infinity`.
    """
    score = row["score"]
    if not math.isfinite(score):
        row["score"] = "NaN" if math.isnan(score) else f"{'-' if score < 0 else ''}Infinity"
    return row


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="microseconds")


def _attribute_rows(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": _encodable(key), "value": _encodable(value)} for key, value in attributes.items()]


def _encodable(text: str) -> str:
    r"""Return the text with each lone surrogate replaced by `?`, because UTF-8 cannot encode surrogates.

    >>> _encodable("a\ud800")
    'a?'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def failure_row(failure: Failure) -> dict[str, Any]:
    """Return one failure as a row with the keys of `FAILURE_FIELDS`.

    The time is an aware datetime, and the payload is bytes.
    """
    return {
        "timestamp": datetime.fromtimestamp(failure.timestamp, timezone.utc),
        "payloadString": failure.payload.decode("utf-8", "replace"),
        "payloadBytes": failure.payload,
        "attributes": _attribute_rows(failure.attributes),
        "errorMessage": _encodable(failure.error),
        "stacktrace": _encodable(failure.stacktrace),
        "stage": failure.stage,
    }


def failure_json_row(failure: Failure) -> dict[str, Any]:
    """Return the failure's row for JSON files and for BigQuery's JSON rows.

    The time is in ISO 8601, and the payload's bytes are in base64.
    """
    row = failure_row(failure)
    row["timestamp"] = _iso(failure.timestamp)
    row["payloadBytes"] = base64.b64encode(failure.payload).decode("ascii")
    return row


_AVRO_TYPES: dict[str, Any] = {
    "STRING": "string",
    "INTEGER": "long",
    "FLOAT": "double",
    "BOOLEAN": "boolean",
    "BYTES": "bytes",
    "TIMESTAMP": {"type": "long", "logicalType": "timestamp-micros"},
}

_ARROW_TYPES: dict[str, pa.DataType] = {
    "STRING": pa.string(),
    "INTEGER": pa.int64(),
    "FLOAT": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BYTES": pa.binary(),
    "TIMESTAMP": pa.timestamp("us", tz="UTC"),
}


def _avro_field(field: Field, record: str) -> dict[str, Any]:
    # Avro requires unique names of records, so a nested record's name begins with the outer record's name.
    kind = avro_schema(f"{record}_{field.name}", field.fields) if field.type == "RECORD" else _AVRO_TYPES[field.type]
    column: dict[str, Any] = {"name": field.name, "type": kind, "doc": field.description}
    if field.mode == "REPEATED":
        column["type"] = {"type": "array", "items": kind}
    elif field.mode == "NULLABLE":
        column |= {"type": ["null", kind], "default": None}
    return column


def avro_schema(name: str, fields: Sequence[Field]) -> dict[str, Any]:
    """Return the fields as the schema of an Avro record, in the form that fastavro accepts.

    Args:
        name: The record's name; the names of nested records begin with it.
        fields: The columns.
    """
    return {"type": "record", "name": name, "fields": [_avro_field(field, name) for field in fields]}


def _arrow_field(field: Field) -> pa.Field:
    kind = pa.struct(list(map(_arrow_field, field.fields))) if field.type == "RECORD" else _ARROW_TYPES[field.type]
    if field.mode == "REPEATED":
        kind = pa.list_(pa.field("element", kind, nullable=False))
    return pa.field(field.name, kind, nullable=field.mode == "NULLABLE")


def arrow_schema(fields: Sequence[Field]) -> pa.Schema:
    """Return the fields as an Arrow schema, which Parquet files use too."""
    return pa.schema(list(map(_arrow_field, fields)))


def _bigquery_field(field: Field) -> dict[str, Any]:
    column: dict[str, Any] = {
        "name": field.name,
        "type": field.type,
        "mode": field.mode,
        "description": field.description,
    }
    if field.fields:
        column["fields"] = list(map(_bigquery_field, field.fields))
    return column


def bigquery_schema(fields: Sequence[Field]) -> dict[str, Any]:
    """Return the fields as a BigQuery table schema, in the form that Beam's `WriteToBigQuery` accepts."""
    return {"fields": list(map(_bigquery_field, fields))}
