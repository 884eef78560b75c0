"""Streaming inserts as a Beam step, which outputs each element's receipt or its failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.io.bigquery.errors import UnwrittenError
from pipeline.io.bigquery.inserts import MAX_REQUEST_BYTES, MAX_REQUEST_ROWS, Inserter, Row, requests_of
from pipeline.io.bigquery.tables import TableLayout
from pipeline.places import Table
from transforms.documents import DocumentEntities, Failure
from transforms.metrics import NAMESPACE

FAILURES = "failures"


@dataclass(frozen=True)
class _Waiting:
    """An element whose rows have not been sent yet, with the timestamp and the window for its outcome."""

    element: Any
    rows: Sequence[Row]
    timestamp: Any
    window: Any

    def outcome(self, value: Any) -> WindowedValue:
        return WindowedValue(value, self.timestamp, (self.window,))


class _InsertFn(beam.DoFn):
    """Inserts the rows of elements; those of a whole bundle share requests as far as they fit.

    It yields the receipt of an element after BigQuery has accepted all of the element's rows. If BigQuery neither
    accepts nor rejects rows in time, the bundle fails without output, and the runner retries it. Rows that BigQuery
    already accepted are then sent again under the same ids.

    Elements without a receipt may have equal insert ids. Examples are a record that occurs twice in a file, and equal
    rows of a table without ids. So their rows are numbered within a bundle, and BigQuery does not drop one as a
    repetition of another. A retried bundle has the same numbers.
    """

    def __init__(
        self,
        table: Table,
        rows_of: Callable[[Any], Sequence[Row]],
        retry_seconds: float,
        layout: TableLayout | None = None,
    ) -> None:
        self._table = table
        self._rows_of = rows_of
        self._retry_seconds = retry_seconds
        self._layout = layout
        self._written = Metrics.counter(NAMESPACE, "rows_written")
        self._failed = Metrics.counter(NAMESPACE, "write_failures")
        self._inserter: Inserter | None = None

    def start_bundle(self) -> None:
        self._waiting: list[_Waiting] = []
        self._rows = self._bytes = 0
        self._known: Counter[str] = Counter()

    def process(
        self, element: Any, timestamp: Any = beam.DoFn.TimestampParam, window: Any = beam.DoFn.WindowParam
    ) -> Iterator[Any]:
        try:
            rows = self._rows_of_element(element)
        except Exception as error:
            yield self._refused(_Waiting(element, (), timestamp, window), error)
            return
        self._waiting.append(_Waiting(element, rows, timestamp, window))
        self._rows += len(rows)
        self._bytes += sum(row.size for row in rows)
        if self._rows >= MAX_REQUEST_ROWS or self._bytes >= MAX_REQUEST_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        yield from self._flush()

    def _rows_of_element(self, element: Any) -> Sequence[Row]:
        rows = self._rows_of(element)
        if element.receipt is not None:
            return rows
        return [replace(row, id=self._numbered(row.id)) for row in rows]

    def _numbered(self, id: str) -> str:
        number = self._known[id]
        self._known[id] += 1
        return f"{id}-{number}" if number else id

    def _flush(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, []
        self._rows = self._bytes = 0
        reasons = self._send([row for item in waiting for row in item.rows])
        for item in waiting:
            problems = [reasons[id(row)] for row in item.rows if id(row) in reasons]
            self._written.inc(len(item.rows) - len(problems))
            if problems:
                yield self._refused(item, self._sentence(problems, len(item.rows)))
            elif item.element.receipt is not None:
                yield item.outcome(item.element.receipt)

    def _send(self, rows: Sequence[Row]) -> dict[int, str]:
        """Sends the rows; returns the reason for each row that was rejected, keyed by the row's `id()`."""
        if self._inserter is None:  # made for the first rows: a dead letter that stays empty needs no client
            self._inserter = Inserter(self._table, self._retry_seconds, self._layout)
        reasons = self._too_large(self._inserter, [row for row in rows if row.size > MAX_REQUEST_BYTES])
        for request in requests_of([row for row in rows if row.size <= MAX_REQUEST_BYTES]):
            for refusal in self._inserter.insert(request):
                reasons[id(refusal.row)] = refusal.reason
        return reasons

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        """Handles rows that are too large for a request; returns reasons in the same form as `_send`."""
        raise NotImplementedError

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        """Return the output for an element that has no rows, or whose rows were rejected."""
        raise NotImplementedError

    @staticmethod
    def _sentence(problems: Sequence[str], count: int) -> str:
        more = f" ({len(problems)} of the document's {count} rows)" if count > 1 else ""
        return f"{problems[0]}{more}"


class InsertResultsFn(_InsertFn):
    """Inserts results. A result without a row, or with a rejected row, becomes a failure of the stage `write`.

    If only some rows of a document are rejected, its other rows stay in the table.
    """

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        return {id(row): f"the row has {row.size} bytes, more than the {MAX_REQUEST_BYTES} allowed" for row in rows}

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        result: DocumentEntities = item.element
        self._failed.inc()
        return TaggedOutput(FAILURES, item.outcome(Failure.of_document(result.document, error, "write")))


class InsertFailuresFn(_InsertFn):
    """Inserts failures. A failure that is rejected fails the bundle, so that it is not lost: it has no other place."""

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        for row in rows:
            inserter.load(row)
        return {}

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        problem = error if isinstance(error, str) else type(error).__name__
        raise UnwrittenError(f"{self._table}: a failure could not be written: {problem}") from None
