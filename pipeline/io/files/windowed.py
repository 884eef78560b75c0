"""Writes results and failures of unbounded input to files of one window of time each."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.coders import BooleanCoder, BytesCoder, NullableCoder, StrUtf8Coder, TupleCoder, VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipeline.io.files.formats.jsonl import FailureLines
from pipeline.io.files.names import output_files
from pipeline.io.files.whole_files import atomic_write
from pipeline.io.files.window_names import EARLY, LATE, ON_TIME, WindowShard, event_time, window_start
from pipeline.io.files.write import check_result_format, result_format
from pipeline.io.outcomes import Written
from pipeline.schemas import KeptField
from transforms.documents import DocumentEntities, Failure
from transforms.errors import ArgumentError
from transforms.metrics import NAMESPACE

MAX_WAITING_BYTES = 100_000_000
_MESSAGE_BYTES = 4_000  # estimate for a waiting record's message; a source stops reading at 100,000 messages

_FAILURES = "failures"

Key = tuple[int, int]
"""A window's first second, and a shard's number."""
Waiting = tuple[bytes, str | None]
"""A record that waits for its file, and its receipt (or None)."""


class _Format(Protocol):
    def record(self, element: Any) -> bytes: ...
    def file(self, records: Any) -> bytes: ...


class WriteWindowedResults(beam.PTransform):
    """Writes PCollection[DocumentEntities] to files of one window of event time each; returns `Written`.

    The files of a window are named `output-20261124T100000Z-20261124T100100Z-00000-of-00002.jsonl` and so on. There are
    three kinds:

    - On time: written when the watermark passes the window's end.
    - Late (`…-late1-…`): for results that arrive after that. Nothing is dropped as late.
    - Early (`…-early1-…`): for results that waited `max_wait_seconds` before the window's end, or that exceed
      `max_waiting_bytes`.

    Because of the early files, the source gets its receipts in bounded time, even if its watermark does not move.
    Unacknowledged messages therefore do not stop the source from reading.

    A file exists as a whole or not at all, and is never overwritten. A later run writes under the next free number.

    The windows are part of each record's key; Beam's own windows are not used. Beam drops elements that are late for
    its windows, and the batches of RunInference lose their elements' timestamps.

    Args:
        output: The files' prefix, or a name with an ending of the format (`out/x.jsonl.gz`).
        output_format: One of `OUTPUT_FORMATS`.
        strategy: The aggregation strategy that made the entities; the columns depend on it.
        include_text: Whether to write the document's text.
        window_seconds: The length of a window in whole seconds. Windows begin at multiples of it since the epoch.
        allowed_lateness_seconds: The time after a window's end, by the watermark, in which its late results are
            collected. They wait up to `max_wait_seconds` for one file. After that time, each bundle gets its own file.
        num_shards: The number of files of a window. The hash of a result's id selects the file.
        escape_formulas: For csv, whether to escape texts that a spreadsheet would run as formulas.
        kept: The fields of the record that the documents contain, for formats with columns.
        max_wait_seconds: The longest wait of a result by the clock; None for `window_seconds`, but at least 10 seconds.
        max_waiting_bytes: The most bytes of a window's results that wait, with about 4 KB added for each result.

    Raises:
        ValueError: If an argument is not valid, or Beam cannot write files of this name.
    """

    def __init__(
        self,
        output: str,
        output_format: str,
        strategy: str,
        include_text: bool,
        window_seconds: int,
        allowed_lateness_seconds: float = 0,
        num_shards: int = 1,
        *,
        escape_formulas: bool = True,
        kept: tuple[KeptField, ...] = (),
        max_wait_seconds: float | None = None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        super().__init__()
        check_result_format(output_format, include_text)
        prefix, suffix = output_files(output, output_format)
        self._windows = _WriteWindows(
            _Settings(
                result_format(output_format)(suffix, strategy, include_text, escape_formulas, kept),
                prefix,
                suffix,
                _checked_window(window_seconds),
                _checked("allowed_lateness_seconds", allowed_lateness_seconds, 0),
                int(_checked("num_shards", num_shards or 1, 1)),
                _checked_wait(max_wait_seconds, window_seconds),
                int(_checked("max_waiting_bytes", max_waiting_bytes, 1)) // (num_shards or 1),
            )
        )

    def expand(self, results: Any) -> Written:
        """Build the steps, and return the receipts and failures."""
        return results | "Windows" >> self._windows


class WriteWindowedFailures(beam.PTransform):
    """Writes PCollection[Failure] to JSON Lines files of one window each; returns `Written` without failures.

    The window is that of the time of the failure, by the clock. Everything else is as in `WriteWindowedResults`.

    Args:
        output: The files' prefix, or a name that ends in .jsonl (and .gz, for example).
        window_seconds: As for `WriteWindowedResults`.
        allowed_lateness_seconds: As for `WriteWindowedResults`.
        max_wait_seconds: As for `WriteWindowedResults`.

    Raises:
        ValueError: If an argument is not valid, or Beam cannot write files of this name.
    """

    def __init__(
        self,
        output: str,
        window_seconds: int,
        allowed_lateness_seconds: float = 0,
        *,
        max_wait_seconds: float | None = None,
    ) -> None:
        super().__init__()
        prefix, suffix = output_files(output, "jsonl", "dead_letter")
        self._windows = _WriteWindows(
            _Settings(
                FailureLines(suffix),
                prefix,
                suffix,
                _checked_window(window_seconds),
                _checked("allowed_lateness_seconds", allowed_lateness_seconds, 0),
                1,
                _checked_wait(max_wait_seconds, window_seconds),
                MAX_WAITING_BYTES,
            )
        )

    def expand(self, failures: Any) -> Written:
        """Build the steps, and return the receipts and an empty PCollection of failures."""
        return failures | "Windows" >> self._windows


@dataclass(frozen=True)
class _Settings:
    """The settings of a windowed sink's steps.

    Attributes:
        format: The format, which makes records from elements, and files from records.
        prefix: The prefix, as returned by `output_files`.
        suffix: The suffix, as returned by `output_files`.
        seconds: The length of a window.
        lateness: The seconds after a window's end in which late records are collected.
        num_shards: The number of files of a window.
        max_wait: The seconds by the clock after which waiting records are written anyway.
        max_waiting_bytes: The bytes of a window's shard at which its waiting records are written anyway.
    """

    format: _Format
    prefix: str
    suffix: str
    seconds: int
    lateness: float
    num_shards: int
    max_wait: float
    max_waiting_bytes: int


class _WriteWindows(beam.PTransform):
    def __init__(self, settings: _Settings) -> None:
        super().__init__()
        self._records = _RecordsFn(settings)
        self._write = _WriteFn(settings)

    def expand(self, elements: Any) -> Written:
        records = (
            elements
            | "GlobalWindow" >> beam.WindowInto(GlobalWindows())
            | "Records"
            >> beam.ParDo(self._records).with_output_types(tuple[Key, Waiting]).with_outputs(_FAILURES, main="records")
        )
        receipts = records["records"] | "WriteFiles" >> beam.ParDo(self._write).with_output_types(str)
        return Written(receipts, records[_FAILURES])


class _RecordsFn(beam.DoFn):
    """Converts each element to a file's record, keyed by window and shard; a result without a record is a failure."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._failures = Metrics.counter(NAMESPACE, "write_failures")

    def process(
        self, element: DocumentEntities | Failure, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[Any]:
        try:
            record = self._settings.format.record(element)
        except Exception as error:
            if isinstance(element, Failure):
                raise
            self._failures.inc()
            yield TaggedOutput(_FAILURES, Failure.of_document(element.document, error, "write"))
            return
        event = event_time(element.timestamp, float(timestamp))
        start = window_start(event, self._settings.seconds)
        shard = zlib.crc32(_shard_id(element)) % self._settings.num_shards
        yield TimestampedValue(((start, shard), (record, element.receipt)), event)


class _WriteFn(beam.DoFn):
    """Collects the records of a window's shard, writes them, and then yields their receipts."""

    RECORDS = BagStateSpec("records", TupleCoder((BytesCoder(), NullableCoder(StrUtf8Coder()))))
    WAITING = ReadModifyWriteStateSpec("waiting", VarIntCoder())
    CLOSED = ReadModifyWriteStateSpec("closed", BooleanCoder())
    CLOSE = TimerSpec("close", TimeDomain.WATERMARK)
    FORGET = TimerSpec("forget", TimeDomain.WATERMARK)
    WAITED = TimerSpec("waited", TimeDomain.REAL_TIME)

    def __init__(self, settings: _Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._files = Metrics.counter(NAMESPACE, "window_files")
        self._written = Metrics.counter(NAMESPACE, "window_records")
        self._late = Metrics.counter(NAMESPACE, "window_records_late")

    def process(
        self,
        element: tuple[Key, Waiting],
        records: Any = beam.DoFn.StateParam(RECORDS),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        closed: Any = beam.DoFn.StateParam(CLOSED),
        close: Any = beam.DoFn.TimerParam(CLOSE),
        waited: Any = beam.DoFn.TimerParam(WAITED),
    ) -> Iterator[str]:
        (start, _), record = element
        records.add(record)
        known = waiting.read() or 0
        size = known + len(record[0]) + _MESSAGE_BYTES
        waiting.write(size)
        if size >= self._settings.max_waiting_bytes:
            yield from self._flush(element[0], LATE if closed.read() else EARLY, records, waiting)
            return
        if known:
            return
        waited.set(Timestamp.of(self._clock() + self._settings.max_wait))
        if not closed.read():
            # For a window that ended long ago, this time is in the past, so the timer fires at once.
            close.set(Timestamp.of(start + self._settings.seconds))

    @on_timer(CLOSE)
    def on_close(
        self,
        key: Key = beam.DoFn.KeyParam,
        records: Any = beam.DoFn.StateParam(RECORDS),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        closed: Any = beam.DoFn.StateParam(CLOSED),
        forget: Any = beam.DoFn.TimerParam(FORGET),
        waited: Any = beam.DoFn.TimerParam(WAITED),
    ) -> Iterator[str]:
        if self._settings.lateness:
            closed.write(True)
            forget.set(Timestamp.of(key[0] + self._settings.seconds + self._settings.lateness))
        waited.clear()
        yield from self._flush(key, ON_TIME, records, waiting)

    @on_timer(WAITED)
    def on_waited(
        self,
        key: Key = beam.DoFn.KeyParam,
        records: Any = beam.DoFn.StateParam(RECORDS),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        closed: Any = beam.DoFn.StateParam(CLOSED),
    ) -> Iterator[str]:
        yield from self._flush(key, LATE if closed.read() else EARLY, records, waiting)

    @on_timer(FORGET)
    def on_forget(
        self,
        key: Key = beam.DoFn.KeyParam,
        records: Any = beam.DoFn.StateParam(RECORDS),
        waiting: Any = beam.DoFn.StateParam(WAITING),
        closed: Any = beam.DoFn.StateParam(CLOSED),
        waited: Any = beam.DoFn.TimerParam(WAITED),
    ) -> Iterator[str]:
        # This also runs at the end of the stream, when a runner no longer waits for the clock.
        closed.clear()
        waited.clear()
        yield from self._flush(key, LATE, records, waiting)

    def _flush(self, key: Key, pane: str, records: Any, waiting: Any) -> Iterator[str]:
        pending = sorted(records.read(), key=_record)
        if pending:
            self._write(WindowShard(key[0], self._settings.seconds, key[1], self._settings.num_shards), pane, pending)
        records.clear()
        waiting.clear()
        for _, receipt in pending:
            if receipt is not None:
                yield receipt

    def _write(self, shard: WindowShard, pane: str, pending: list[Waiting]) -> None:
        data = self._settings.format.file([record for record, _ in pending])
        name = atomic_write(partial(shard.name, self._settings.prefix, self._settings.suffix, pane), data)
        self._files.inc()
        self._written.inc(len(pending))
        if f"-{shard.window}-{LATE}" in name:
            self._late.inc(len(pending))


def _record(waiting: Waiting) -> bytes:
    return waiting[0]


def _shard_id(element: DocumentEntities | Failure) -> bytes:
    return b"" if isinstance(element, Failure) else element.id.encode("utf-8", "surrogatepass")


def _checked(name: str, value: float, least: float) -> float:
    if not least <= value < float("inf"):
        raise ArgumentError(f"{name}={value}: out of range; expected at least {least:g}")
    return value


def _checked_window(seconds: int) -> int:
    if seconds != int(_checked("window_seconds", seconds, 1)):
        raise ArgumentError(f"window_seconds={seconds}: not a whole number; expected whole seconds")
    return int(seconds)


def _checked_wait(max_wait: float | None, window_seconds: int) -> float:
    return max(10, window_seconds) if max_wait is None else _checked("max_wait_seconds", max_wait, 0)
