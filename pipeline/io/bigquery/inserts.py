"""Streaming inserts: rows into a table over `tabledata.insertAll`, until BigQuery has taken or refused each of them."""

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
from pipeline.places import Table
from transforms.metrics import NAMESPACE

MAX_REQUEST_ROWS = 500
"""What BigQuery recommends; it allows 50,000."""

MAX_REQUEST_BYTES = 9_000_000
"""Of the rows of one request, and so of one row. BigQuery allows 10 MB, with what is around the rows."""

RETRY_SECONDS = 600.0
"""How long transient errors are retried before the bundle is given back to the runner."""

REQUEST_SECONDS = 60.0
"""How long one request may go unanswered."""

_MAX_WAIT_SECONDS = 30.0
_ROW_OVERHEAD_BYTES = 128  # the row's id, and the names and braces around both

_STOPPED = "stopped"  # nothing is wrong with the row: another one's fault stopped it
_TRANSIENT_ROW_REASONS = {"backendError", "internalError", "timeout", "rateLimitExceeded", "quotaExceeded", _STOPPED}
_TRANSIENT_FORBIDDEN = {"rateLimitExceeded", "quotaExceeded", "userRateLimitExceeded", "jobRateLimitExceeded"}
_TOO_LARGE = 413

# What BigQuery says of a row may quote it. These sentences, as far as they are matched, do not.
_HARMLESS = re.compile(
    r"no such field|missing required field|cannot convert value to \w+|array specified for non-repeated field"
    r"|repeated record added outside of an array|this field is not a record|only optional fields can be set to null"
    r"|maximum allowed row size exceeded|request payload size exceeds the limit",
    re.IGNORECASE,
)

_logger = logging.getLogger(__name__)


class UnwrittenError(RuntimeError):
    """Rows that could not be written, for no fault of theirs; the message quotes none of them."""


class _TransientError(Exception):
    """The request may succeed later; the message quotes no row."""


@dataclass(frozen=True)
class Row:
    """A row to insert.

    Attributes:
        values: Its columns, as JSON has them.
        id: Lets BigQuery drop a row that was sent again within a minute or so; the same in every attempt.
        size: Bytes that it takes in a request.
    """

    values: dict[str, Any]
    id: str
    size: int

    @classmethod
    def of(cls, values: dict[str, Any], id: str) -> Row:
        """Measures the row as Google's client writes it: in ASCII, where a letter of another script has six bytes.

        Raises:
            ValueError: If a number is not finite, for which JSON has no name.
        """
        return cls(values, id, len(json.dumps(values, allow_nan=False)) + _ROW_OVERHEAD_BYTES)


@dataclass(frozen=True)
class Refusal:
    """A row that BigQuery will never take.

    Attributes:
        row: The row.
        reason: BigQuery's reason and the column; no value of the row.
    """

    row: Row
    reason: str


class Inserter:
    """Inserts rows into one table.

    Transient errors (429, 5xx, broken connections, quotas, a table that is not there yet) are retried with random
    exponential waits of at most 30 s, each call from the shortest on. Beam's own streaming inserts wait ever longer
    the more has succeeded before, and retry refused rows.

    Args:
        table: The table.
        retry_seconds: How long to retry.
        client: For tests; the default is made for the table's project.
        sleep: For tests.
    """

    def __init__(
        self,
        table: Table,
        retry_seconds: float = RETRY_SECONDS,
        client: bigquery.Client | None = None,
        sleep: Callable[[float], None] = tenacity.nap.sleep,
    ) -> None:
        self._table = table
        self._client = client or client_of(table.project)
        self._retry_seconds = retry_seconds
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
            Those that BigQuery refuses for good; it has all others.

        Raises:
            UnwrittenError: If it could not be had to take or refuse them all in time.
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
        """One request; takes the rows that BigQuery has from those pending, and adds those that it refuses."""
        try:
            errors = self._request(pending)
        except _RefusedError as error:
            refusals += self._refused(pending, str(error))
            pending.clear()
            return
        refused = {index for index, reasons in errors.items() if not _TRANSIENT_ROW_REASONS.issuperset(reasons)}
        refusals += [Refusal(pending[index], _final(errors[index])) for index in sorted(refused)]
        pending[:] = [pending[index] for index in sorted(errors.keys() - refused)]
        # Those that were only stopped by a refused one can be sent again at once.
        if pending and not refused:
            reasons = {reason for reasons in errors.values() for reason in reasons}
            raise _TransientError(f"rows were put off: {', '.join(sorted(reasons))}")

    def _refused(self, rows: list[Row], reason: str) -> list[Refusal]:
        """The refusals among the rows of a request that was refused: one row can spoil it, and it is not said which."""
        if len(rows) == 1:
            return [Refusal(rows[0], reason)]
        middle = len(rows) // 2
        return [*self.insert(rows[:middle]), *self.insert(rows[middle:])]

    def _request(self, rows: Sequence[Row]) -> dict[int, dict[str, str]]:
        """Sends the rows once.

        Returns:
            For each row that was not taken its reasons, each with what may be said of it.
        """
        try:
            answer = self._client.insert_rows_json(
                standard_name(self._table),
                [row.values for row in rows],
                row_ids=[row.id for row in rows],
                skip_invalid_rows=True,
                retry=None,  # type: ignore[arg-type]  # ours is told from outside how long to go on
                timeout=REQUEST_SECONDS,
            )
        except GoogleAPICallError as error:
            raise _kind_of(error, self._table) from None
        except (RequestException, TransportError, ConnectionError) as error:
            raise _TransientError(type(error).__name__) from None
        return {entry["index"]: dict(map(_said, entry.get("errors") or [{}])) for entry in answer}

    def load(self, row: Row) -> None:
        """Loads one row that is too large for a streaming insert, as a file of its own, in which it may have 100 MB.

        Raises:
            UnwrittenError: If BigQuery does not take it.
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
        except Exception as error:  # by many names; what it says may quote the row
            raise UnwrittenError(
                f"{self._table}: a row of {row.size} bytes could not be loaded: {type(error).__name__}"
            ) from None

    def _log(self, state: RetryCallState) -> None:
        self._retries.inc()
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        _logger.warning("%s: attempt %d failed, next in %.1f s: %s", self._table, state.attempt_number, wait, error)


class _RefusedError(Exception):
    """BigQuery refuses the request as it is; the message quotes no row."""


def _kind_of(error: GoogleAPICallError, table: Table) -> Exception:
    """What to do about an answer; its own message may quote rows."""
    reasons = {str(detail.get("reason")) for detail in error.errors if isinstance(detail, dict)}
    name = f"{error.code} {type(error).__name__}"
    if isinstance(error, ServerError | TooManyRequests | NotFound):
        return _TransientError(name)
    if isinstance(error, Forbidden) and reasons & _TRANSIENT_FORBIDDEN:
        return _TransientError(f"{name}: {', '.join(sorted(reasons))}")
    if isinstance(error, BadRequest) or error.code == _TOO_LARGE:
        return _RefusedError(refusal_said(error.message, name))
    return UnwrittenError(f"{table}: BigQuery refused the request: {name}")


def _said(error: dict[str, str]) -> tuple[str, str]:
    """A row's error as its reason, and what may be said of it: the column, and the message if it quotes nothing."""
    reason = error.get("reason") or "unknown"
    place = f" at {error['location']}" if error.get("location") else ""
    return reason, refusal_said(error.get("message") or "", f"{reason}{place}")


def refusal_said(message: str, what: str = "") -> str:
    """The sentence for a refused row: of BigQuery's own message, only as much as cannot quote the row.

    >>> refusal_said("Cannot convert value to integer (bad value): Ann", "invalid at start")
    'BigQuery refused the row: invalid at start: Cannot convert value to integer'
    """
    found = _HARMLESS.search(message)
    parts = ("BigQuery refused the row", what, found.group() if found else "")
    return ": ".join(filter(None, parts))


def _final(reasons: dict[str, str]) -> str:
    return next(said for reason, said in reasons.items() if reason not in _TRANSIENT_ROW_REASONS)


def requests_of(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cuts rows into requests within BigQuery's limits, in their order."""
    request: list[Row] = []
    size = 0
    for row in rows:
        if request and (len(request) == MAX_REQUEST_ROWS or size + row.size > MAX_REQUEST_BYTES):
            yield request
            request, size = [], 0
        request.append(row)
        size += row.size
    if request:
        yield request
