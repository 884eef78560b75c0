"""BigQuery tables and queries as input, from a real server."""

from __future__ import annotations

import doctest
import json
import re
import shlex
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core.exceptions import PermissionDenied
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from table_factory import collect, keep_results, make_table, sql_name, table_in

from pipeline.checks import bigquery as lookups
from pipeline.checks import table_queries
from pipeline.checks.table_input import check_input_table, check_query, check_read_method, check_text_columns
from pipeline.io.bigquery import client
from pipeline.io.bigquery import read as read_module
from pipeline.io.bigquery.read import QueryError, ReadTable, document_of_row, open_streams
from pipeline.io.fields import DocumentFields
from pipeline.places import Table
from pipeline.run import main
from transforms.documents import Document, Failure


@pytest.fixture
def documents(dataset: str) -> Table:
    rows = [{"id": f"d{i}", "text": f"Zoë {i} 🙂", "n": i} for i in range(30)]
    rows += [{"text": "no id", "n": 30}, {"id": "no text", "n": 31}]
    return make_table(table_in(dataset, "docs"), "id STRING, text STRING, n INTEGER, tags STRING REPEATED", rows)


def read(source: ReadTable, *flags: str) -> tuple[list[Document], list[Failure]]:
    documents: list[Document] = []
    failures: list[Failure] = []
    with beam.Pipeline(options=PipelineOptions(list(flags))) as pipeline:
        result = pipeline | source
        collect(result.documents, documents, "Documents")
        collect(result.failures, failures, "Failures")
    return sorted(documents, key=lambda document: document.text), failures


def test_rows_become_documents(documents: Table) -> None:
    found, failures = read(ReadTable(documents), "--project=test-project")
    assert {document.id: document.text for document in found if document.text != "no id"} == {
        f"d{i}": f"Zoë {i} 🙂" for i in range(30)
    }
    (unnamed,) = [document for document in found if document.text == "no id"]
    assert unnamed.id.startswith(f"{documents}:row-")
    assert {document.attributes["source"] for document in found} == {str(documents)}
    # Only the columns of id and text are read.
    assert {frozenset(json.loads(document.payload or b"")) for document in found} == {frozenset(("id", "text"))}
    (failure,) = failures
    assert failure.stage == "parse"
    assert failure.attributes == {"source": str(documents), "id": "no text"}
    assert json.loads(failure.payload) == {"id": "no text", "text": None}


def test_an_integer_can_be_the_id_and_other_columns_the_text(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "n INTEGER, body STRING", [{"n": 7, "body": "x"}])
    found, failures = read(ReadTable(table, text_field="body", id_field="n"))
    assert [(document.id, document.text) for document in found] == [("7", "x")]
    assert failures == []


def test_a_table_without_ids_has_the_same_ids_in_every_run(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "text STRING", [{"text": "a"}, {"text": "b"}])
    first, _ = read(ReadTable(table))
    second, _ = read(ReadTable(table))
    assert [document.id for document in first] == [document.id for document in second]
    assert len({document.id for document in first}) == 2


def test_an_empty_table(dataset: str) -> None:
    assert read(ReadTable(make_table(table_in(dataset, "t"), "id STRING, text STRING"))) == ([], [])


@pytest.fixture
def _kept_results(monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    keep_results(dataset, monkeypatch)


@pytest.mark.usefixtures("_kept_results")
def test_a_query(documents: Table) -> None:
    query = f"SELECT CONCAT('q', id) AS id, UPPER(text) AS text FROM {sql_name(documents)} WHERE n < 3"
    found, failures = read(ReadTable(query=query), "--project=test-project")
    assert [(document.id, document.text) for document in found] == [(f"qd{i}", f"ZOË {i} 🙂") for i in range(3)]
    assert {document.attributes["source"] for document in found} == {"query"}
    assert failures == []
    # Nothing is left behind, and nothing of the user's is gone.
    datasets = [dataset.dataset_id for dataset in bigquery.Client().list_datasets()]
    assert documents.dataset in datasets
    assert not [name for name in datasets if name.startswith("beam_temp")]


def test_a_query_that_fails_in_its_midst_quotes_no_row(documents: Table) -> None:
    query = f"SELECT id, CAST(CAST(text AS INT64) AS STRING) AS text FROM {sql_name(documents)}"
    with pytest.raises(QueryError, match=r"^the query failed with \w+; see BigQuery's job \S+$"):
        open_streams(query, "test-project", ("id", "text"))


def test_an_export(dataset: str, bucket: str) -> None:
    rows = [{"id": f"d{i}", "text": f"Zoë {i}"} for i in range(5)] + [{"id": "no text"}]
    documents = make_table(table_in(dataset, "docs"), "id STRING, text STRING", rows)
    flags = ("--project=test-project", f"--temp_location={bucket}/temp")
    found, failures = read(ReadTable(documents, method="EXPORT"), *flags)
    direct, _ = read(ReadTable(documents))
    assert found == direct
    assert [failure.attributes["id"] for failure in failures] == ["no text"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": "a", "text": "x"}, ("a", "x")),
        ({"id": 1, "text": "", "other": b"\xff"}, ("1", "")),
        ({"id": "a"}, "has no field 'text'"),
        ({"id": "a", "text": 5}, "contains int, not a string"),
        ({"id": ["a"], "text": "secret"}, "contains list, which is not an id"),
    ],
)
def test_document_of_row(row: dict[str, Any], expected: Any) -> None:
    outcome = document_of_row(row, DocumentFields(), "p-p:d.t")
    if isinstance(outcome, Document):
        assert (outcome.id, outcome.text) == expected
    else:
        assert expected in outcome.error
        assert "secret" not in outcome.error
        assert "other" not in json.loads(outcome.payload)


@pytest.mark.parametrize(
    ("columns", "fields", "message"),
    [
        ("text STRING", ("text", "id"), None),
        ("text STRING, id INTEGER", ("text", "id"), None),
        (
            "body STRING, n INTEGER",
            ("text", "id"),
            "--text_field=text: not a column of --input=.*; expected one of body, n",
        ),
        ("text INTEGER", ("text", "id"), "--text_field=text: the column of --input=.* is INTEGER; expected STRING"),
        ("text STRING REPEATED", ("text", "id"), "is REPEATED STRING; expected STRING"),
        (
            "text STRING, id STRING REPEATED",
            ("text", "id"),
            "--id_field=id: .* is REPEATED STRING; expected a single value",
        ),
    ],
)
def test_the_table_is_checked_before_the_start(
    dataset: str, columns: str, fields: tuple[str, str], message: str | None
) -> None:
    table = make_table(table_in(dataset, "t"), columns)
    if message is None:
        check_input_table(table, DocumentFields(*fields))
        return
    with pytest.raises(ValueError, match=message) as refusal:
        check_input_table(table, DocumentFields(*fields))
    assert "\n" not in str(refusal.value)


def test_a_table_that_is_not_there(dataset: str) -> None:
    table = table_in(dataset, "nope")
    with pytest.raises(ValueError, match=f"^--input={table}: there is no such table$"):
        check_input_table(table, DocumentFields())


def test_a_view_is_told_from_a_table(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "id STRING, text STRING")
    view = bigquery.Table(f"{dataset}.v")
    view.view_query = f"SELECT id, text FROM {sql_name(table)}"
    bigquery.Client().create_table(view)
    with pytest.raises(ValueError, match=r"is VIEW, which stores no rows; expected --query='SELECT `text` FROM"):
        check_input_table(table_in(dataset, "v"), DocumentFields())


def test_a_table_that_wants_a_filter_is_told_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """As BigQuery answers; the tests' server keeps this setting elsewhere."""
    answer = {
        "tableReference": {"projectId": "p", "datasetId": "d", "tableId": "t"},
        "schema": {"fields": [{"name": "text", "type": "STRING"}]},
        "requirePartitionFilter": True,
    }
    found = bigquery.Table.from_api_repr(answer)
    monkeypatch.setattr("pipeline.checks.table_input.find_table", lambda *_: found)
    table = Table("p", "d", "t")
    with pytest.raises(ValueError, match="requires a filter on its partitions; expected a --query"):
        check_input_table(table, DocumentFields())
    check_input_table(table, DocumentFields(), method="EXPORT")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, dataset: str) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    monkeypatch.setattr(lookups, "CHECK_RETRY", lookups.CHECK_RETRY.with_timeout(1))
    with pytest.raises(ValueError, match=r"^--input=.*: cannot be looked up: ") as refusal:
        check_input_table(table_in(dataset, "t"), DocumentFields())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT id, text FROM {}", None),
        ("SELECT id FROM {}", "--text_field=text: not a column of --query; expected one of id"),
        ("SELECT id, n AS text FROM {}", "--text_field=text: the column of --query is INTEGER; expected STRING"),
        ("SELECT nope FROM {}", "^--query: cannot be run: .*nope"),
        ("SELEC", "^--query: cannot be run: "),
        ("WITH found AS (SELECT id, text FROM {}) SELECT * FROM found", None),
    ],
)
def test_the_query_is_checked_before_the_start(documents: Table, query: str, message: str | None) -> None:
    query = query.format(sql_name(documents))
    if message is None:
        check_query(query, None, DocumentFields())
        return
    with pytest.raises(ValueError, match=message) as refusal:
        check_query(query, None, DocumentFields())
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DELETE FROM {} WHERE TRUE", "--query: is a statement of the kind DELETE; expected a SELECT, which changes nothing"),
        ("/* SELECT */ delete from {} where true", "--query: is a statement of the kind DELETE"),
        ("UPDATE {} SET text = 'gone' WHERE TRUE", "--query: is a statement of the kind UPDATE"),
        ("INSERT INTO {} (id, text) VALUES ('x', 'y')", "--query: is a statement of the kind INSERT"),
        ("TRUNCATE TABLE {}", "--query: is a statement of the kind TRUNCATE TABLE"),
        ("DROP TABLE {}", "--query: is a statement of the kind DROP TABLE"),
        ("CREATE OR REPLACE TABLE {} AS SELECT 'x' AS id, 'y' AS text", "--query: is a statement of the kind CREATE TABLE"),
        ("SELECT id, text FROM {0}; DELETE FROM {0} WHERE TRUE", "--query: is a script of several statements; expected one"),
        ("DELETE FROM {0} WHERE TRUE; SELECT id, text FROM {0}", "--query: is a script of several statements; expected one"),
        ("BEGIN DELETE FROM {} WHERE TRUE; END", "--query: is a script of several statements; expected one"),
    ],
)  # fmt: skip
def test_a_query_that_changes_tables_is_refused_and_not_run(documents: Table, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        check_query(query.format(sql_name(documents)), None, DocumentFields())
    assert "\n" not in str(refusal.value)
    (row,) = bigquery.Client().query(f"SELECT COUNT(*) AS n FROM {sql_name(documents)}").result()
    assert row.n == 32


@pytest.mark.parametrize(
    ("columns", "field", "message"),
    [
        ("id BYTES, text STRING", "id", "is BYTES; expected a text, as in --query='SELECT TO_HEX(`id`) AS `id`, `text` FROM `{}`'"),
        ("id RECORD, text STRING", "id", "is RECORD; expected a single value"),
    ],
)  # fmt: skip
def test_an_id_that_is_no_text_is_refused(dataset: str, columns: str, field: str, message: str) -> None:
    """As BigQuery answers; the tests' server cannot make a RECORD without fields."""
    table = table_in(dataset, "t")
    schema = [bigquery.SchemaField(*column.split()) for column in columns.split(", ")]
    expected = f"--id_field=id: the column of --input={table} {message.format(str(table).replace(':', '.'))}"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        check_text_columns(schema, DocumentFields(), f"--input={table}", table)


def test_a_query_with_bytes_as_its_id_is_told_what_to_select(dataset: str) -> None:
    table = make_table(table_in(dataset, "t"), "id BYTES, text STRING")
    with pytest.raises(ValueError, match=r"--query is BYTES; expected a text, as in TO_HEX\(`id`\) AS `id` in it$"):
        check_query(f"SELECT id, text FROM {sql_name(table)}", None, DocumentFields())


@pytest.mark.parametrize(("number", "id"), [
    ("12.50", "12.5"), ("100", "100"), ("-0.000000001", "-0.000000001"), ("0", "0"),
])  # fmt: skip
def test_a_numeric_id_is_as_bigquery_casts_it(dataset: str, number: str, id: str) -> None:
    table = make_table(table_in(dataset, "t"), "id NUMERIC, text STRING", [{"id": number, "text": "x"}])
    ((document,), failures) = read(ReadTable(table))
    assert (document.id, failures) == (id, [])
    assert json.loads(document.payload or b"")["id"] == id


@pytest.mark.parametrize(("digits", "id"), [("1" * 38 + ".5", "1" * 38 + ".5"), ("1000", "1000"), ("0", "0")])
def test_a_bignumeric_id_is_as_bigquery_casts_it(digits: str, id: str) -> None:
    """The Storage API gives 38 digits behind the point; the tests' server has no such type."""
    with localcontext() as context:
        context.prec = 80
        number = Decimal(digits).quantize(Decimal("1E-38"))
    outcome = document_of_row({"id": number, "text": "x"}, DocumentFields(), "p-p:d.t")
    assert isinstance(outcome, Document)
    assert outcome.id == id


ODD = ["the text", "письмо", "2nd text", "it's"]


@pytest.mark.parametrize("name", ODD)
def test_a_column_that_the_storage_api_refuses_is_told_with_the_query(dataset: str, name: str) -> None:
    """The tests' server refuses such columns in a read session; what it says of others does not matter here."""
    table = table_in(dataset, "t")
    schema = [bigquery.SchemaField("id", "STRING"), bigquery.SchemaField(name, "STRING")]
    bigquery.Client().create_table(bigquery.Table(str(table).replace(":", "."), schema))
    with pytest.raises(ValueError, match=r"^--input=\S+: cannot be read: .*; expected --query=") as refusal:
        check_input_table(table, DocumentFields(name))
    (query, *rest) = shlex.split(str(refusal.value).partition("expected --query=")[2])
    assert query == f"SELECT `id`, `{name}` AS `text` FROM {sql_name(table)},"
    assert rest == ["without", "--text_field", "and", "--id_field"]
    check_query(query.rstrip(","), None, DocumentFields())


def test_the_rights_to_read_are_tried_before_the_start(documents: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionDenied("bigquery.readsessions.create denied")

    monkeypatch.setattr(BigQueryReadClient, "create_read_session", refuse)
    message = f"^--input={documents}: cannot be read: bigquery.readsessions.create denied$"
    with pytest.raises(ValueError, match=message):
        check_input_table(documents, DocumentFields())
    check_input_table(documents, DocumentFields(), method="EXPORT")  # which opens no session


PARTITIONS = [
    (None, "DAY", "20241231", '_PARTITIONTIME = TIMESTAMP "2024-12-31"'),
    (None, "HOUR", "2024123105", '_PARTITIONTIME = TIMESTAMP "2024-12-31 05:00:00"'),
    ("day", "DAY", "20241231", 'DATE_TRUNC(`day`, DAY) = DATE "2024-12-31"'),
    ("at", "MONTH", "202412", 'TIMESTAMP_TRUNC(`at`, MONTH) = TIMESTAMP "2024-12-01"'),
    ("at", "YEAR", "2024", 'TIMESTAMP_TRUNC(`at`, YEAR) = TIMESTAMP "2024-01-01"'),
]


@pytest.mark.parametrize(("field", "kind", "partition", "condition"), PARTITIONS)
def test_a_partition_is_told_with_the_query(
    dataset: str, field: str | None, kind: str, partition: str, condition: str
) -> None:
    table = table_in(dataset, "t")
    schema = [bigquery.SchemaField(*column.split()) for column in ("text STRING", "day DATE", "at TIMESTAMP")]
    made = bigquery.Table(str(table).replace(":", "."), schema)
    made.time_partitioning = bigquery.TimePartitioning(kind, field=field)
    bigquery.Client().create_table(made)
    with pytest.raises(
        ValueError, match=r"is a partition, .*; expected --query=\S+ .*, or --read_method=EXPORT$"
    ) as told:
        check_input_table(Table(table.project, table.dataset, f"t${partition}"), DocumentFields())
    (query,) = shlex.split(str(told.value).partition("expected --query=")[2].partition(", or")[0])
    assert query == f"SELECT `text` FROM {sql_name(table)} WHERE {condition}"
    if field:  # the tests' server has no column _PARTITIONTIME
        check_query(query, None, DocumentFields())


def test_a_partition_of_a_range_is_told_with_what_is_known(dataset: str) -> None:
    make_table(table_in(dataset, "t"), "text STRING, n INTEGER")
    with pytest.raises(ValueError, match=r"FROM `[^`]+`' with a WHERE for the partition, or --read_method=EXPORT$"):
        check_input_table(table_in(dataset, "t$7"), DocumentFields())


@pytest.mark.parametrize("path", ["{0}.{1}.letters_*", "{0}:{1}.letters_*", "`{0}.{1}.letters_*`"])
def test_several_tables_are_told_with_the_query(
    dataset: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for year in (2024, 2025):
        make_table(table_in(dataset, f"letters_{year}"), "text STRING", [{"text": str(year)}])
    given = path.format(*dataset.split("."))
    assert main([f"--input={given}", f"--output={tmp_path}/x"]) == 2
    said = capsys.readouterr().err
    name = f"{dataset}.letters_*"
    assert (
        f"--input={name}: several tables; expected --query='SELECT `text` FROM `{name}`', or ./{name} for files" in said
    )


@pytest.mark.parametrize(
    ("method", "temp_location", "message"),
    [
        ("DIRECT_READ", None, None),
        ("EXPORT", "gs://b/t", None),
        ("EXPORT", None, "--read_method=EXPORT: no place for BigQuery's files; expected --temp_location=gs://"),
        ("EXPORT", "/tmp/x", "--read_method=EXPORT: no place for BigQuery's files; expected --temp_location=gs://"),
        ("FAST", None, "--read_method=FAST: unknown; expected one of DIRECT_READ, EXPORT"),
    ],
)
def test_the_method_is_checked(method: str, temp_location: str | None, message: str | None) -> None:
    if message is None:
        check_read_method(method, temp_location)
        return
    with pytest.raises(ValueError, match=message):
        check_read_method(method, temp_location)


@pytest.mark.parametrize(
    "arguments", [{}, {"table": Table("p-p", "d", "t"), "query": "SELECT 1"}, {"query": "SELECT 1", "method": "x"}]
)
def test_arguments_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"both or neither given; expected one of them|unknown; expected one of"):
        ReadTable(**arguments)


def test_examples_in_docstrings() -> None:
    for module in (client, read_module, table_queries):
        assert doctest.testmod(module).failed == 0
