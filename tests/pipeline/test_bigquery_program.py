"""The program between BigQuery's tables: as a process where it runs, in this process for its mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.cloud import bigquery
from runs import over
from services.bigquery_server import BigQueryServer
from services.clients import REPOSITORY, environment_of
from services.storage_server import StorageServer
from streams import text
from table_factory import documented_sql, keep_results, make_table, proxy, refusal, rows_of, sql_name, table_in

from pipeline.places import Table
from pipeline.run import main
from transforms import TokenClassifier

STRATEGY = "--aggregation_strategy=first"
INSERTS = "--write_method=STREAMING_INSERTS"
LETTERS = {f"letter-{number}": text(number) for number in range(30)}
POISON = ["null-1", "null-2"]


@pytest.fixture
def letters(dataset: str) -> Table:
    """A table of letters, two of which are no text."""
    rows = [{"id": id, "subject": f"From {body[11:20]}", "body": body} for id, body in LETTERS.items()]
    rows += [{"id": id, "subject": f"From Ann Smith, {id}", "body": None} for id in POISON]
    return make_table(table_in(dataset, "letters"), "id STRING, subject STRING, body STRING", rows)


@pytest.fixture(scope="module")
def expected() -> dict[str, list[tuple[str, int, int]]]:
    """What the model finds in each letter."""
    found = TokenClassifier("rampart", aggregation_strategy="first", special_tokens="text")(list(LETTERS.values()))
    return {
        id: [(entity["entity_group"], entity["start"], entity["end"]) for entity in entities]
        for id, entities in zip(LETTERS, found, strict=True)
    }


def run(*flags: str, servers: tuple[Any, ...]) -> str:
    """Runs the program as a process; gives what it prints."""
    command = [sys.executable, "-m", "services.run_program", STRATEGY, *flags]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment_of(*servers), capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Ann Smith" not in ended.stdout + ended.stderr
    return ended.stdout


def spans(entities: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    return [(entity["entity_group"], entity["start"], entity["end"]) for entity in entities]


def errors_of(table: Table) -> Table:
    return Table(table.project, table.dataset, f"{table.table}_error_records")


def assert_buried(table: Table, source: str) -> None:
    """The poison lies in a table, as Google's templates have it."""
    rows = rows_of(table)
    assert {json.loads(row["payloadString"])["id"] for row in rows} == set(POISON)
    for row in rows:
        assert row["stage"] == "parse"
        assert row["errorMessage"].endswith("field 'body' is null")
        assert {"key": "source", "value": source} in [dict(pair) for pair in row["attributes"]]


def test_a_table_to_rows_of_documents(
    letters: Table,
    dataset: str,
    bucket: str,
    expected: Any,
    storage_server: StorageServer,
    bigquery_server: BigQueryServer,
) -> None:
    output = table_in(dataset, "entities")
    flags = [f"--input={letters}", "--text_field=body", f"--output={output}", "--include_text"]
    said = run(*flags, INSERTS, "--partition_by_day", "--cluster_by_id", servers=(storage_server, bigquery_server))
    assert f"30 results, in {output}" in said
    assert f" 2 failures, in {errors_of(output)}" in said
    rows = {row["id"]: row for row in rows_of(output)}
    assert {id: row["text"] for id, row in rows.items()} == LETTERS
    assert {id: spans(row["entities"]) for id, row in rows.items()} == expected
    assert {pair["value"] for row in rows.values() for pair in row["attributes"]} == {str(letters)}
    assert_buried(errors_of(output), str(letters))
    made = bigquery.Client().get_table(str(output).replace(":", "."))
    assert (made.time_partitioning.field, made.clustering_fields) == ("processed_at", ["id"])

    # A second run adds its rows (by files: what is inserted twice within a minute BigQuery takes once); the documented
    # query finds the latest of each document.
    assert main([*flags, STRATEGY, f"--temp_location={bucket}/temp", "--create_disposition=CREATE_NEVER"]) == 0
    again = rows_of(output)
    assert Counter(row["id"] for row in again) == dict.fromkeys(LETTERS, 2)
    latest = bigquery.Client().query(documented_sql(0, output)).result()
    assert sorted(row["processed_at"] for row in latest) == sorted(row["processed_at"] for row in again)[30:]


def test_a_query_to_rows_of_entities_from_files(
    letters: Table, dataset: str, bucket: str, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_results(dataset, monkeypatch)
    output = table_in(dataset, "entities")
    query = f"SELECT * FROM {sql_name(letters)} WHERE id != 'letter-0'"
    flags = [f"--query={query}", f"--project={letters.project}", "--text_field=body", f"--temp_location={bucket}/temp"]
    assert main(over(flags, [STRATEGY, f"--output={output}", "--granularity=entity"])) == 0
    found: dict[str, list[Any]] = {}
    for row in sorted(rows_of(output), key=lambda row: row["entity_number"]):
        found.setdefault(row["id"], []).append((row["entity_group"], row["start"], row["end"]))
    assert found == {id: entities for id, entities in expected.items() if id != "letter-0"}
    assert_buried(errors_of(output), "query")


@pytest.mark.parametrize("method", ["DIRECT_READ", "EXPORT"])
def test_a_query_that_deletes_is_refused(
    letters: Table, bucket: str, method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--query=DELETE FROM {sql_name(letters)} WHERE TRUE", f"--project={letters.project}", "--text_field=body"]
    flags += [f"--read_method={method}", f"--temp_location={bucket}/temp", f"--output={tmp_path}/x"]
    assert main(flags) == 2
    expected = "beam-ner: error: --query: is a statement of the kind DELETE; expected a SELECT, which changes nothing\n"
    assert capsys.readouterr() == ("", expected)
    assert len(rows_of(letters)) == 32


def test_an_exported_table_to_files(letters: Table, bucket: str, expected: Any, tmp_path: Path) -> None:
    """And the dead letter to a table; what had no text in one column is read again from another."""
    dead = table_in(f"{letters.project}.{letters.dataset}", "dead")
    # The other column travels in place of the id, for only these two are read.
    flags = [f"--input={letters}", "--text_field=body", "--id_field=subject", "--read_method=EXPORT", STRATEGY]
    flags += [f"--temp_location={bucket}/temp", f"--output={tmp_path}/first", f"--dead_letter={dead}"]
    assert main(flags) == 0
    found = [json.loads(line) for path in tmp_path.glob("first-*") for line in path.read_text("utf-8").splitlines()]
    assert sorted(spans(row["entities"]) for row in found) == sorted(expected.values())
    assert len(rows_of(dead)) == 2

    again = [f"--replay={dead}", "--text_field=subject", STRATEGY, f"--output={tmp_path}/again"]
    assert main(again) == 0
    (path,) = tmp_path.glob("again-0*")
    rows = list(map(json.loads, path.read_text("utf-8").splitlines()))
    assert sorted(row["id"] for row in rows) == [f"From Ann Smith, {id}" for id in POISON]
    assert [[entity["text"] for entity in row["entities"]][:2] for row in rows] == [["Ann", "Smith"]] * 2


def test_what_bigquery_refused_is_replayed_from_files(
    tmp_path: Path, dataset: str, bigquery_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = table_in(dataset, "entities")
    lines = [json.dumps({"id": id, "text": body}) + "\n" for id, body in LETTERS.items()]
    (tmp_path / "in.jsonl").write_text("".join(lines), "utf-8")

    with (
        proxy(bigquery_server.url, lambda _, insert: refusal(insert, "letter-7")) as (url, _),
        monkeypatch.context() as patch,
    ):
        patch.setenv("BIGQUERY_EMULATOR_HOST", url)
        flags = [f"--input={tmp_path}/in.jsonl", f"--output={output}", f"--dead_letter={tmp_path}/dead.jsonl"]
        assert main([*flags, INSERTS, STRATEGY]) == 0
    assert {row["id"] for row in rows_of(output)} == LETTERS.keys() - {"letter-7"}
    (dead,) = map(json.loads, next(tmp_path.glob("dead-*.jsonl")).read_text("utf-8").splitlines())
    assert (dead["stage"], dead["errorMessage"]) == ("write", "BigQuery rejected the row: invalid at mood")
    assert dead["payloadString"] == lines[7].rstrip()

    flags = [f"--replay={tmp_path}/dead-*.jsonl", f"--output={output}", f"--dead_letter={tmp_path}/again.jsonl"]
    assert main([*flags, INSERTS, STRATEGY]) == 0
    assert Counter(row["id"] for row in rows_of(output)) == dict.fromkeys(LETTERS, 1)


def test_loads_and_what_becomes_of_the_rows_that_are_there(
    dataset: str,
    bucket: str,
    expected: Any,
    tmp_path: Path,
    storage_server: StorageServer,
    bigquery_server: BigQueryServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = table_in(dataset, "entities")

    def flags(begin: int, end: int, *more: str) -> list[str]:
        lines = [json.dumps({"id": id, "text": body}) + "\n" for id, body in list(LETTERS.items())[begin:end]]
        poison = json.dumps({"id": f"poison-{begin}", "text": None}) + "\n"
        (tmp_path / "in.jsonl").write_text("".join([*lines, poison]), "utf-8")
        return [f"--input={tmp_path}/in.jsonl", f"--output={output}", f"--temp_location={bucket}/temp", *more]

    def ids() -> Counter[str]:
        return Counter(row["id"] for row in rows_of(output))

    # As a process, as a user has it; and by the way that is the default.
    said = run(*flags(0, 10), servers=(storage_server, bigquery_server))
    assert f"10 results, in {output}" in said
    assert f" 1 failures, in {errors_of(output)}" in said
    assert {row["id"]: spans(row["entities"]) for row in rows_of(output)} == {
        f"letter-{number}": expected[f"letter-{number}"] for number in range(10)
    }

    assert main([*flags(5, 12, "--write_disposition=WRITE_TRUNCATE"), STRATEGY]) == 0
    assert ids() == {f"letter-{number}": 1 for number in range(5, 12)}
    # The dead letter is added to, whatever becomes of the results.
    assert sorted(json.loads(row["payloadString"])["id"] for row in rows_of(errors_of(output))) == [
        "poison-0",
        "poison-5",
    ]

    capsys.readouterr()
    assert main([*flags(0, 3, "--write_disposition=WRITE_EMPTY"), STRATEGY]) == 2
    assert "contains rows; expected none with --write_disposition=WRITE_EMPTY" in capsys.readouterr().err
    assert ids() == {f"letter-{number}": 1 for number in range(5, 12)}

    # A run without any result leaves none either.
    assert main([*flags(0, 0, "--write_disposition=WRITE_TRUNCATE"), STRATEGY, "--max_failures=1"]) == 0
    assert ids() == {}
    fresh = table_in(dataset, "fresh")  # of the emptied one the server still tells how many rows it had
    assert main(over(flags(0, 3, "--write_disposition=WRITE_EMPTY"), [f"--output={fresh}", STRATEGY])) == 0
    assert Counter(row["id"] for row in rows_of(fresh)) == {f"letter-{number}": 1 for number in range(3)}


def test_failures_of_a_run_into_files_are_inserted(dataset: str, tmp_path: Path) -> None:
    """File loads are for tables of results: here is no --temp_location, from which failures could be loaded."""
    dead = table_in(dataset, "dead")
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "Ann"}\n{"id": "bad"}\n', "utf-8")
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out", f"--dead_letter={dead}", STRATEGY]
    assert main(flags) == 0
    (row,) = rows_of(dead)
    assert json.loads(row["payloadString"]) == {"id": "bad"}


MISTAKES = {
    "no such table": (["--input={d}.gone"], ["--input=", "gone", "no such table"]),
    "no such column": (["--text_field=mood"], ["--text_field=mood: not a column", "body"]),
    "a column that is no text": (["--text_field=number"], ["--text_field=number", "INTEGER; expected STRING"]),
    "a query that is none": (["--input=", "--query=SELEKT 1", "--project=p-project"], ["--query: cannot be run"]),
    "two inputs": (["--query=SELECT 1"], ["--input and --query", "one of them"]),
    "a table that lacks a column": (["--output={d}.narrow"], ["--output=", "narrow", "entities", "missing"]),
    "no table, and none to be made": (["--create_disposition=CREATE_NEVER"], ["--output=", "no such table"]),
    "files without a place for them": (["--write_method=auto"], ["FILE_LOADS", "--temp_location"]),
    "an export without a place": (["--read_method=EXPORT"], ["--read_method=EXPORT", "--temp_location"]),
    "a kind of row": (["--granularity=page"], ["--granularity=page", "document, entity"]),
    "a way of writing": (["--write_method=MAGIC"], ["--write_method=MAGIC", "STREAMING_INSERTS"]),
    "rows of entities with the text": (["--granularity=entity", "--include_text"], ["--include_text"]),
    "rows to replace": (["--write_disposition=WRITE_TRUNCATE"], ["WRITE_TRUNCATE", "FILE_LOADS"]),
    "a dead letter that is the output": (["--dead_letter={d}.entities"], ["--dead_letter=", "the same"]),
    "no dead letter": (["--input=", "--replay={d}.letters"], ["--replay=", "not a table of failures"]),
    "a view": (["--output={d}.view"], ["--output=", "VIEW, which accepts no rows"]),
    "a partition to read": (["--input={d}.letters$20261124"], ["--input=", "$20261124: is a partition", "--query"]),
    "a partition to replay": (["--input=", "--replay={d}.letters$20261124"], ["--replay=", "is a partition"]),
    "what it reads": (["--output={d}.letters"], ["--input=", "where this run writes"]),
    "a partition of what it reads": (["--output={d}.letters$20261124"], ["--input=", "where this run writes"]),
    "failures among what it reads": (["--dead_letter={d}.letters"], ["--input=", "where this run writes"]),
    "a format of rows": (["--input_format=jsonl"], ["--input_format='jsonl'", "columns"]),
}


def test_mistakes_are_told_in_one_line(dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_table(table_in(dataset, "letters"), "id STRING, body STRING, number INTEGER")
    make_table(table_in(dataset, "narrow"), "id STRING")
    view = bigquery.Table(f"{dataset}.view")
    view.view_query = f"SELECT id FROM `{dataset}.letters`"
    bigquery.Client().create_table(view)
    name = dataset.replace(".", ":")
    good = [f"--input={name}.letters", "--text_field=body", f"--output={name}.entities", INSERTS]
    for flags, told in MISTAKES.values():
        assert main(over(good, [flag.replace("{d}", name) for flag in flags])) == 2, flags
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("beam-ner: error: ")
        assert err.count("\n") == 1
        assert all(part in err for part in told), err
    tables = [table.table_id for table in bigquery.Client().list_tables(dataset)]
    assert sorted(tables) == ["letters", "narrow", "view"]  # and nothing has been made
