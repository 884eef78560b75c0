"""Results and failures to BigQuery tables, as transforms."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery

from pipeline.io.bigquery.insert_fn import FAILURES, InsertFailuresFn, InsertResultsFn
from pipeline.io.bigquery.inserts import RETRY_SECONDS, Row
from pipeline.io.bigquery.storage_write import StorageWrite, check_java
from pipeline.io.bigquery.tables import WRITE_DISPOSITIONS, empty_table
from pipeline.io.outcomes import Receipt, Written
from pipeline.places import Table
from pipeline.schemas import (
    FAILURE_FIELDS,
    GRANULARITIES,
    Field,
    bigquery_schema,
    failure_json_row,
    table_fields,
    table_rows,
)
from transforms.documents import DocumentEntities, Failure

WRITE_METHODS = ("FILE_LOADS", "STREAMING_INSERTS", "STORAGE_WRITE_API")


def write_method(
    method: str, streaming: bool, temp_location: str | None, write_disposition: str = "WRITE_APPEND"
) -> str:
    """The way of writing that a run takes, checked.

    Args:
        method: One of `WRITE_METHODS`, or `auto`: loads of files in batch, streaming inserts in streaming.
        streaming: Whether the run ever ends by itself.
        temp_location: The pipeline's place for temporary files.
        write_disposition: What becomes of the table's rows.

    Raises:
        ValueError: If it does not fit the rest, in one line.
    """
    if method == "auto":
        method = "STREAMING_INSERTS" if streaming else "FILE_LOADS"
    if method not in WRITE_METHODS:
        raise ValueError(f"--write_method={method} is none of auto, {', '.join(WRITE_METHODS)}")
    if write_disposition not in WRITE_DISPOSITIONS:
        raise ValueError(f"--write_disposition={write_disposition} is none of {', '.join(WRITE_DISPOSITIONS)}")
    if write_disposition == "WRITE_TRUNCATE" and (method != "FILE_LOADS" or streaming):
        raise ValueError("--write_disposition=WRITE_TRUNCATE needs --write_method=FILE_LOADS, and a run that ends")
    if method == "FILE_LOADS" and streaming:
        raise ValueError("--write_method=FILE_LOADS waits for the end of the input, and a stream has none")
    if method == "FILE_LOADS" and not (temp_location or "").startswith("gs://"):
        raise ValueError(
            "--write_method=FILE_LOADS needs --temp_location=gs://bucket/folder, from which BigQuery loads the files;"
            " --write_method=STREAMING_INSERTS needs no such place"
        )
    if method == "STORAGE_WRITE_API":
        check_java()
    return method


class WriteResultTable(beam.PTransform):
    """Writes PCollection[DocumentEntities] to a table that is there, and gives `Written`.

    See `pipeline.io.bigquery.tables.prepare_table`, which makes the table before the start. A second run over the
    same documents adds a second row for each of them (`WRITE_APPEND`); docs/bigquery.md has the query for the latest.

    `STREAMING_INSERTS` gives a document's receipt when BigQuery has all of its rows, and the documents whose rows it
    refuses as failures. A row's insert id is a hash of the document's id, its text and the row's number, so that
    BigQuery drops most repetitions of the last minute or so; like documents of a bundle that are not messages are none.
    `FILE_LOADS` is for batch: all rows or none, at the end; there are neither receipts nor failures, and a load that
    is refused fails the run.
    `STORAGE_WRITE_API`, at least once, gives refused rows as failures, but tells nobody what it has written: its
    documents' receipts are never given, so a source that waits for them will send the documents again.

    Args:
        table: The table.
        strategy: The aggregation strategy that made the entities; the columns depend on it.
        include_text: Whether to write the document's text.
        granularity: `document` for a row a document with nested entities, `entity` for a row an entity; then, a
            document without entities has none.
        method: One of `WRITE_METHODS`.
        write_disposition: For `FILE_LOADS`, what becomes of the rows that the table has.
        retry_seconds: For `STREAMING_INSERTS`, how long transient errors are retried.

    Raises:
        ValueError: If an argument is unknown, or entities' rows are to repeat the text.
    """

    def __init__(
        self,
        table: Table,
        strategy: str,
        include_text: bool = False,
        granularity: str = "document",
        method: str = "STREAMING_INSERTS",
        *,
        write_disposition: str = "WRITE_APPEND",
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__()
        check_granularity(granularity, include_text)
        _check_method(method)
        self._table = table
        self._fields = table_fields(strategy, include_text, granularity)
        self._rows_of = partial(result_rows, include_text=include_text, granularity=granularity)
        self._method = method
        self._disposition = write_disposition
        self._retry_seconds = retry_seconds

    def expand(self, results: Any) -> Written:
        if self._method == "STREAMING_INSERTS":
            insert = InsertResultsFn(self._table, partial(_insert_rows, rows_of=self._rows_of), self._retry_seconds)
            written = results | "Insert" >> beam.ParDo(insert).with_outputs(FAILURES, main="receipts")
            return Written(written["receipts"], written[FAILURES])
        rows = results | "Rows" >> beam.FlatMap(self._rows_of)
        if self._method == "FILE_LOADS":
            return _load(rows, self._table, self._fields, self._disposition)
        failures = rows | "StorageWrite" >> StorageWrite(self._table, self._fields)
        return Written(_nothing(rows, "NoReceipts"), failures)


class WriteFailureTable(beam.PTransform):
    """Writes PCollection[Failure] to a table that is there, and gives `Written`, without failures of its own.

    Streaming inserts give each failure's receipt when BigQuery has its row. A failure too large for one (a record of
    about 4 MB, since it is there both as text and in base64) is loaded as a file. One that cannot be written fails the
    bundle: nothing is lost, and the runner tries again.

    Args:
        table: The table.
        method: `STREAMING_INSERTS`, or for batch `FILE_LOADS`.
        retry_seconds: For `STREAMING_INSERTS`, how long transient errors are retried.

    Raises:
        ValueError: If the method is another one.
    """

    def __init__(
        self, table: Table, method: str = "STREAMING_INSERTS", *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        super().__init__()
        _check_method(method, ("STREAMING_INSERTS", "FILE_LOADS"))
        self._table = table
        self._method = method
        self._retry_seconds = retry_seconds

    def expand(self, failures: Any) -> Written:
        if self._method == "FILE_LOADS":
            rows = failures | "Rows" >> beam.Map(failure_json_row)
            return _load(rows, self._table, FAILURE_FIELDS, "WRITE_APPEND")
        insert = InsertFailuresFn(self._table, failure_insert_rows, self._retry_seconds)
        receipts = failures | "Insert" >> beam.ParDo(insert)
        return Written(receipts, _nothing(failures, "NoFailures"))


def check_granularity(granularity: str, include_text: bool) -> None:
    """Refuses a kind of row that is unknown, or has no place for the text.

    Raises:
        ValueError: In one line.
    """
    if granularity not in GRANULARITIES:
        raise ValueError(f"--granularity={granularity} is none of {', '.join(GRANULARITIES)}")
    if granularity == "entity" and include_text:
        raise ValueError("--include_text needs --granularity=document: each entity's row would repeat the text")


def _check_method(method: str, known: tuple[str, ...] = WRITE_METHODS) -> None:
    if method not in known:
        raise ValueError(f"method={method!r} is none of {', '.join(known)}")


def result_rows(result: DocumentEntities, include_text: bool, granularity: str) -> list[dict[str, Any]]:
    """The rows of a result that is being written now."""
    return table_rows(result, include_text, granularity, time.time())


def _insert_rows(result: DocumentEntities, rows_of: Callable[[DocumentEntities], list[dict[str, Any]]]) -> list[Row]:
    return [Row.of(values, insert_id(result, number)) for number, values in enumerate(rows_of(result))]


def insert_id(result: DocumentEntities, number: int) -> str:
    """The id by which BigQuery knows a row that is sent again.

    It hashes the text too, so that another document under the same id is not taken for a repetition; but no score,
    which may differ in its last digits from batch to batch.

    Args:
        result: The result.
        number: The row's place among the result's rows.
    """
    return _hash(result.id, result.text, str(number))


def failure_insert_rows(failure: Failure) -> list[Row]:
    """The row of a failure; its id hashes what failed and why, but not when.

    Of a message it hashes also which one it was, but not which delivery of it: another message that fails in the same
    way has a row of its own, the same message delivered again has not. Records of files and tables have no such
    name; of those the step that inserts them tells like ones of a bundle apart.
    """
    attributes = json.dumps(sorted(failure.attributes.items()))
    message = Receipt.parse(failure.receipt).key if failure.receipt else ""
    name = _hash(failure.payload.hex(), attributes, failure.stage, failure.error, message)
    return [Row.of(failure_json_row(failure), name)]


def _hash(*parts: str) -> str:
    joined = json.dumps(parts).encode("ascii")  # a join by any mark would let "a", "b/c" be "a/b", "c"
    return hashlib.sha256(joined).hexdigest()[:32]


def _load(rows: Any, table: Table, fields: tuple[Field, ...], disposition: str) -> Written:
    _ = rows | "Load" >> WriteToBigQuery(
        table=str(table),
        schema=bigquery_schema(fields),
        method=WriteToBigQuery.Method.FILE_LOADS,
        create_disposition=BigQueryDisposition.CREATE_NEVER,
        write_disposition=disposition,
    )
    if disposition == "WRITE_TRUNCATE":
        # Without a row Beam loads nothing, and the table would keep those that it has.
        _ = rows | "Count" >> beam.combiners.Count.Globally() | "EmptyIfNone" >> beam.Map(_empty_if_none, table)
    return Written(_nothing(rows, "NoReceipts"), _nothing(rows, "NoFailures"))


def _empty_if_none(count: int, table: Table) -> None:
    if not count:
        empty_table(table)


def _nothing(beside: Any, label: str) -> Any:
    """An empty PCollection in the windows of another one, so that the two can be flattened with its kin."""
    return beside | label >> beam.Filter(_never)


def _never(element: Any) -> bool:
    return False
