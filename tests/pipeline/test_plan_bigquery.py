"""A plan for what lies in BigQuery, from a real server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from table_factory import keep_results, make_table, rows_of, sql_name, table_in

from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.options import NerOptions
from pipeline.places import Query, Table
from pipeline.plan.command import main
from pipeline.plan.measure import read_sample

SECRET = "Quillfeather"


@pytest.fixture
def letters(dataset: str) -> Table:
    """A table with a row that is no document."""
    rows = [{"id": str(n), "text": f"My name is Ann {SECRET}, number {n}.", "n": n} for n in range(30)]
    return make_table(table_in(dataset, "letters"), "id STRING, text STRING, n INTEGER", [*rows, {"id": "none"}])


def test_a_table_or_a_query_is_sampled(
    letters: Table, dataset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep_results(dataset, monkeypatch)
    flags = ["--project=test-project", "--documents=1e6", "--worker_types=n2-standard-8", "--sample_seconds=0.01"]
    query = f"SELECT id, text FROM {sql_name(letters)} WHERE n < 7"
    for place, found in ((f"--input={letters}", 30), (f"--query={query}", 7)):
        assert main([*flags, place, "--json"]) == 0
        plan_of = json.loads(capsys.readouterr().out)
        assert plan_of["measured"]["documents"] == found
        assert plan_of["measured"]["bytes_in"] > 50
        assert plan_of["assumptions"]["part_bytes"] is None  # the documents of a table are dealt out
        assert any("1 records cannot be read" in warning for warning in plan_of["warnings"]) == (found == 30)


def test_a_query_that_deletes_is_refused(letters: Table, capsys: pytest.CaptureFixture[str]) -> None:
    query = f"DELETE FROM {sql_name(letters)} WHERE TRUE"
    assert main(["--project=test-project", "--documents=1e6", f"--query={query}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("--query: is a statement of the kind DELETE; expected a SELECT, which changes nothing\n")
    assert len(rows_of(letters)) == 31


def test_a_query_that_fails_while_it_runs_quotes_no_row(letters: Table, tmp_path: Path) -> None:
    """The server here refuses such a query before the start; BigQuery finds out when it reads the rows."""
    (tmp_path / "in.txt").write_text("Ann\n")
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x"])
    config = NerConfig.from_options(options.view_as(NerOptions))
    query = Query(f"SELECT CAST(CAST(text AS INT64) AS STRING) AS text FROM {sql_name(letters)}")
    with pytest.raises(ValueError, match=r"^--query: the query failed with \w+; see BigQuery's job \S+$"):
        read_sample(replace(config, input=query), 10, "test-project")
