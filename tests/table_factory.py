"""What the tests of BigQuery share: tables to read, results to write, and servers in front of the real one."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import apache_beam as beam
import pytest
from google.cloud import bigquery

from pipeline.places import Table
from transforms.documents import Document, DocumentEntities, Entity

DOCS = Path(__file__).parents[1] / "docs" / "bigquery.md"
Answer = tuple[int, dict[str, Any]]


def table_in(dataset: str, name: str) -> Table:
    """A table of the `dataset` fixture."""
    project, _, short = dataset.partition(".")
    return Table(project, short, name)


def sql_name(table: Table) -> str:
    return f"`{table.project}.{table.dataset}.{table.table}`"


def make_table(table: Table, columns: str, rows: list[dict[str, Any]] | None = None) -> Table:
    """Makes a table of columns such as `id STRING, text STRING REQUIRED`."""
    schema = [bigquery.SchemaField(*column.split()) for column in columns.split(", ")]
    client = bigquery.Client()
    client.create_table(bigquery.Table(str(table).replace(":", "."), schema))
    if rows:
        assert client.insert_rows_json(str(table).replace(":", "."), rows) == []
    return table


def rows_of(table: Table, query: str = "SELECT * FROM {}") -> list[dict[str, Any]]:
    return [dict(row) for row in bigquery.Client().query(query.format(sql_name(table))).result()]


def keep_results(dataset: str, patch: pytest.MonkeyPatch) -> None:
    """Puts the results of queries into tables of a data set: the server's Storage API has no temporary tables."""
    query = bigquery.Client.query

    def keeping(client: bigquery.Client, sql: str, config: Any = None, **rest: Any) -> Any:
        if config is not None and not config.dry_run:
            config.destination = f"{dataset}.result_{uuid.uuid4().hex}"
        return query(client, sql, config, **rest)

    patch.setattr(bigquery.Client, "query", keeping)


def documented_sql(number: int, table: Table, latest: Table | None = None) -> str:
    """A statement of docs/bigquery.md about a table: the latest rows of documents, of entities, and the MERGE."""
    statement = re.findall(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)[number]
    if latest is not None:
        statement = statement.replace("`project.dataset.table_latest`", sql_name(latest))
    return statement.replace("`project.dataset.table`", sql_name(table))


def refusal(insert: dict[str, Any], id: str) -> Answer | None:
    """BigQuery's answer to an insert where it takes all rows but one; None where that one is not among them."""
    hit = [row["json"]["id"] == id for row in insert["rows"]]
    invalid, stopped = {"reason": "invalid", "location": "mood", "message": "secret"}, {"reason": "stopped"}
    errors = [{"index": index, "errors": [invalid if each else stopped]} for index, each in enumerate(hit)]
    return (200, {"insertErrors": errors}) if any(hit) else None


def a_result(id: str, words: int = 2, **changes: Any) -> DocumentEntities:
    """The result of the text `w0 w1 …`, each word an entity."""
    entities = tuple(Entity("PER", 0.5, f"w{i}", 3 * i, 3 * i + 2, f"w{i}") for i in range(words))
    text = " ".join(f"w{i}" for i in range(words))
    settings: dict[str, Any] = {"attributes": {"source": "s"}, "receipt": f"receipt-{id}", "payload": b"{payload}"}
    return DocumentEntities(Document(id, text, **(settings | changes)), entities, words, 1, False, "m", "r", "first")


def collect(pcollection: Any, into: list[Any], label: str) -> None:
    """Appends what the runner in this process computes to a list."""
    _COLLECTED[id(into)] = into
    _ = pcollection | label >> beam.Map(_append, id(into))


_COLLECTED: dict[int, list[Any]] = {}


def _append(element: Any, key: int) -> None:
    _COLLECTED[key].append(element)


@contextmanager
def proxy(
    url: str,
    answer: Callable[[str, dict[str, Any]], Answer | None],
    passed: Callable[[dict[str, Any]], None] | None = None,
    headers: Callable[[Message], None] | None = None,
) -> Iterator[tuple[str, list[dict]]]:
    """A server in front of another.

    Args:
        url: The other.
        answer: Called with the path and the body of each insert; what it gives is the answer, None lets it pass. It may
            change the body.
        passed: Called with the body of each insert that the other has answered.
        headers: Called with the headers of each request.

    Yields:
        The address, and the bodies of the inserts so far.
    """
    inserts: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parsed = None
            if headers is not None:
                headers(self.headers)
            if self.path.partition("?")[0].endswith("/insertAll"):
                parsed = json.loads(body)
                inserts.append(parsed)
                given = answer(self.path, parsed)
                if given is not None:
                    self._send(given[0], json.dumps(given[1]).encode())
                    return
                body = json.dumps(parsed).encode()
            kept = {name: self.headers[name] for name in ("Content-Type", "Accept") if name in self.headers}
            request = urllib.request.Request(url + self.path, body or None, kept, method=self.command)
            try:
                with urllib.request.urlopen(request) as response:
                    status, content = response.status, response.read()
                if parsed is not None and passed is not None:
                    passed(parsed)
                self._send(status, content)
            except HTTPError as error:
                self._send(error.code, error.read())

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            with suppress(BrokenPipeError):  # whoever asked was killed meanwhile
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", inserts
    finally:
        server.shutdown()
        server.server_close()
