"""Transforms that write results and failures to BigQuery tables."""

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
from pipeline.io.bigquery.storage_write import StorageWrite
from pipeline.io.bigquery.tables import TableLayout, empty_table
from pipeline.io.outcomes import Receipt, Written
from pipeline.places import Table
from pipeline.schemas import (
    FAILURE_FIELDS,
    GRANULARITIES,
    Field,
    KeptField,
    bigquery_schema,
    failure_json_row,
    table_fields,
    table_rows,
)
from transforms.documents import DocumentEntities, Failure
from transforms.errors import ArgumentError

WRITE_METHODS = ("FILE_LOADS", "STREAMING_INSERTS", "STORAGE_WRITE_API")


class WriteResultTable(beam.PTransform):
    """Writes PCollection[DocumentEntities] to an existing table, and returns `Written`.

    `pipeline.checks.table_output.prepare_table` creates the table before the start. With `WRITE_APPEND`, a second run
    over the same documents adds a second row for each of them. docs/bigquery.md has the query for the latest row.

    - `STREAMING_INSERTS` returns a document's receipt when BigQuery has all of its rows. A document with a rejected row
      becomes a failure. A row's insert id is a hash of the document's id, its text and the row's number. By this id,
      BigQuery drops most repetitions within about a minute. Equal documents of a bundle without receipts are not
      repetitions, and all are kept.
    - `FILE_LOADS` is for batch. It writes all rows or none, at the end. It returns neither receipts nor failures. A
      load that is rejected fails the run.
    - `STORAGE_WRITE_API` writes at least once, and returns rejected rows as failures. It does not report which rows it
      has written, so it returns no receipts. A source that waits for receipts therefore redelivers the documents.

    Args:
        table: The table.
        strategy: The aggregation strategy that made the entities; the columns depend on it.
        include_text: Whether to write the document's text.
        granularity: `document` for one row per document with nested entities, or `entity` for one row per entity. With
            `entity`, a document without entities has no row.
        method: One of `WRITE_METHODS`.
        kept: The fields of the record that the documents contain.
        write_disposition: For `FILE_LOADS`, the way to treat the rows that the table already has.
        retry_seconds: For `STREAMING_INSERTS`, the time for which transient errors are retried, in seconds.
        layout: For `STREAMING_INSERTS`, the layout in which a table that is deleted meanwhile is made again. None ends
            the run then.

    Raises:
        ValueError: If an argument is unknown, or if rows of entities would repeat the text.
    """

    def __init__(
        self,
        table: Table,
        strategy: str,
        include_text: bool = False,
        granularity: str = "document",
        method: str = "STREAMING_INSERTS",
        *,
        kept: tuple[KeptField, ...] = (),
        write_disposition: str = "WRITE_APPEND",
        retry_seconds: float = RETRY_SECONDS,
        layout: TableLayout | None = None,
    ) -> None:
        super().__init__()
        check_granularity(granularity, include_text)
        _check_method(method)
        self._table = table
        self._fields = table_fields(strategy, include_text, granularity, kept)
        self._rows_of = partial(result_rows, include_text=include_text, granularity=granularity)
        self._method = method
        self._disposition = write_disposition
        self._retry_seconds = retry_seconds
        self._layout = layout

    def expand(self, results: Any) -> Written:
        """Build the steps, and return the receipts and failures."""
        if self._method == "STREAMING_INSERTS":
            rows_of = partial(_insert_rows, rows_of=self._rows_of)
            insert = InsertResultsFn(self._table, rows_of, self._retry_seconds, self._layout)
            written = results | "Insert" >> beam.ParDo(insert).with_outputs(FAILURES, main="receipts")
            return Written(written["receipts"], written[FAILURES])
        rows = results | "Rows" >> beam.FlatMap(self._rows_of)
        if self._method == "FILE_LOADS":
            return _load(rows, self._table, self._fields, self._disposition)
        failures = rows | "StorageWrite" >> StorageWrite(self._table, self._fields)
        return Written(_nothing(rows, "NoReceipts"), failures)


class WriteFailureTable(beam.PTransform):
    """Writes PCollection[Failure] to an existing table, and returns `Written` without failures.

    Streaming inserts return a failure's receipt when BigQuery has its row. A failure that is too large for an insert is
    loaded as a file. This happens with a record of about 4 MB, because the row contains it both as text and in base64.
    A failure that cannot be written fails the bundle: nothing is lost, and the runner retries the bundle.

    Args:
        table: The table.
        method: `STREAMING_INSERTS`, or for batch `FILE_LOADS`.
        retry_seconds: For `STREAMING_INSERTS`, the time for which transient errors are retried, in seconds.
        layout: As for `WriteResultTable`.

    Raises:
        ValueError: If the method is neither of these.
    """

    def __init__(
        self,
        table: Table,
        method: str = "STREAMING_INSERTS",
        *,
        retry_seconds: float = RETRY_SECONDS,
        layout: TableLayout | None = None,
    ) -> None:
        super().__init__()
        _check_method(method, ("STREAMING_INSERTS", "FILE_LOADS"))
        self._table = table
        self._method = method
        self._retry_seconds = retry_seconds
        self._layout = layout

    def expand(self, failures: Any) -> Written:
        """Build the steps, and return the receipts and an empty PCollection of failures."""
        if self._method == "FILE_LOADS":
            rows = failures | "Rows" >> beam.Map(failure_json_row)
            return _load(rows, self._table, FAILURE_FIELDS, "WRITE_APPEND")
        insert = InsertFailuresFn(self._table, failure_insert_rows, self._retry_seconds, self._layout)
        receipts = failures | "Insert" >> beam.ParDo(insert)
        return Written(receipts, _nothing(failures, "NoFailures"))


def check_granularity(granularity: str, include_text: bool) -> None:
    """Rejects a kind of row that is unknown, or that cannot contain the text.

    Raises:
        ArgumentError: If the kind of row is rejected; the message is one line.
    """
    if granularity not in GRANULARITIES:
        raise ArgumentError(f"granularity={granularity}: unknown; expected one of {', '.join(GRANULARITIES)}")
    if granularity == "entity" and include_text:
        raise ArgumentError("include_text: each entity's row would repeat the text; expected granularity=document")


def _check_method(method: str, known: tuple[str, ...] = WRITE_METHODS) -> None:
    if method not in known:
        raise ValueError(f"method={method!r}: unknown; expected one of {', '.join(known)}")


def result_rows(result: DocumentEntities, include_text: bool, granularity: str) -> list[dict[str, Any]]:
    """Return the rows of a result, with the current time as the time of processing."""
    return table_rows(result, include_text, granularity, time.time())


def _insert_rows(result: DocumentEntities, rows_of: Callable[[DocumentEntities], list[dict[str, Any]]]) -> list[Row]:
    return [Row.of(values, insert_id(result, number)) for number, values in enumerate(rows_of(result))]


def insert_id(result: DocumentEntities, number: int) -> str:
    """Return the insert id, by which BigQuery recognizes a row that is sent again.

    The id is a hash. It includes the text, so that another document with the same id does not count as a repetition. It
    includes no score, because a score's last digits may differ between batches.

    Args:
        result: The result.
        number: The row's position among the result's rows.
    """
    return _hash(result.id, result.text, str(number))


def failure_insert_rows(failure: Failure) -> list[Row]:
    """Return the row of a failure; its insert id is a hash of the record and the error, but not of the time.

    For a message, the hash includes the message's key, but not its delivery. So another message that fails in the same
    way has its own row, and a redelivered message does not. Records of files and tables have no such key. The step that
    inserts them numbers equal ones within a bundle.
    """
    attributes = json.dumps(sorted(failure.attributes.items()))
    message = Receipt.parse(failure.receipt).key if failure.receipt else ""
    name = _hash(failure.payload.hex(), attributes, failure.stage, failure.error, message)
    return [Row.of(failure_json_row(failure), name)]


def _hash(*parts: str) -> str:
    joined = json.dumps(parts).encode("ascii")  # joined by any mark, "a", "b/c" could equal "a/b", "c"
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
        # Without any row, Beam loads nothing, and the table would keep its old rows.
        _ = rows | "Count" >> beam.combiners.Count.Globally() | "EmptyIfNone" >> beam.Map(_empty_if_none, table)
    return Written(_nothing(rows, "NoReceipts"), _nothing(rows, "NoFailures"))


def _empty_if_none(count: int, table: Table) -> None:
    if not count:
        empty_table(table)


def _nothing(beside: Any, label: str) -> Any:
    """Return an empty PCollection with the windows of another one, so that it can be flattened with similar ones."""
    return beside | label >> beam.Filter(_never)


def _never(element: Any) -> bool:
    return False
