"""A server behind a proxy that fails on demand, and the environment that the BigQuery server needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.io.gcp.bigquery import WriteToBigQuery
from apache_beam.options.pipeline_options import PipelineOptions
from google.api_core import exceptions
from google.cloud import bigquery

from services import bigquery_server as module
from services.bigquery_server import BigQueryServer
from services.clients import point_beam_at
from services.faults import FaultyProxy


@pytest.fixture
def proxy(bigquery_server: BigQueryServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with FaultyProxy(bigquery_server) as proxy:
        point_beam_at(proxy, patch=monkeypatch)
        yield proxy


@pytest.fixture
def table(dataset: str, proxy: FaultyProxy) -> str:
    name = f"{dataset}.rows"
    bigquery.Client().create_table(bigquery.Table(name, [bigquery.SchemaField("id", "STRING")]))
    return name


def ids(table: str) -> list[str]:
    return sorted(row["id"] for row in bigquery.Client().list_rows(table))


def test_all_is_passed_on(table, proxy):
    assert bigquery.Client().insert_rows_json(table, [{"id": "ü"}]) == []
    assert ids(table) == ["ü"]
    assert {status for _, _, status in proxy.requests} == {200}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_errors_come_as_often_as_asked_for(table, proxy, status):
    proxy.answer(status, times=2, path="insertAll")
    client = bigquery.Client()
    for _ in range(2):
        with pytest.raises(exceptions.from_http_status(status, "").__class__):
            client.insert_rows_json(table, [{"id": "a"}], retry=None)
    assert ids(table) == []
    assert client.insert_rows_json(table, [{"id": "a"}], retry=None) == []
    assert ids(table) == ["a"]


def test_an_answer_may_be_lost_after_the_work(table, proxy):
    proxy.answer(503, path="insertAll", after=True)
    with pytest.raises(exceptions.ServiceUnavailable):
        bigquery.Client().insert_rows_json(table, [{"id": "a"}], retry=None)
    assert ids(table) == ["a"]


def test_beam_is_behind_the_proxy_too(table, proxy):
    proxy.answer(503, path="insertAll")
    with beam.Pipeline(options=PipelineOptions(project="test-project")) as pipeline:
        (
            pipeline
            | beam.Create([{"id": "a"}])
            | WriteToBigQuery(table.replace(".", ":", 1), schema="id:STRING", method="STREAMING_INSERTS")
        )
    assert [status for _, path, status in proxy.requests if "insertAll" in path] == [503, 200]
    assert ids(table) == ["a"]


WIDE = [
    bigquery.SchemaField("id", "STRING", mode="REQUIRED"),
    bigquery.SchemaField("number", "INTEGER"),
    bigquery.SchemaField("parts", "RECORD", mode="REPEATED", fields=[bigquery.SchemaField("word", "STRING")]),
]
GOOD = {"id": "good", "number": 1, "parts": [{"word": "a"}]}


@pytest.mark.parametrize(
    ("row", "location", "message"),
    [
        ({"id": "a", "colour": 1}, "colour", "no such field: colour."),
        ({"id": "a", "parts": [{"word": "b"}, {"colour": 1}]}, "parts.colour", "no such field: parts.colour."),
        ({"number": 1}, "id", "Missing required field: id."),
        ({"id": None}, "id", "Missing required field: id."),
        ({"id": "a", "number": "many"}, None, None),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_reason(dataset, row, location, message):
    table = f"{dataset}.wide"
    client = bigquery.Client()
    client.create_table(bigquery.Table(table, WIDE))
    [other, refused] = client.insert_rows_json(table, [GOOD, row])
    assert (other["index"], other["errors"][0]["reason"]) == (0, "stopped")
    assert (refused["index"], refused["errors"][0]["reason"]) == (1, "invalid")
    if message:
        assert (refused["errors"][0]["location"], refused["errors"][0]["message"]) == (location, message)
    assert ids(table) == []
    [refused] = client.insert_rows_json(table, [GOOD, row], skip_invalid_rows=True)
    assert refused["index"] == 1
    assert ids(table) == ["good"]


def test_an_insert_id_counts_once(table):
    client = bigquery.Client()
    for names in (["a", "b"], ["b", "b", "c"]):
        assert client.insert_rows_json(table, [{"id": name} for name in names], row_ids=names) == []
    assert client.insert_rows_json(table, [{"id": "a"}], row_ids=[None]) == []
    assert ids(table) == ["a", "a", "b", "c"]


def test_a_request_may_have_ten_megabytes(table):
    with pytest.raises(exceptions.GoogleAPICallError) as caught:
        bigquery.Client().insert_rows_json(table, [{"id": "x" * 10_000_000}], retry=None)
    assert caught.value.code == 413
    assert bigquery.Client().insert_rows_json(table, [{"id": "x" * 9_000_000}], retry=None) == []


def test_the_environment_is_made_once_and_anew_after_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / f"half-{len(made)}").touch()
        made.append(folder.name)
        if len(made) == 1:
            raise KeyboardInterrupt

    monkeypatch.setenv("BEAM_NER_TEST_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_install", install)
    with pytest.raises(KeyboardInterrupt):
        module.make_environment()
    threads = [threading.Thread(target=module.make_environment) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert sorted(path.name for path in module.make_environment().iterdir()) == ["complete", "half-1"]
