"""Streaming inserts as a Beam step, which tells of each element whether BigQuery has its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.io.bigquery.inserts import MAX_REQUEST_BYTES, MAX_REQUEST_ROWS, Inserter, Row, UnwrittenError, requests_of
from pipeline.places import Table
from transforms.documents import DocumentEntities, Failure
from transforms.metrics import NAMESPACE

FAILURES = "failures"


@dataclass(frozen=True)
class _Waiting:
    """An element whose rows have not been sent yet, and where in time its outcome belongs."""

    element: Any
    rows: Sequence[Row]
    timestamp: Any
    window: Any

    def outcome(self, value: Any) -> WindowedValue:
        return WindowedValue(value, self.timestamp, (self.window,))


class _InsertFn(beam.DoFn):
    """Inserts the rows of elements, those of a whole bundle together as far as a request can hold them.

    Gives the receipts of the elements all of whose rows BigQuery has, after it has them. When it cannot be had to take
    or refuse rows in time, the bundle fails and gives nothing, for the runner to try again; rows that it has by then
    are sent again under the same ids.

    Elements without a receipt may be alike in all that their insert ids hash, as a record that is twice in a file or a
    table's rows without ids that say the same. Within a bundle their rows are numbered, so that BigQuery takes none for
    another one's repetition; a bundle that is tried again has the same numbers.
    """

    def __init__(self, table: Table, rows_of: Callable[[Any], Sequence[Row]], retry_seconds: float) -> None:
        self._table = table
        self._rows_of = rows_of
        self._retry_seconds = retry_seconds
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
        """Sends the rows; gives the reason for each that was refused, by its identity."""
        if self._inserter is None:  # once a worker that has rows: no client for a dead letter that stays empty
            self._inserter = Inserter(self._table, self._retry_seconds)
        reasons = self._too_large(self._inserter, [row for row in rows if row.size > MAX_REQUEST_BYTES])
        for request in requests_of([row for row in rows if row.size <= MAX_REQUEST_BYTES]):
            for refusal in self._inserter.insert(request):
                reasons[id(refusal.row)] = refusal.reason
        return reasons

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        """What becomes of rows that no request can hold."""
        raise NotImplementedError

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        """What becomes of an element that has no rows or whose rows are refused."""
        raise NotImplementedError

    @staticmethod
    def _sentence(problems: Sequence[str], count: int) -> str:
        more = f" ({len(problems)} of the document's {count} rows)" if count > 1 else ""
        return f"{problems[0]}{more}"


class InsertResultsFn(_InsertFn):
    """Inserts results; one that cannot become a row, or whose row is refused, is a failure of the stage `write`.

    Of a document with several rows, those that BigQuery has taken stay in the table.
    """

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        return {id(row): f"the row has {row.size} bytes, more than the {MAX_REQUEST_BYTES} allowed" for row in rows}

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        result: DocumentEntities = item.element
        self._failed.inc()
        return TaggedOutput(FAILURES, item.outcome(Failure.of_result(result, error, "write")))


class InsertFailuresFn(_InsertFn):
    """Inserts failures. They have nowhere else to go: one that is refused fails the bundle, and is not lost."""

    def _too_large(self, inserter: Inserter, rows: Sequence[Row]) -> dict[int, str]:
        for row in rows:
            inserter.load(row)
        return {}

    def _refused(self, item: _Waiting, error: str | Exception) -> TaggedOutput:
        problem = error if isinstance(error, str) else type(error).__name__
        raise UnwrittenError(f"{self._table}: a failure could not be written: {problem}") from None
