"""Fields of the record that travel to the result, from and to BigQuery and Pub/Sub; and texts in nested columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from runs import rows
from table_factory import rows_of, table_in

from pipeline.io.fields import DocumentFields
from pipeline.io.pubsub.messages import Message
from pipeline.io.pubsub.read import document_of_message
from pipeline.places import Table
from pipeline.run import main
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure

WHEN = "2026-11-28T04:05:06+00:00"


@pytest.fixture
def mails(dataset: str) -> Table:
    table = table_in(dataset, "mails")
    message = (SchemaField("body", "STRING"), SchemaField("sent", "TIMESTAMP"))
    schema = [
        SchemaField("key", "INTEGER"),
        SchemaField("message", "RECORD", fields=message),
        SchemaField("subject", "STRING"),
        SchemaField("score", "FLOAT"),
        SchemaField("seen", "BOOLEAN"),
        SchemaField("day", "DATE"),
        SchemaField("tags", "STRING", mode="REPEATED"),
    ]
    client = bigquery.Client()
    client.create_table(bigquery.Table(str(table).replace(":", "."), schema))
    first = {"key": 1, "message": {"body": "Ann Smith lives in Rome.", "sent": WHEN}, "subject": "Hi", "score": 0.5,
             "seen": True, "day": "2026-11-28", "tags": ["a", "b"]}  # fmt: skip
    second = {"key": 2, "message": None, "subject": "No body", "tags": []}
    assert client.insert_rows_json(str(table).replace(":", "."), [first, second]) == []
    return table


def run(*flags: str) -> None:
    assert main(["--aggregation_strategy=first", *flags]) == 0


def test_a_table_to_files(mails: Table, tmp_path: Path) -> None:
    flags = [f"--input={mails}", "--id_field=key", "--project=test-project", f"--output={tmp_path}/out/x"]
    run(*flags, "--text_field=subject,message.body", "--keep_fields=*", "--include_text")
    first, second = sorted(rows(tmp_path / "out"), key=lambda row: row["id"])
    assert (first["id"], first["text"]) == ("1", "Hi\n\nAnn Smith lives in Rome.")
    assert (second["id"], second["text"]) == ("2", "No body")
    assert first["fields"] == {"score": 0.5, "seen": True, "day": "2026-11-28", "tags": ["a", "b"]}
    assert second["fields"] == {"score": None, "seen": None, "day": None, "tags": []}


@pytest.mark.parametrize("granularity", ["document", "entity"])
def test_a_table_to_a_table(granularity: str, mails: Table, dataset: str) -> None:
    output = table_in(dataset, granularity)
    flags = [f"--input={mails}", "--id_field=key", "--project=test-project", f"--output={output}"]
    flags += ["--write_method=STREAMING_INSERTS", f"--granularity={granularity}", "--text_field=subject,message.body"]
    run(*flags, "--keep_fields=message.sent,score,seen,day,tags")
    fields = next(
        field for field in bigquery.Client().get_table(str(output).replace(":", ".")).schema if field.name == "fields"
    )
    assert {field.name: field.field_type for field in fields.fields} == {
        "message_sent": "TIMESTAMP", "score": "FLOAT", "seen": "BOOLEAN", "day": "STRING", "tags": "STRING",
    }  # fmt: skip
    found = {row["id"]: row["fields"] for row in rows_of(output)}
    sent = found["1"].pop("message_sent")
    assert sent.isoformat() == WHEN
    assert found["1"] == {"score": 0.5, "seen": True, "day": "2026-11-28", "tags": '["a", "b"]'}


def test_a_query_keeps_its_columns(mails: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    from table_factory import keep_results

    keep_results(dataset, monkeypatch)
    query = f"SELECT key AS id, message.body AS text, score * 2 AS twice FROM `{str(mails).replace(':', '.')}`"
    run(f"--query={query}", "--project=test-project", f"--output={tmp_path}/out/x", "--keep_fields=twice")
    (row,) = [row for row in rows(tmp_path / "out") if "stage" not in row]
    assert row["fields"] == {"twice": 1.0}


MISTAKES = {
    "a path that is not there": (["--text_field=message.text"], "--text_field=message.text: not a column of"),
    "a record": (["--text_field=message"], "--text_field=message: the column of"),
    "a column that is not there": (
        ["--text_field=subject", "--keep_fields=x"],
        "--keep_fields='x': not a field of the",
    ),
    "an encoding": (["--text_field=subject", "--encoding=cp1252"], "--encoding='cp1252': only for files"),
}


@pytest.mark.parametrize(("flags", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(
    flags: list[str], sentence: str, mails: Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usual = [f"--input={mails}", "--project=test-project", f"--output={tmp_path}/out/x", "--id_field=key"]
    assert main([*usual, *flags]) == 2
    assert sentence in capsys.readouterr().err


def message(record: dict[str, Any]) -> Document | Failure:
    fields = DocumentFields("a.text", keep=(KeptField("n", "STRING", "n"), KeptField("a.b", None, "a.b")))
    return document_of_message(Message(json.dumps(record).encode(), {}, "7"), "jsonl", fields)


def test_messages_keep_fields() -> None:
    document = message({"a": {"text": "Ann", "b": [1]}, "n": 7, "other": 1})
    assert isinstance(document, Document)
    assert document.text == "Ann"
    assert document.fields == {"n": "7", "a.b": [1]}


def test_messages_of_text_have_no_fields(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    flags = ["--input=projects/project/subscriptions/letters", f"--output={tmp_path}/out/x", "--keep_fields=n"]
    assert main(flags) == 2
    assert "the messages are texts without fields; expected --input_format=jsonl" in capsys.readouterr().err
