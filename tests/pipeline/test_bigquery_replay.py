"""A dead letter as input: files as they are written, and a table."""

from __future__ import annotations

import base64
import doctest
import gzip
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from table_factory import collect, make_table, table_in

from pipeline.checks.replay import check_replay_format, check_replay_table
from pipeline.checks.table_output import prepare_table
from pipeline.io import replay
from pipeline.io.bigquery.tables import failure_layout
from pipeline.io.bigquery.write import WriteFailureTable
from pipeline.io.fields import DocumentFields
from pipeline.io.files.write import WriteFailures
from pipeline.io.replay import ReadFailures, document_of_failure_row
from pipeline.places import Files, Table
from pipeline.schemas import failure_json_row, failure_row
from transforms.documents import Document, Failure

FIELDS = DocumentFields()
LINE = '{"id": "a", "text": "Zoë"}'.encode()


def failure(payload: bytes, stage: str = "classify", **attributes: str) -> Failure:
    return Failure(payload, "it failed", stage, attributes, timestamp=1.5)


# What a failure was made of, how it is to be read, and the id and text of the document, or the end of the sentence.
ROWS = [
    (failure(LINE, source="x.jsonl", id="a"), "auto", ("a", "Zoë")),
    (failure(LINE, source="x.jsonl.gz", id="a"), "auto", ("a", "Zoë")),
    (failure(LINE, source="x.jsonl", id="x.jsonl:7"), "auto", ("a", "Zoë")),
    (failure(b'{"text": "Ann"}', source="x.jsonl", id="x.jsonl:7"), "auto", ("x.jsonl:7", "Ann")),
    (failure("Zoë\r".encode(), source="x.txt", id="x.txt:9"), "auto", ("x.txt:9", "Zoë\r")),
    (failure(b"", source="x.txt", id="x.txt:9"), "auto", ("x.txt:9", "")),
    (failure(LINE, source="x.parquet", id="a"), "auto", ("a", "Zoë")),
    (failure(LINE, source="p-p:d.t", id="a"), "auto", ("a", "Zoë")),
    (failure(LINE, source="query", id="a"), "auto", ("a", "Zoë")),
    # The id of a message is not that of the object in it.
    (failure(LINE, source="projects/p/subscriptions/s", id="message-1"), "jsonl", ("message-1", "Zoë")),
    (failure(b"Ann", source="projects/p/subscriptions/s", id="message-1"), "auto", ("message-1", "Ann")),
    (failure(LINE, id="a"), "jsonl", ("a", "Zoë")),
    (failure(LINE, source="x.txt", id="a"), "text", ("a", LINE.decode())),
    (failure(LINE, source="x.csv", id="a"), "auto", "a record of csv cannot be read again without the rest of its file"),
    (failure(LINE, id="a"), "auto", "the name of the record's source contains no format; expected --input_format"),
    (failure(b"", "read", source="x.jsonl"), "auto", "is that of a whole file or stream, not of a record; read that again"),
    (failure(b"secret", source="x.jsonl"), "auto", "the line is not JSON from character 0 on"),
    (failure(b'{"id": "a"}', source="x.jsonl"), "auto", "the record has no field 'text'"),
    (failure(b"caf\xe9", source="x.txt"), "auto", "field 'text' is not valid Unicode"),
]  # fmt: skip


@pytest.mark.parametrize("as_row", [failure_row, failure_json_row], ids=["table", "file"])
@pytest.mark.parametrize(("failed", "input_format", "expected"), ROWS)
def test_document_of_failure_row(as_row: Any, failed: Failure, input_format: str, expected: Any) -> None:
    outcome = document_of_failure_row(as_row(failed), input_format, FIELDS, "dead")
    assert outcome.payload == failed.payload
    if isinstance(outcome, Document):
        assert (outcome.id, outcome.text) == expected
        assert outcome.attributes == {"source": "dead"} | {k: v for k, v in failed.attributes.items() if k != "id"}
    else:
        assert outcome.error.endswith(expected)
        assert "secret" not in outcome.error
        assert outcome.attributes.items() >= failed.attributes.items()


def test_a_record_without_any_id_has_the_same_one_in_every_run() -> None:
    rows = [failure_row(failure(payload, source="x.txt")) for payload in (b"Ann", b"Ann", b"Bob")]
    ids = [document_of_failure_row(row, "auto", FIELDS).id for row in rows]  # type: ignore[union-attr]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("x.txt:replay-")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"payloadBytes": "###"},
        {"payloadBytes": 5},
        {"payloadBytes": "QQ==", "attributes": "secret"},
        {"payloadBytes": "QQ==", "attributes": [{"k": "secret"}]},
    ],
)
def test_what_is_no_row_of_a_dead_letter(row: dict[str, Any]) -> None:
    outcome = document_of_failure_row(row, "text", FIELDS)
    assert isinstance(outcome, Failure)
    assert outcome.error.endswith("so this is not a row of a dead letter")
    assert "secret" not in outcome.error


def read(source: beam.PTransform) -> tuple[dict[str, str], list[Failure]]:
    documents: list[Document] = []
    failures: list[Failure] = []
    with beam.Pipeline() as pipeline:
        result = pipeline | source
        collect(result.documents, documents, "Documents")
        collect(result.failures, failures, "Failures")
    return {document.id: document.text for document in documents}, failures


FAILURES = [
    *(failure(f"Ann {i}".encode(), source="x.txt", id=f"x.txt:{i}", kept="🙂") for i in range(20)),
    failure(b"caf\xe9", source="x.txt", id="x.txt:bad"),
]
TEXTS = {f"x.txt:{i}": f"Ann {i}" for i in range(20)}


@pytest.mark.parametrize("place", ["dead.jsonl", "p-p:d.dead"])
def test_the_dead_letter_s_name_says_nothing_of_a_record_that_names_no_source(place: str) -> None:
    row = failure_row(failure(b"Ann", id="message-1"))
    outcome = document_of_failure_row(row, "auto", FIELDS, place)
    assert isinstance(outcome, Failure)
    assert "expected --input_format" in outcome.error
    outcome = document_of_failure_row(row, "text", FIELDS, place)
    assert isinstance(outcome, Document)
    assert (outcome.id, outcome.text) == ("message-1", "Ann")


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_files_as_they_are_written(tmp_path: Path, ending: str) -> None:
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(FAILURES) | WriteFailures(str(tmp_path / f"dead{ending}"))
    texts, failures = read(ReadFailures(Files(str(tmp_path / "dead-*"))))
    assert texts == TEXTS
    (again,) = failures
    assert again.payload == b"caf\xe9"
    assert again.attributes == {"source": "x.txt", "id": "x.txt:bad"}


def test_a_table(dataset: str) -> None:
    table = table_in(dataset, "dead")
    prepare_table(table, failure_layout())
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(FAILURES) | WriteFailureTable(table)
    check_replay_table(table)
    texts, failures = read(ReadFailures(table))
    assert texts == TEXTS
    assert [again.payload for again in failures] == [b"caf\xe9"]


def test_lines_that_are_no_failures_keep_their_bytes(tmp_path: Path) -> None:
    lines = [b'{"text": "not a failure"}', b"secret", b"", json.dumps(failure_json_row(FAILURES[0])).encode()]
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    texts, failures = read(ReadFailures(Files(str(path))))
    assert texts == {"x.txt:0": "Ann 0"}
    assert {again.payload for again in failures} == {lines[0], lines[1]}
    assert not any("secret" in again.error for again in failures)


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    whole = gzip.compress("".join(json.dumps(failure_json_row(each)) + "\n" for each in FAILURES).encode())
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(whole[:-12])
    _, failures = read(ReadFailures(Files(str(path))))
    assert any("reading stopped after" in each.error for each in failures)


@pytest.mark.parametrize(
    ("input_format", "message"),
    [
        ("csv", "--input_format=csv: not for --replay"),
        ("xml", "--input_format=xml: unknown for --replay; expected one of auto, text"),
    ],
)
def test_the_format_is_checked(input_format: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_replay_format(input_format)


def test_the_table_is_checked_before_the_start(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "payloadBytes STRING, text STRING")
    with pytest.raises(
        ValueError, match=r"^--replay=.*: not a table of failures: .*payloadBytes is STRING; expected BYTES$"
    ):
        check_replay_table(table)
    with pytest.raises(ValueError, match="there is no such table"):
        check_replay_table(Table(table.project, table.dataset, "nope"))


def test_base64_is_what_the_dead_letter_writes() -> None:
    row = failure_json_row(failure(bytes(range(256)), source="x.txt"))
    assert base64.b64decode(row["payloadBytes"]) == bytes(range(256))
    outcome = document_of_failure_row(row, "text", FIELDS)
    assert outcome.payload == bytes(range(256))


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(replay).failed == 0
