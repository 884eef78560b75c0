"""The rows and the schemas made of one definition of them."""

from __future__ import annotations

import base64
import doctest
import io
import json
from datetime import datetime, timezone

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from pipeline import schemas
from pipeline.schemas import (
    FAILURE_FIELDS,
    Field,
    arrow_schema,
    avro_schema,
    bigquery_schema,
    csv_columns,
    entity_rows,
    failure_json_row,
    failure_row,
    result_fields,
    result_row,
)
from transforms.documents import Document, DocumentEntities, Entity, Failure


def a_result(strategy: str = "first") -> DocumentEntities:
    index = 1 if strategy == "none" else None
    label = "B-PER" if strategy == "none" else "PER"
    entities = (
        Entity(label, np.float32(0.5), "zoë", np.int64(0), np.int64(3), "Zoë", index),
        Entity(label, 0.25, "x", None, None, None, index),
    )
    return DocumentEntities(Document("d1", "Zoë 🙂 x"), entities, np.int64(7), 1, np.bool_(False), "m", "r", strategy)


def names(fields: tuple[Field, ...]) -> list[str]:
    return [field.name for field in fields]


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
@pytest.mark.parametrize("include_text", [False, True])
def test_result_row_has_the_schemas_keys_in_their_order(strategy: str, include_text: bool) -> None:
    row = result_row(a_result(strategy), include_text)
    fields = result_fields(strategy, include_text)
    assert list(row) == names(fields)
    entities = next(field for field in fields if field.name == "entities")
    assert all(list(entity) == names(entities.fields) for entity in row["entities"])


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("first", ["entity_group", "score", "word", "text", "start", "end"]),
        ("none", ["entity", "score", "word", "text", "start", "end", "index"]),
    ],
)
def test_entity_columns_are_those_of_hugging_face(strategy: str, expected: list[str]) -> None:
    entities = next(field for field in result_fields(strategy, False) if field.name == "entities")
    assert names(entities.fields) == expected


def test_result_row_is_json_although_models_give_numpy() -> None:
    row = json.loads(json.dumps(result_row(a_result(), True), allow_nan=False))
    assert row == {
        "id": "d1",
        "text": "Zoë 🙂 x",
        "entities": [
            {"entity_group": "PER", "score": 0.5, "word": "zoë", "text": "Zoë", "start": 0, "end": 3},
            {"entity_group": "PER", "score": 0.25, "word": "x", "text": None, "start": None, "end": None},
        ],
        "num_tokens": 7,
        "num_windows": 1,
        "truncated": False,
        "model": "m",
        "model_revision": "r",
        "aggregation_strategy": "first",
    }


@pytest.mark.parametrize("strategy", ["none", "max"])
def test_entity_rows_have_the_csv_columns(strategy: str) -> None:
    rows = list(entity_rows(a_result(strategy)))
    assert [tuple(row) for row in rows] == [csv_columns(strategy)] * 2
    assert [row["id"] for row in rows] == ["d1", "d1"]


def test_a_document_without_entities_has_no_entity_rows() -> None:
    assert list(entity_rows(DocumentEntities(Document("d", ""), (), 0, 1, False, "m", "r", "first"))) == []


def test_failure_row_keeps_the_bytes_and_replaces_in_the_string() -> None:
    failure = Failure(b"caf\xe9\xed\xa0\x80", "bad \ud800", "parse", {"k\udc80": "v\ud800"}, "at \udcff", 1.5)
    assert failure_row(failure) == {
        "timestamp": datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=timezone.utc),
        "payloadString": "caf\ufffd\ufffd\ufffd\ufffd",
        "payloadBytes": b"caf\xe9\xed\xa0\x80",
        "attributes": [{"key": "k?", "value": "v?"}],
        "errorMessage": "bad ?",
        "stacktrace": "at ?",
        "stage": "parse",
    }


def test_failure_row_for_json_has_iso_time_and_base64() -> None:
    row = failure_json_row(Failure(b"\x00\xff", "e", "read", timestamp=0))
    assert list(row) == names(FAILURE_FIELDS)
    assert row["timestamp"] == "1970-01-01T00:00:00.000000+00:00"
    assert base64.b64decode(row["payloadBytes"]) == b"\x00\xff"
    json.dumps(row, ensure_ascii=False).encode("utf-8")


FIELD_SETS = [
    ("tokens", result_fields("none", True), result_row(a_result("none"), True)),
    ("groups", result_fields("first", False), result_row(a_result(), False)),
    ("failures", FAILURE_FIELDS, failure_row(Failure(b"\xff", "e", "read", {"a": "b"}, "", 12.25))),
]


@pytest.mark.parametrize(("name", "fields", "row"), FIELD_SETS, ids=[name for name, *_ in FIELD_SETS])
def test_rows_pass_through_avro_and_arrow(name: str, fields: tuple[Field, ...], row: dict) -> None:
    file = io.BytesIO()
    fastavro.writer(file, avro_schema(name, fields), [row], validator=True)
    file.seek(0)
    assert list(fastavro.reader(file)) == [row]
    table = pa.Table.from_pylist([row], schema=arrow_schema(fields))
    table.validate(full=True)
    assert table.to_pylist() == [row]


@pytest.mark.parametrize(("name", "fields", "row"), FIELD_SETS, ids=[name for name, *_ in FIELD_SETS])
def test_bigquery_schema_describes_every_column(name: str, fields: tuple[Field, ...], row: dict) -> None:
    def check(columns: list[dict], fields: tuple[Field, ...]) -> None:
        assert [column["name"] for column in columns] == names(fields)
        for column, field in zip(columns, fields, strict=True):
            assert column["mode"] in {"REQUIRED", "NULLABLE", "REPEATED"}
            assert column["description"]
            assert ("fields" in column) == (column["type"] == "RECORD")
            check(column.get("fields", []), field.fields)

    check(bigquery_schema(fields)["fields"], fields)


def test_failure_columns_are_those_of_googles_templates() -> None:
    columns = {column["name"]: (column["type"], column["mode"]) for column in bigquery_schema(FAILURE_FIELDS)["fields"]}
    assert columns == {
        "timestamp": ("TIMESTAMP", "REQUIRED"),
        "payloadString": ("STRING", "REQUIRED"),
        "payloadBytes": ("BYTES", "REQUIRED"),
        "attributes": ("RECORD", "REPEATED"),
        "errorMessage": ("STRING", "NULLABLE"),
        "stacktrace": ("STRING", "NULLABLE"),
        "stage": ("STRING", "NULLABLE"),
    }


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(schemas).failed == 0
