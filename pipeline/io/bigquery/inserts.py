"""Streaming inserts with `tabledata.insertAll`, until BigQuery has accepted or rejected each row."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tenacity
from apache_beam.metrics import Metrics
from google.api_core.exceptions import (
    BadRequest,
    Forbidden,
    GoogleAPICallError,
    NotFound,
    ServerError,
    TooManyRequests,
)
from google.auth.exceptions import TransportError
from google.cloud import bigquery
from requests.exceptions import RequestException
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_before_delay, wait_random_exponential

from pipeline.io.bigquery.client import client_of, standard_name
from pipeline.io.bigquery.errors import UnwrittenError
from pipeline.io.bigquery.tables import TableLayout, restore_table
from pipeline.places import Table
from transforms.chunks import chunks
from transforms.metrics import NAMESPACE

MAX_REQUEST_ROWS = 500
"""The number of rows in a request that BigQuery recommends; it allows 50,000."""

MAX_REQUEST_BYTES = 9_000_000
"""The most bytes of the rows of one request, and so of one row.

BigQuery allows 10 MB, including the data around the rows.
"""

RETRY_SECONDS = 600.0
"""The seconds for which transient errors are retried. After that, the bundle fails and the runner retries it."""

REQUEST_SECONDS = 60.0
"""The time after which one request times out, in seconds."""

_MAX_WAIT_SECONDS = 30.0
_ROW_OVERHEAD_BYTES = 128  # the row's id, and the names and braces around both

_STOPPED = "stopped"  # the row is valid, but another row stopped the request
_TRANSIENT_ROW_REASONS = {"backendError", "internalError", "timeout", "rateLimitExceeded", "quotaExceeded", _STOPPED}
_TRANSIENT_FORBIDDEN = {"rateLimitExceeded", "quotaExceeded", "userRateLimitExceeded", "jobRateLimitExceeded"}
_TOO_LARGE = 413

# BigQuery's messages about a row may quote it. The parts that this pattern matches do not.
_HARMLESS = re.compile(
    r"no such field|missing required field|cannot convert value to \w+|array specified for non-repeated field"
    r"|repeated record added outside of an array|this field is not a record|only optional fields can be set to null"
    r"|maximum allowed row size exceeded|request payload size exceeds the limit",
    re.IGNORECASE,
)

_logger = logging.getLogger(__name__)


class _TransientError(Exception):
    """An error after which the request may succeed later; the message quotes no row."""


@dataclass(frozen=True)
class Row:
    """A row to insert.

    Attributes:
        values: The row's columns, as JSON values.
        id: The insert id, by which BigQuery drops a row that is sent again within about a minute. It is the same in
            every attempt.
        size: The bytes of the row in a request.
    """

    values: dict[str, Any]
    id: str
    size: int

    @classmethod
    def of(cls, values: dict[str, Any], id: str) -> Row:
        """Makes a row with its size as Google's client writes it.

        The client writes ASCII, in which a letter of another script has six bytes.

        Raises:
            ValueError: If a number is not finite, since JSON cannot represent it.
        """
        return cls(values, id, len(json.dumps(values, allow_nan=False)) + _ROW_OVERHEAD_BYTES)


@dataclass(frozen=True)
class Refusal:
    """A row that BigQuery rejects permanently.

    Attributes:
        row: The row.
        reason: BigQuery's reason and the column, without any value of the row.
    """

    row: Row
    reason: str


class Inserter:
    """Inserts rows into one table.

    Transient errors are retried: 429, 5xx, broken connections, quotas, and a table that inserts do not see yet. The
    waits are random and exponential, and at most 30 s. Each call begins with the shortest wait. Beam's own streaming
    inserts wait longer the more requests have succeeded before, and they retry rejected rows.

    Args:
        table: The table.
        retry_seconds: The time for which errors are retried, in seconds.
        layout: The layout in which a table that was deleted is made again; None to raise an error then.
        client: A client for tests; by default, one is made for the table's project.
        sleep: A replacement for sleeping, for tests.
    """

    def __init__(
        self,
        table: Table,
        retry_seconds: float = RETRY_SECONDS,
        layout: TableLayout | None = None,
        client: bigquery.Client | None = None,
        sleep: Callable[[float], None] = tenacity.nap.sleep,
    ) -> None:
        self._table = table
        self._client = client or client_of(table.project)
        self._retry_seconds = retry_seconds
        self._layout = layout
        self._retries = Metrics.counter(NAMESPACE, "insert_retries")
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            wait=wait_random_exponential(multiplier=0.5, max=_MAX_WAIT_SECONDS),
            stop=stop_before_delay(retry_seconds),
            before_sleep=self._log,
            reraise=True,
            sleep=sleep,
        )

    def insert(self, rows: Sequence[Row]) -> list[Refusal]:
        """Inserts the rows of one request.

        Returns:
            The rows that BigQuery rejects permanently; it has accepted all others.

        Raises:
            UnwrittenError: If BigQuery neither accepts nor rejects all rows in time, or rejects the request for another
                reason.
        """
        refusals: list[Refusal] = []
        pending = list(rows)
        try:
            for attempt in self._retrying.copy():
                with attempt:
                    while pending:
                        self._advance(pending, refusals)
        except _TransientError as error:
            raise UnwrittenError(
                f"{self._table}: {len(pending)} rows could not be written in {self._retry_seconds:g} s: {error}"
            ) from None
        return refusals

    def _advance(self, pending: list[Row], refusals: list[Refusal]) -> None:
        """Sends one request, and removes the rows that BigQuery has accepted or rejected from `pending`.

        It adds the rejected rows to `refusals`.
        """
        try:
            errors = self._request(pending)
        except _RefusedError as error:
            refusals += self._refused(pending, str(error))
            pending.clear()
            return
        refused = {index for index, reasons in errors.items() if not _TRANSIENT_ROW_REASONS.issuperset(reasons)}
        refusals += [Refusal(pending[index], _final(errors[index])) for index in sorted(refused)]
        pending[:] = [pending[index] for index in sorted(errors.keys() - refused)]
        # Rows that were only stopped by a rejected row can be sent again at once.
        if pending and not refused:
            reasons = {reason for reasons in errors.values() for reason in reasons}
            raise _TransientError(f"rows were deferred: {', '.join(sorted(reasons))}")

    def _refused(self, rows: list[Row], reason: str) -> list[Refusal]:
        """Return the rejected rows of a request that was rejected as a whole.

        One row can cause this, and BigQuery does not report which one. So the rows are inserted again in halves.
        """
        if len(rows) == 1:
            return [Refusal(rows[0], reason)]
        middle = len(rows) // 2
        return [*self.insert(rows[:middle]), *self.insert(rows[middle:])]

    def _request(self, rows: Sequence[Row]) -> dict[int, dict[str, str]]:
        """Sends the rows once.

        Returns:
            For the index of each row that was not accepted, its reasons, each with a description that quotes no value.
        """
        try:
            answer = self._client.insert_rows_json(
                standard_name(self._table),
                [row.values for row in rows],
                row_ids=[row.id for row in rows],
                skip_invalid_rows=True,
                retry=None,  # type: ignore[arg-type]  # `Retrying` retries instead
                timeout=REQUEST_SECONDS,
            )
        except GoogleAPICallError as error:
            if isinstance(error, NotFound):
                restore_table(self._client, self._table, self._layout)
            raise _kind_of(error, self._table) from None
        except (RequestException, TransportError, ConnectionError) as error:
            raise _TransientError(type(error).__name__) from None
        return {entry["index"]: dict(map(_said, entry.get("errors") or [{}])) for entry in answer}

    def load(self, row: Row) -> None:
        """Loads one row that is too large for a streaming insert, as a file of its own; such a row may have 100 MB.

        Raises:
            UnwrittenError: If BigQuery does not accept the row.
        """
        settings = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.NEWLINE_DELIMITED_JSON,
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        )
        file = io.BytesIO(json.dumps(row.values, ensure_ascii=False).encode("utf-8", "replace"))
        try:
            job = self._client.load_table_from_file(file, standard_name(self._table), job_config=settings)
            job.result(timeout=self._retry_seconds)
        except Exception as error:  # of many classes; its message may quote the row
            raise UnwrittenError(
                f"{self._table}: a row of {row.size} bytes could not be loaded: {type(error).__name__}"
            ) from None

    def _log(self, state: RetryCallState) -> None:
        self._retries.inc()
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        _logger.warning("%s: attempt %d failed, next in %.1f s: %s", self._table, state.attempt_number, wait, error)


class _RefusedError(Exception):
    """An error for a request that BigQuery rejects as it is; the message quotes no row."""


def _kind_of(error: GoogleAPICallError, table: Table) -> Exception:
    """Return the exception that replaces an error of BigQuery's client, whose own message may quote rows."""
    reasons = {str(detail.get("reason")) for detail in error.errors if isinstance(detail, dict)}
    name = f"{error.code} {type(error).__name__}"
    if isinstance(error, ServerError | TooManyRequests | NotFound):
        return _TransientError(name)
    if isinstance(error, Forbidden) and reasons & _TRANSIENT_FORBIDDEN:
        return _TransientError(f"{name}: {', '.join(sorted(reasons))}")
    if isinstance(error, BadRequest) or error.code == _TOO_LARGE:
        return _RefusedError(describe_refusal(error.message, name))
    return UnwrittenError(f"{table}: BigQuery rejected the request: {name}")


def _said(error: dict[str, str]) -> tuple[str, str]:
    """Return the reason of a row's error, and a description with the column and no value of the row."""
    reason = error.get("reason") or "unknown"
    place = f" at {error['location']}" if error.get("location") else ""
    return reason, describe_refusal(error.get("message") or "", f"{reason}{place}")


def describe_refusal(message: str, what: str = "") -> str:
    """Return the sentence for a rejected row, with only those parts of BigQuery's message that cannot quote the row.

    >>> describe_refusal("Cannot convert value to integer (bad value): Ann", "invalid at start")
    'BigQuery rejected the row: invalid at start: Cannot convert value to integer'
    """
    found = _HARMLESS.search(message)
    parts = ("BigQuery rejected the row", what, found.group() if found else "")
    return ": ".join(filter(None, parts))


def _final(reasons: dict[str, str]) -> str:
    return next(said for reason, said in reasons.items() if reason not in _TRANSIENT_ROW_REASONS)


def requests_of(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Splits rows into requests within BigQuery's limits, in their order."""
    return chunks(rows, MAX_REQUEST_BYTES, lambda row: row.size, MAX_REQUEST_ROWS)
