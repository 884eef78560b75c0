"""The program between a subscription and a BigQuery table, as a process, with kills and with servers' bad days."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from services.bigquery_server import BigQueryServer
from services.clients import PROJECT
from services.pubsub_queue import Message
from streams import LONG, PATIENCE_SECONDS, SUBSCRIPTION, Stream, letter, seconds_for, text
from table_factory import documented_sql, proxy, refusal, rows_of, table_in

from pipeline.places import Table
from pipeline.run import main
from transforms import TokenClassifier

FIRST = "--aggregation_strategy=first"


class TableStream(Stream):
    """The program between a subscription and a table."""

    poll_seconds = 1.0 if LONG else 0.25  # the server that is asked is the one that takes the rows

    def __init__(self, folder: Path, table: Table, url: str, *flags: str, **broker: Any) -> None:
        server = SimpleNamespace(environment={"BIGQUERY_EMULATOR_HOST": url, "GOOGLE_CLOUD_PROJECT": PROJECT})
        super().__init__(folder, f"--output={table}", *flags, servers=[server], **broker)
        self.table = table

    def ids(self) -> Counter[str]:
        try:
            rows = rows_of(self.table, "SELECT id, COUNT(*) AS number FROM {} GROUP BY id")
        except NotFound:  # the program has not made it yet
            return Counter()
        return Counter({row["id"]: row["number"] for row in rows})


def latest_ids(table: Table) -> Counter[str]:
    """The ids in what the documented query gives."""
    return Counter(row["id"] for row in bigquery.Client().query(documented_sql(0, table)).result())


def attributes(row: dict[str, Any]) -> dict[str, str]:
    return {pair["key"]: pair["value"] for pair in row["attributes"]}


def test_letters_at_a_steady_pace(tmp_path: Path, dataset: str, bigquery_server: BigQueryServer) -> None:
    table = table_in(dataset, "entities")
    with TableStream(tmp_path, table, bigquery_server.url, FIRST, "--include_text") as stream:
        stream.start()
        begin = time.time()
        stream.publish([letter(0)])
        stream.wait_for_results(1)
        stream.publish_steadily(range(1, 2000))
        stream.wait_for_results(2000)
        stream.wait_for_acknowledgements()
        assert stream.terminate() == 0
        assert f"2,000 results, in {table}" in stream.log()

    rows = {row["id"]: row for row in rows_of(table)}
    assert stream.ids() == {f"letter-{number}": 1 for number in range(2000)}
    classifier = TokenClassifier("rampart", aggregation_strategy="first", special_tokens="text")
    for number in range(2000):
        row = rows[f"letter-{number}"]
        assert row["text"] == text(number)
        assert attributes(row) == {"key": f"letter-{number}", "data": f"d{number}"}
        assert begin <= row["event_time"].timestamp() <= row["processed_at"].timestamp() <= time.time()
    for number in range(5):
        found = [(e["entity_group"], e["start"], e["end"]) for e in rows[f"letter-{number}"]["entities"]]
        assert found == [(e["entity_group"], e["start"], e["end"]) for e in classifier(text(number))]


def test_bad_days_lose_nothing(
    tmp_path: Path, dataset: str, bigquery_server: BigQueryServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each letter comes three times, BigQuery has errors for a while, and it refuses one row for good."""
    table, dead = table_in(dataset, "entities"), table_in(dataset, "entities_error_records")
    statuses = [500, 429, 500]

    def answer(path: str, insert: dict[str, Any]) -> Any:
        if f"/{table.table}/" not in path:
            return None
        if statuses:
            return statuses.pop(), {"error": {"message": "secret", "errors": [{"reason": "backendError"}]}}
        return refusal(insert, "letter-77")

    count = 10_000 if LONG else 600
    letters = {f"letter-{number}" for number in range(count)}
    with (
        proxy(bigquery_server.url, answer) as (url, _),
        TableStream(tmp_path, table, url, FIRST, deliver_times=3) as stream,
    ):
        stream.publish(letter(number) for number in range(count))
        stream.publish([letter(5), letter(6)])  # other messages, by the same ids
        stream.start()
        stream.wait_for_results(count - 1, seconds_for(count))
        stream.wait_for_acknowledgements()
        assert stream.terminate() == 0
        log = stream.log()
    assert statuses == []
    assert stream.ids() == dict.fromkeys(letters - {"letter-77"}, 1)
    (failure,) = rows_of(dead)
    assert failure["errorMessage"] == "BigQuery rejected the row: invalid at mood"
    assert (failure["stage"], failure["payloadBytes"]) == ("write", text(77).encode())
    assert attributes(failure) == {"key": "letter-77", "data": "d77", "id": "letter-77"}
    assert "attempt 1 failed" in log
    assert "secret" not in log
    assert "Baker Street" not in log

    # The cause is gone: what was refused comes in by a replay.
    flags = [f"--replay={dead}", f"--output={table}", "--write_method=STREAMING_INSERTS", FIRST]
    assert main([*flags, "--input_format=text", f"--dead_letter={tmp_path}/dead"]) == 0, capsys.readouterr().err
    assert stream.ids() == dict.fromkeys(letters, 1)


def delete(table: Table) -> None:
    bigquery.Client().delete_table(str(table).replace(":", "."))


def test_a_table_that_is_deleted_meanwhile_is_made_again(
    tmp_path: Path, dataset: str, bigquery_server: BigQueryServer
) -> None:
    table, dead = table_in(dataset, "entities"), table_in(dataset, "entities_error_records")
    flags = ["--input_format=jsonl", "--partition_by_day", "--cluster_by_id"]
    with TableStream(tmp_path, table, bigquery_server.url, *flags) as stream:
        stream.start()
        stream.publish([Message(b'{"text": "Ann"}', {"key": "a"}), b"no json"])
        stream.wait_for_results(1)
        stream.wait_for_acknowledgements()
        delete(table)
        delete(dead)
        stream.publish([Message(b'{"text": "Tom"}', {"key": "b"}), b"again no json"])
        stream.wait_for_results(1)
        stream.wait_for_acknowledgements()
        assert stream.terminate() == 0
        log = stream.log()
    assert stream.ids() == {"b": 1}
    assert [row["payloadBytes"] for row in rows_of(dead)] == [b"again no json"]
    made = bigquery.Client().get_table(str(table).replace(":", "."))
    assert (made.time_partitioning.field, made.clustering_fields) == ("processed_at", ["id"])
    assert log.count("was deleted, and is made again") == 2


def test_a_table_that_is_deleted_meanwhile_and_must_not_be_made_ends_the_stream(
    tmp_path: Path, dataset: str, bigquery_server: BigQueryServer
) -> None:
    table = table_in(dataset, "entities")
    with TableStream(tmp_path, table, bigquery_server.url) as stream:  # makes the tables
        stream.start()
        stream.publish([letter(0)])
        stream.wait_for_results(1)
        stream.wait_for_acknowledgements()
        assert stream.terminate() == 0
    with TableStream(tmp_path, table, bigquery_server.url, "--create_disposition=CREATE_NEVER") as stream:
        stream.start()
        stream.publish([letter(1)])
        stream.wait_for_results(2)
        stream.wait_for_acknowledgements()
        delete(table)
        stream.publish([letter(2)])
        assert stream.process is not None
        assert stream.process.wait(PATIENCE_SECONDS) == 1
        assert stream.broker.unacknowledged(SUBSCRIPTION) == 1
        (sentence,) = [line for line in stream.log().splitlines() if line.startswith("beam-ner: error")]
    assert f"{table}: was deleted while the run writes to it; expected a table, or --create_disposition" in sentence


def test_kills_lose_nothing(tmp_path: Path, dataset: str, bigquery_server: BigQueryServer) -> None:
    kills = 20 if LONG else 3
    table = table_in(dataset, "entities")

    def forget(path: str, insert: dict[str, Any]) -> None:
        """BigQuery does not promise to know a row's id again."""
        for row in insert["rows"]:
            del row["insertId"]

    def linger(insert: dict[str, Any]) -> None:
        """So that kills hit what is written and not acknowledged yet."""
        time.sleep(0.3)

    with (
        proxy(bigquery_server.url, forget, linger) as (url, _),
        TableStream(tmp_path, table, url) as stream,
    ):
        letters = stream.outlive_kills(10_000 if LONG else 1_500, kills, a_second=40 if LONG else 80)
        assert stream.terminate() == 0
        expired = stream.broker.counts(SUBSCRIPTION).expired
    ids = stream.ids()
    assert set(ids) == {f"letter-{number}" for number in range(letters)}
    print(
        f"\n{kills} kills over {letters:,} letters into a table: none lost, {expired} delivered again,"
        f" {sum(ids.values()) - letters} rows came twice"
    )
    assert expired > 0  # the kills did hit work
    assert latest_ids(table) == dict.fromkeys(ids, 1)
