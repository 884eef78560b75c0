"""Results and failures to BigQuery tables of a real server, as a pipeline writes them."""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.utils.timestamp import Timestamp
from google.cloud import bigquery
from table_factory import a_result, collect, documented_sql, make_table, proxy, rows_of, table_in

from pipeline.checks import table_output
from pipeline.checks.table_output import check_java, prepare_table, write_method
from pipeline.io.bigquery.read import ReadTable
from pipeline.io.bigquery.storage_write import StorageWrite, failure_of_refused, native_row
from pipeline.io.bigquery.tables import failure_layout, failure_table_of, result_layout
from pipeline.io.bigquery.write import WriteFailureTable, WriteResultTable, check_granularity, insert_id
from pipeline.io.outcomes import Receipt
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS, failure_row, result_fields, table_fields
from transforms.documents import Document, DocumentEntities, Entity, Failure


@pytest.fixture
def table(dataset: str) -> Table:
    table = table_in(dataset, "entities")
    prepare_table(table, result_layout("first", False, "document", partition=True, cluster=True))
    return table


def write(write: beam.PTransform, elements: list[Any], **settings: Any) -> tuple[list[str], list[Failure]]:
    receipts: list[str] = []
    failures: list[Failure] = []
    with beam.Pipeline(**settings) as pipeline:
        written = pipeline | beam.Create(elements) | write
        collect(written.receipts, receipts, "Receipts")
        collect(written.failures, failures, "Failures")
    return sorted(receipts), failures


# Rows


def test_a_row_a_document(table: Table) -> None:
    attributes = {"source": "s", "ü": "🙂"}
    results = [
        a_result("d1", attributes=attributes, timestamp=1.5),
        a_result("d2", words=0, receipt=None),
    ]
    begin = datetime.now(timezone.utc)
    assert write(WriteResultTable(table, "first"), results) == (["receipt-d1"], [])
    first, second = sorted(rows_of(table), key=lambda row: row["id"])
    assert begin <= first.pop("processed_at") <= datetime.now(timezone.utc)
    assert first == {
        "id": "d1",
        "entities": [
            {"entity_group": "PER", "score": 0.5, "word": f"w{i}", "text": f"w{i}", "start": 3 * i, "end": 3 * i + 2}
            for i in range(2)
        ],
        "num_tokens": 2,
        "num_windows": 1,
        "truncated": False,
        "model": "m",
        "model_revision": "r",
        "aggregation_strategy": "first",
        "attributes": [{"key": "source", "value": "s"}, {"key": "ü", "value": "🙂"}],
        "event_time": datetime(1970, 1, 1, 0, 0, 1, 500000, tzinfo=timezone.utc),
    }
    assert second["entities"] == []
    assert second["event_time"] is None


def test_a_row_an_entity(dataset: str) -> None:
    table = table_in(dataset, "entities")
    prepare_table(table, result_layout("first", False, "entity"))
    results = [a_result("d1", words=3), a_result("none", words=0)]
    assert write(WriteResultTable(table, "first", granularity="entity"), results) == (
        ["receipt-d1", "receipt-none"],
        [],
    )
    rows = sorted(rows_of(table), key=lambda row: row["entity_number"])
    assert [(row["id"], row["entity_number"], row["word"], row["start"]) for row in rows] == [
        ("d1", 0, "w0", 0),
        ("d1", 1, "w1", 3),
        ("d1", 2, "w2", 6),
    ]
    assert {row["model_revision"] for row in rows} == {"r"}


@pytest.mark.parametrize("granularity", ["document", "entity"])
def test_from_a_table_to_a_table(dataset: str, granularity: str) -> None:
    texts = [{"id": f"d{i}", "text": f"Ann met Bob{i} in Rome"} for i in range(50)]
    source = make_table(table_in(dataset, "docs"), "id STRING, text STRING", texts)
    target = table_in(dataset, "out")
    prepare_table(target, result_layout("simple", False, granularity))
    with beam.Pipeline() as pipeline:
        read = pipeline | ReadTable(source)
        results = read.documents | beam.Map(capitals)
        _ = results | WriteResultTable(target, "simple", granularity=granularity)
    rows = rows_of(target)
    if granularity == "entity":
        found = Counter((row["id"], row["text"]) for row in rows)
    else:
        found = Counter((row["id"], entity["text"]) for row in rows for entity in row["entities"])
    assert found == Counter((f"d{i}", word) for i in range(50) for word in ("Ann", f"Bob{i}", "Rome"))
    assert {attribute["value"] for row in rows for attribute in row["attributes"]} == {str(source)}


def capitals(document: Document) -> DocumentEntities:
    found = re.finditer(r"[A-Z]\w*", document.text)
    entities = tuple(Entity("CAP", 1.0, m.group().lower(), m.start(), m.end(), m.group()) for m in found)
    return DocumentEntities(document, entities, 5, 1, False, "m", "r", "simple")


def test_scores_that_are_not_finite(table: Table) -> None:
    scores = [math.nan, math.inf, -math.inf]
    entities = tuple(Entity("PER", score, "w", 0, 1, "w") for score in scores)
    result = replace(a_result("d"), entities=entities)
    assert write(WriteResultTable(table, "first"), [result]) == (["receipt-d"], [])
    (row,) = rows_of(table)
    read = [entity["score"] for entity in row["entities"]]
    assert math.isnan(read[0])
    assert read[1:] == [math.inf, -math.inf]


# What BigQuery refuses


def test_one_refused_row_of_many(dataset: str) -> None:
    # A table where a revision must be a number: that of d7 is none.
    fields = [
        replace(field, type="INTEGER") if field.name == "model_revision" else field
        for field in table_fields("first", False, "document")
    ]
    table = table_in(dataset, "strict")
    prepare_table(table, replace(result_layout("first", False, "document"), fields=tuple(fields)))
    results = [replace(a_result(f"d{i}"), model_revision="x" if i == 7 else "1") for i in range(20)]
    receipts, (failure,) = write(WriteResultTable(table, "first"), results)
    others = [f"d{i}" for i in range(20) if i != 7]
    assert receipts == sorted(f"receipt-{id}" for id in others)
    assert sorted(row["id"] for row in rows_of(table)) == sorted(others)
    assert failure.error.startswith("BigQuery rejected the row: invalid at ")
    assert (failure.stage, failure.receipt, failure.payload) == ("write", "receipt-d7", b"{payload}")
    assert failure.attributes == {"source": "s", "id": "d7"}


def test_a_row_that_no_request_can_hold(table: Table) -> None:
    large = replace(a_result("large"), entities=(Entity("PER", 1.0, "東" * 1_600_000, 0, 1, "x"),))
    receipts, (failure,) = write(WriteResultTable(table, "first"), [a_result("a"), large, a_result("b")])
    assert receipts == ["receipt-a", "receipt-b"]
    assert failure.attributes["id"] == "large"
    assert re.fullmatch(r"the row has \d+ bytes, more than the 9000000 allowed", failure.error)


def test_a_result_that_cannot_become_a_row(table: Table) -> None:
    bad = a_result("bad", timestamp=1e300)  # no year
    receipts, (failure,) = write(WriteResultTable(table, "first"), [a_result("a"), bad])
    assert receipts == ["receipt-a"]
    assert failure.error == "write failed with OverflowError"
    assert failure.receipt == "receipt-bad"


# What goes wrong for a while


def test_errors_for_a_while_lose_nothing(table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    statuses = iter([500, 429])

    def answer(path: str, body: Any) -> Any:
        status = next(statuses, None)
        return status and (status, {"error": {"code": status, "message": "x", "errors": [{"reason": "backendError"}]}})

    results = [a_result(f"d{i}") for i in range(100)]
    with proxy(bigquery_server.url, answer) as (url, requests), monkeypatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", url)
        receipts, failures = write(WriteResultTable(table, "first"), results)
    assert len(receipts) == 100
    assert failures == []
    assert Counter(row["id"] for row in rows_of(table)) == Counter(result.id for result in results)
    assert len(requests) < 20  # the rows of a bundle go together


def test_errors_that_last_give_no_receipt(table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts: list[str] = []
    with proxy(bigquery_server.url, lambda *_: (503, {"error": {"code": 503, "message": "w0"}})) as (url, _):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        pipeline = beam.Pipeline()
        written = pipeline | beam.Create([a_result("d")]) | WriteResultTable(table, "first", retry_seconds=0.2)
        collect(written.receipts, receipts, "Receipts")
        with pytest.raises(RuntimeError, match=r"1 rows could not be written in 0\.2 s") as failure:
            pipeline.run()
    assert receipts == []
    assert "w0" not in str(failure.value)


# Streaming


def test_outcomes_keep_their_windows_in_streaming(table: Table) -> None:
    stream = TestStream()
    for minute in range(5):
        stream.advance_watermark_to(60 * minute)
        stream.add_elements([beam.window.TimestampedValue(a_result(f"d{minute}-{i}"), 60 * minute) for i in range(3)])
    stream.advance_watermark_to_infinity()
    seen: list[Any] = []
    options = PipelineOptions(["--streaming"])
    with beam.Pipeline(runner=BundleBasedDirectRunner(), options=options) as pipeline:
        results = pipeline | stream | beam.WindowInto(beam.window.FixedWindows(60))
        written = results | WriteResultTable(table, "first")
        collect(written.receipts | "Place" >> beam.ParDo(WithWindow()), seen, "Seen")
    assert sorted(seen) == [(f"receipt-d{m}-{i}", 60 * m, 60 * m) for m in range(5) for i in range(3)]
    assert len(rows_of(table)) == 15


class WithWindow(beam.DoFn):
    def process(self, element: str, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam):
        yield element, int(timestamp), int(window.start)


# Duplicates


@pytest.mark.parametrize("granularity", ["document", "entity"])
def test_the_same_documents_have_the_same_insert_ids(
    dataset: str, granularity: str, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = table_in(dataset, "t")
    prepare_table(table, result_layout("first", False, granularity))
    results = [a_result(f"d{i}", words=3) for i in range(5)]
    again = [replace(r, entities=tuple(replace(e, score=0.5000001) for e in r.entities)) for r in results]
    sent: list[Counter[str]] = []
    with proxy(bigquery_server.url, lambda *_: None) as (url, requests), monkeypatch.context() as patch:
        patch.setenv("BIGQUERY_EMULATOR_HOST", url)
        for run in (results, again):
            requests.clear()
            write(WriteResultTable(table, "first", granularity=granularity), run)
            sent.append(Counter(row["insertId"] for request in requests for row in request["rows"]))
    assert sent[0] == sent[1]
    assert len(sent[0]) == (15 if granularity == "entity" else 5)
    assert set(sent[0].values()) == {1}


def with_text(result: DocumentEntities, text: str) -> DocumentEntities:
    return replace(result, document=replace(result.document, text=text))


def test_insert_ids_tell_documents_apart() -> None:
    results = [
        a_result("a"),
        a_result("b"),
        with_text(a_result("a"), "another text"),
        with_text(a_result('a", "'), ""),
    ]
    made = {insert_id(result, number) for result in results for number in range(3)}
    assert len(made) == 12
    assert all(len(name) <= 128 for name in made)


@pytest.mark.parametrize("granularity", ["document", "entity"])
def test_the_documented_query_gives_one_row_an_id(dataset: str, granularity: str) -> None:
    table = table_in(dataset, "t")
    prepare_table(table, result_layout("first", False, granularity))
    for words in (2, 3, 3):
        results = [a_result(f"d{i}", words=words) for i in range(4)]
        write(WriteResultTable(table, "first", granularity=granularity), results)
    query = documented_sql(0 if granularity == "document" else 1, table)
    rows = [dict(row) for row in bigquery.Client().query(query).result()]
    if granularity == "document":
        assert Counter(row["id"] for row in rows) == Counter(f"d{i}" for i in range(4))
        assert {len(row["entities"]) for row in rows} == {3}
    else:
        keys = Counter((row["id"], row["entity_number"]) for row in rows)
        assert keys == Counter((f"d{i}", number) for i in range(4) for number in range(3))
    newest = max(row["processed_at"] for row in rows_of(table))
    assert max(row["processed_at"] for row in rows) == newest


def test_the_documented_merge_keeps_one_row_an_id(table: Table, dataset: str) -> None:
    latest = table_in(dataset, "entities_latest")
    prepare_table(latest, result_layout("first", False, "document"))
    merge = documented_sql(2, table, latest)
    for words in (1, 2):
        write(WriteResultTable(table, "first"), [a_result("a", words=words), a_result(f"only-{words}", words=words)])
        bigquery.Client().query(merge).result()
    found = {row["id"]: len(row["entities"]) for row in rows_of(latest)}
    assert len(rows_of(latest)) == 3
    assert found == {"a": 2, "only-1": 1, "only-2": 2}


# Loads


def test_files_are_loaded(table: Table, bucket: str) -> None:
    options = PipelineOptions(["--project=test-project", f"--temp_location={bucket}/temp"])
    results = [a_result(f"d{i}") for i in range(30)]
    load = WriteResultTable(table, "first", method="FILE_LOADS")
    assert write(load, results, options=options) == ([], [])
    assert Counter(row["id"] for row in rows_of(table)) == Counter(result.id for result in results)
    row = next(row for row in rows_of(table) if row["id"] == "d3")
    assert [entity["word"] for entity in row["entities"]] == ["w0", "w1"]
    assert row["attributes"] == [{"key": "source", "value": "s"}]
    write(WriteResultTable(table, "first", method="FILE_LOADS"), results[:2], options=options)
    assert len(rows_of(table)) == 32


# The dead letter


def failures_like(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "attributes": [dict(pair) for pair in row["attributes"]]}


def receipt(message: str, ack_id: str = "ack") -> str:
    return str(Receipt("projects/p/subscriptions/s", message, ack_id))


def test_failures(dataset: str) -> None:
    table = failure_table_of(table_in(dataset, "out"))
    assert table.table == "out_error_records"
    prepare_table(table, failure_layout(partition=True), flag="--dead_letter")
    failures = [
        Failure(b"caf\xe9\x00", "bad", "parse", {"id": "a", "ü": "🙂"}, "at x", 1.5, receipt=receipt("a")),
        Failure(b"", "no file", "read", timestamp=2.0),
        # More than an insert can hold.
        Failure(b"\xff" + b"x" * 6_000_000, "large", "classify", {"id": "b"}, timestamp=3.0, receipt=receipt("b")),
    ]
    assert write(WriteFailureTable(table), failures) == ([receipt("a"), receipt("b")], [])
    rows = sorted(rows_of(table), key=lambda row: row["timestamp"])
    # Of a file that it loads, the test's server does not decode the base64.
    rows[2]["payloadBytes"] = base64.b64decode(rows[2]["payloadBytes"])
    for row, failure in zip(rows, failures, strict=True):
        assert row.keys() == failure_row(failure).keys()
        differing = [name for name, value in failure_row(failure).items() if row[name] != value]
        assert differing == []


def test_a_failure_that_is_refused_is_not_acknowledged(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "timestamp TIMESTAMP, stage INTEGER")
    with pytest.raises(RuntimeError, match="a failure could not be written: BigQuery rejected the row: invalid"):
        write(WriteFailureTable(table), [Failure(b"secret", "bad", "parse", receipt=receipt("r"))])


def test_failures_alike_have_a_row_each_and_deliveries_of_one_message_do_not(dataset: str) -> None:
    table = table_in(dataset, "dead")
    prepare_table(table, failure_layout())
    twin = Failure(b"{}", "classify failed with X", "classify", {"id": "a"}, timestamp=1.5)
    messages = [replace(twin, receipt=receipt(name)) for name in ("m1", "m2")]
    write(WriteFailureTable(table), [twin, *messages, twin, twin])
    assert len(rows_of(table)) == 5
    # A bundle that is tried again, and messages delivered again.
    write(WriteFailureTable(table), [twin, twin, replace(twin, receipt=receipt("m1", "another")), twin])
    assert len(rows_of(table)) == 5


def test_records_alike_have_a_row_each_and_deliveries_of_one_message_do_not(table: Table) -> None:
    twins = [a_result("row-1f", receipt=None)] * 3
    write(WriteResultTable(table, "first"), [*twins, a_result("m"), a_result("m", receipt="another")])
    write(WriteResultTable(table, "first"), twins)  # a bundle that is tried again
    assert sorted(row["id"] for row in rows_of(table)) == ["m", "row-1f", "row-1f", "row-1f"]


# Tables


def test_a_table_is_made_with_descriptions_partitions_and_clusters(table: Table) -> None:
    made = bigquery.Client().get_table(str(table).replace(":", "."))

    def check(columns: Any, fields: Any) -> None:
        assert [column.name for column in columns] == [field.name for field in fields]
        for column, field in zip(columns, fields, strict=True):
            assert column.description == field.description
            assert column.mode == field.mode
            check(column.fields, field.fields)

    check(made.schema, table_fields("first", False, "document"))
    assert (made.time_partitioning.type_, made.time_partitioning.field) == ("DAY", "processed_at")
    assert made.clustering_fields == ["id"]


def test_a_table_that_is_there_is_taken(table: Table) -> None:
    prepare_table(table, result_layout("first", False, "document"))
    write(WriteResultTable(table, "first"), [a_result("a")])
    prepare_table(table, result_layout("first", False, "document", partition=True))
    assert len(rows_of(table)) == 1
    with pytest.raises(ValueError, match="contains rows; expected none with --write_disposition=WRITE_EMPTY"):
        prepare_table(table, result_layout("first", False, "document"), write_disposition="WRITE_EMPTY")


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (result_layout("first", True, "document"), r"the column text \(STRING\) is missing"),
        (result_layout("none", False, "document"), r"the column entities\.entity \(STRING\) is missing"),
        (result_layout("first", False, "entity"), r"the column entity_number \(INTEGER\) is missing"),
        (failure_layout(), r"the column timestamp \(TIMESTAMP\) is missing"),
    ],
)
def test_a_table_that_lacks_a_column(table: Table, layout: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^--output={table}: does not fit: {message}$"):
        prepare_table(table, layout)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("id INTEGER", "the column id is INTEGER; expected STRING"),
        ("id STRING REPEATED", "the column id is REPEATED STRING; expected STRING"),
        ("id STRING, entities STRING REPEATED", "the column entities is REPEATED STRING; expected REPEATED RECORD"),
    ],
)
def test_a_column_of_another_type(dataset: str, columns: str, message: str) -> None:
    table = make_table(table_in(dataset, "t"), columns)
    with pytest.raises(ValueError, match=message):
        prepare_table(table, result_layout("first", False, "document"))


def test_more_columns_are_fine_unless_they_are_required(dataset: str) -> None:
    layout = failure_layout()
    columns = "timestamp TIMESTAMP, payloadString STRING, payloadBytes BYTES, errorMessage STRING, stacktrace STRING, stage STRING"
    table = make_table(table_in(dataset, "t"), f"{columns}, mine STRING")
    with pytest.raises(ValueError, match=r"attributes \(REPEATED RECORD\) is missing"):
        prepare_table(table, layout, flag="--dead_letter")
    fields = [field for field in FAILURE_FIELDS if field.name != "attributes"]
    prepare_table(table, replace(layout, fields=tuple(fields)), flag="--dead_letter")
    strict = make_table(table_in(dataset, "strict"), f"{columns}, mine STRING REQUIRED")
    with pytest.raises(ValueError, match="mine is REQUIRED; expected NULLABLE, since no row has a value for it"):
        prepare_table(strict, replace(layout, fields=tuple(fields)))


def test_a_table_that_cannot_be_made(dataset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = result_layout("first", False, "document")
    with pytest.raises(
        ValueError, match="there is no such table; expected one, or --create_disposition=CREATE_IF_NEEDED"
    ):
        prepare_table(table_in(dataset, "nope"), layout, create=False)
    monkeypatch.setattr(table_output, "CHECK_RETRY", table_output.CHECK_RETRY.with_timeout(1))
    sentence = r"^--output=test-project:no_set\.t: cannot be created: \w+"  # the server has no better words than 500
    with pytest.raises(ValueError, match=sentence) as refusal:
        prepare_table(Table("test-project", "no_set", "t"), layout)
    assert "\n" not in str(refusal.value)


# Settings


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("auto", False, "gs://b/t"), "FILE_LOADS"),
        (("auto", True, None), "STREAMING_INSERTS"),
        (("STREAMING_INSERTS", False, None), "STREAMING_INSERTS"),
        (("FILE_LOADS", False, "gs://b/t", "WRITE_TRUNCATE"), "FILE_LOADS"),
        (
            ("auto", False, None),
            "--write_method=FILE_LOADS: no place for BigQuery's files; expected --temp_location=gs://",
        ),
        (
            ("auto", False, "/tmp/x"),
            "--write_method=FILE_LOADS: no place for BigQuery's files; expected --temp_location=gs://",
        ),
        (("FILE_LOADS", True, "gs://b/t"), "waits for the end of the input"),
        (("FAST", False, None), "--write_method=FAST: unknown; expected one of auto, FILE_LOADS"),
        (
            ("STREAMING_INSERTS", False, None, "WRITE_TRUNCATE"),
            "WRITE_TRUNCATE: replaces rows at the end; expected --write_method=FILE_LOADS",
        ),
        (("STREAMING_INSERTS", False, None, "APPEND"), "--write_disposition=APPEND: unknown; expected one of"),
    ],
)
def test_write_method(arguments: tuple[Any, ...], expected: str) -> None:
    if expected in ("FILE_LOADS", "STREAMING_INSERTS"):
        assert write_method(*arguments) == expected
        return
    with pytest.raises(ValueError, match=re.escape(expected)):
        write_method(*arguments)


def test_granularity() -> None:
    check_granularity("document", True)
    check_granularity("entity", False)
    with pytest.raises(ValueError, match=r"^include_text: .*; expected granularity=document$"):
        check_granularity("entity", True)
    with pytest.raises(ValueError, match=r"^granularity=word: unknown; expected one of document, entity"):
        WriteResultTable(Table("p-p", "d", "t"), "first", granularity="word")


def test_the_columns_of_a_table_are_those_of_a_result_and_more() -> None:
    names = [field.name for field in table_fields("none", True, "document")]
    more = ["attributes", "event_time", "processed_at"]
    assert names == [field.name for field in result_fields("none", True)] + more


# The Storage Write API, as far as it goes without Java


def test_java_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    for refuse in (check_java, lambda: write_method("STORAGE_WRITE_API", True, None)):
        with pytest.raises(ValueError, match=r"^--write_method=STORAGE_WRITE_API: requires Java"):
            refuse()
    with pytest.raises(ValueError, match=r"^write_method=STORAGE_WRITE_API: requires Java; expected a Java runtime$"):
        StorageWrite(Table("p-p", "d", "t"), ())


def test_a_java_program_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from apache_beam.utils import subprocess_server

    java = tmp_path / "java"
    java.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def refuse(*_: Any, **__: Any) -> str:
        raise RuntimeError("no network")

    monkeypatch.setattr(subprocess_server.JavaJarServer, "local_jar", refuse)
    monkeypatch.setattr(subprocess_server.JavaJarServer, "path_to_beam_jar", refuse)
    write = WriteResultTable(Table("p-p", "d", "t"), "first", method="STORAGE_WRITE_API")
    with pytest.raises(ValueError, match="Beam's Java program cannot be fetched or started here"):
        _ = beam.Pipeline() | beam.Create([a_result("a")]) | write


class RefusedRow(NamedTuple):
    """What Java gives for a row that is refused."""

    failed_row: Any
    error_message: str


class Java(beam.PTransform):
    """In the place of the step in Java: takes rows, and refuses one."""

    made: ClassVar[dict[str, Any]] = {}
    rows: ClassVar[list[Any]] = []

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.made.update(settings)

    def expand(self, rows: Any) -> dict[str, Any]:
        collect(rows, self.rows, "Rows")
        refused = rows | beam.Filter(lambda row: row.id == "d1")
        output = refused | beam.Map(lambda row: RefusedRow(row, "no such field: secret"))
        return {self.made["error_handling"]["output"]: output}


@pytest.mark.parametrize("granularity", ["document", "entity"])
def test_the_storage_write_api_s_graph_around_its_step_in_java(
    granularity: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from apache_beam.io.gcp import bigquery as beam_bigquery

    (tmp_path / "java").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(beam_bigquery, "SchemaAwareExternalTransform", Java)
    monkeypatch.setattr(beam_bigquery, "BeamJarExpansionService", lambda _: None)
    Java.rows.clear()
    results = [a_result(f"d{i}", timestamp=1.5) for i in range(3)]
    method = WriteResultTable(Table("p-p", "d", "t"), "first", granularity=granularity, method="STORAGE_WRITE_API")
    receipts, failures = write(method, results)
    assert receipts == []
    assert (Java.made["table"], Java.made["use_at_least_once_semantics"]) == ("p-p:d.t", True)
    assert Java.made["create_disposition"] == "CREATE_NEVER"
    assert Counter(row.id for row in Java.rows) == {f"d{i}": 2 if granularity == "entity" else 1 for i in range(3)}
    (row,) = [row for row in Java.rows if row.id == "d2"][:1]
    fields = [field.name for field in table_fields("first", False, granularity)]
    assert list(row._asdict()) == fields
    assert (row.event_time, row.attributes[0].value) == (Timestamp(1.5), "s")
    assert {failure.error for failure in failures} == {"BigQuery rejected the row: no such field"}
    assert {json.loads(failure.payload)["id"] for failure in failures} == {"d1"}
    assert len(failures) == (2 if granularity == "entity" else 1)


def test_native_rows() -> None:
    row = {
        "event_time": None,
        "processed_at": "1970-01-01T00:00:01.500000+00:00",
        "entities": [{"score": "-Infinity"}, {"score": 0.5}],
    }
    assert native_row(row) == {
        "event_time": None,
        "processed_at": Timestamp(1.5),
        "entities": [{"score": -math.inf}, {"score": 0.5}],
    }
    assert (
        native_row({"event_time": row["processed_at"], "processed_at": row["processed_at"], "score": 1})["score"] == 1.0
    )


def test_a_row_that_the_storage_api_refuses() -> None:
    row = {"id": "a", "entities": [beam.Row(score=math.nan, word="w")], "processed_at": Timestamp(1.5)}
    failure = failure_of_refused({"failed_row": row, "error_message": "bad value: secret"})
    assert (failure.stage, failure.error, failure.attributes) == ("write", "BigQuery rejected the row", {"id": "a"})
    assert json.loads(failure.payload)["entities"] == [{"score": "nan", "word": "w"}]
