"""Streaming inserts: limits, retries and refusals, over the wire to a server in front of the real one."""

from __future__ import annotations

import json
import logging
from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st
from table_factory import Answer, make_table, proxy, rows_of, table_in

from pipeline.io.bigquery.inserts import (
    MAX_REQUEST_BYTES,
    MAX_REQUEST_ROWS,
    Inserter,
    Refusal,
    Row,
    UnwrittenError,
    describe_refusal,
    requests_of,
)
from pipeline.places import Table


def error(status: int, reason: str, message: str = "secret") -> Answer:
    return status, {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}


def insert_errors(*reasons: tuple[int, str]) -> Answer:
    errors = [
        {"index": index, "errors": [{"reason": reason, "location": "n", "message": "Bad value: secret"}]}
        for index, reason in reasons
    ]
    return 200, {"insertErrors": errors}


def some_rows(count: int) -> list[Row]:
    return [Row.of({"id": f"d{i}"}, f"insert-{i}") for i in range(count)]


@pytest.fixture
def table(dataset: str) -> Table:
    return make_table(table_in(dataset, "t"), "id STRING, n INTEGER")


def ids(table: Table) -> list[str]:
    return sorted(row["id"] for row in rows_of(table))


class Insertion:
    """What came of an insert through a server that gives certain answers first."""

    def __init__(self, table: Table, answers: Any, server: Any, patch: pytest.MonkeyPatch, rows: list[Row]) -> None:
        self.waits: list[float] = []
        if isinstance(answers, list):
            queue = list(answers)
            answers = lambda path, body: queue.pop(0) if queue else None  # noqa: E731
        with proxy(server.url, answers) as (url, self.requests), patch.context() as patched:
            patched.setenv("BIGQUERY_EMULATOR_HOST", url)
            inserter = Inserter(table, 600, sleep=self.waits.append)
            inserter._retries = Mock()
            self.refusals: list[Refusal] = inserter.insert(rows)
            self.retries = inserter._retries.inc.call_count


ALL = sorted(f"d{i}" for i in range(10))


@pytest.mark.parametrize(
    ("answers", "written"),
    [
        ([], ALL),
        ([error(500, "backendError"), error(503, "backendError"), error(502, ""), error(504, "")], ALL),
        ([error(429, "rateLimitExceeded")] * 12, ALL),
        ([error(403, "rateLimitExceeded"), error(403, "quotaExceeded")], ALL),
        ([error(404, "notFound")], ALL),
        ([insert_errors(*((i, "stopped") for i in range(10)))], ALL),
        # The server in front says that it has taken the others, and has not.
        ([insert_errors((1, "backendError")), insert_errors((0, "timeout"))], ["d1"]),
    ],
    ids=["none", "5xx", "429", "quota", "not there yet", "all stopped", "of a row"],
)
def test_transient_errors_lose_nothing(
    table: Table,
    answers: list[Answer],
    written: list[str],
    bigquery_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    insertion = Insertion(table, answers, bigquery_server, monkeypatch, some_rows(10))
    assert insertion.refusals == []
    assert ids(table) == written
    assert {row["insertId"] for row in insertion.requests[0]["rows"]} == {f"insert-{i}" for i in range(10)}
    assert len(insertion.waits) == insertion.retries == len(answers)
    assert all(wait <= 30 for wait in insertion.waits)
    assert "secret" not in caplog.text
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == len(answers)


def test_only_what_was_put_off_is_sent_again(
    table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [insert_errors((2, "backendError"), (5, "timeout")), None]
    insertion = Insertion(table, answers, bigquery_server, monkeypatch, some_rows(10))
    assert [row["json"]["id"] for row in insertion.requests[1]["rows"]] == ["d2", "d5"]
    assert ids(table) == ["d2", "d5"]


def test_rows_that_another_one_stopped_are_sent_again_at_once(
    table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [insert_errors((0, "stopped"), (1, "invalid"), (2, "stopped"), (3, "stopped"))]
    insertion = Insertion(table, answers, bigquery_server, monkeypatch, some_rows(4))
    assert [refusal.row.values["id"] for refusal in insertion.refusals] == ["d1"]
    assert insertion.refusals[0].reason == "BigQuery rejected the row: invalid at n"
    assert ids(table) == ["d0", "d2", "d3"]
    assert insertion.waits == []


@pytest.mark.parametrize("status", [400, 413])
def test_one_row_that_spoils_a_request_is_found(
    table: Table, status: int, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(path: str, body: dict[str, Any]) -> Answer | None:
        spoilt = any(row["json"]["id"] in {"d3", "d11"} for row in body["rows"])
        return error(status, "invalid") if spoilt else None

    insertion = Insertion(table, answer, bigquery_server, monkeypatch, some_rows(20))
    assert [refusal.row.values["id"] for refusal in insertion.refusals] == ["d3", "d11"]
    assert all("secret" not in refusal.reason for refusal in insertion.refusals)
    assert ids(table) == sorted(f"d{i}" for i in range(20) if i not in {3, 11})
    assert insertion.waits == []


def test_the_real_servers_refusal(table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*some_rows(3), Row.of({"id": "secret", "n": "many"}, "x"), *some_rows(2)]
    insertion = Insertion(table, [], bigquery_server, monkeypatch, rows)
    (refusal,) = insertion.refusals
    assert refusal.row.values["n"] == "many"
    assert refusal.reason.startswith("BigQuery rejected the row: invalid at ")
    assert "secret" not in refusal.reason
    assert Counter(ids(table)) == Counter(["d0", "d1", "d2"])  # those sent twice have the same insert ids


def test_time_is_bounded(table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of the retries, which stands while a request is under way and moves by what they sleep."""
    waits: list[float] = []
    monkeypatch.setattr(tenacity, "time", SimpleNamespace(monotonic=lambda: sum(waits)))
    with proxy(bigquery_server.url, lambda *_: error(503, "backendError")) as (url, requests):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        with pytest.raises(UnwrittenError, match=r"3 rows could not be written in 100 s: 503 ServiceUnavailable"):
            Inserter(table, 100, sleep=waits.append).insert(some_rows(3))
    assert sum(waits) < 100
    assert len(requests) == len(waits) + 1 > 4


def test_nobody_listens(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:9")
    waits: list[float] = []
    with pytest.raises(UnwrittenError, match="ConnectionError"):
        Inserter(table, 0.5, sleep=waits.append).insert(some_rows(1))


def test_no_permission_is_told_at_once(table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnwrittenError, match="rejected the request: 403 Forbidden"):
        Insertion(table, [error(403, "accessDenied")], bigquery_server, monkeypatch, some_rows(1))


def test_waits_do_not_grow_with_what_has_succeeded(
    table: Table, bigquery_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    answers: list[Answer | None] = [*[None] * 20, error(500, "backendError"), None, error(500, "backendError")]
    with proxy(bigquery_server.url, lambda *_: answers.pop(0) if answers else None) as (url, _):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        inserter = Inserter(table, 600, sleep=waits.append)
        for row in some_rows(22):
            inserter.insert([row])
    assert len(waits) == 2
    assert max(waits) <= 0.5


@given(st.lists(st.integers(1, MAX_REQUEST_BYTES)), st.integers(0, 1200))
def test_requests_keep_the_limits_and_all_rows(sizes: list[int], small: int) -> None:
    rows = [Row({}, str(number), size) for number, size in enumerate([*sizes, *[100] * small])]
    requests = list(requests_of(rows))
    assert [row for request in requests for row in request] == rows
    assert all(0 < len(request) <= MAX_REQUEST_ROWS for request in requests)
    assert all(sum(row.size for row in request) <= MAX_REQUEST_BYTES for request in requests)


@pytest.mark.parametrize("text", ["a" * 1000, "東" * 1000, "🙂" * 500, '"\n' * 200])
def test_a_row_is_as_large_as_what_is_sent(text: str) -> None:
    row = Row.of({"id": "d", "text": text}, "x" * 32)
    sent = len(json.dumps({"rows": [{"json": row.values, "insertId": row.id}]}))
    assert sent - 128 <= row.size <= sent + 128


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("no such field: x.", "BigQuery rejected the row: invalid: no such field"),
        ("Cannot convert value to floating point (bad value): secret", ": invalid: Cannot convert value to floating"),
        ("Could not parse 'secret' as a timestamp", "BigQuery rejected the row: invalid"),
        ("Missing required field: Msg_0_CLOUD_QUERY_TABLE.id.", ": invalid: Missing required field"),
        ("", "BigQuery rejected the row: invalid"),
    ],
)
def test_what_is_said_of_a_refusal_quotes_no_value(message: str, expected: str) -> None:
    said = describe_refusal(message, "invalid")
    assert said.endswith(expected)
    assert "secret" not in said
