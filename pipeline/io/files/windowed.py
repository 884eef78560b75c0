"""Results and failures to files of a window of time each, for input that never ends."""

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
from pipeline.io.files.whole_files import put_file
from pipeline.io.files.window_names import EARLY, LATE, ON_TIME, WindowShard, event_time, window_start
from pipeline.io.files.write import check_result_format, result_format
from pipeline.io.outcomes import Written
from transforms.documents import DocumentEntities, Failure
from transforms.metrics import NAMESPACE

MAX_WAITING_BYTES = 100_000_000
_MESSAGE_BYTES = 4_000  # what a record costs whoever holds its message; a source holds 100,000 and then reads no more

_FAILURES = "failures"

Key = tuple[int, int]
"""A window's first second, and a shard's number."""
Waiting = tuple[bytes, str | None]
"""A record that waits for its file, and its receipt."""


class _Format(Protocol):
    def record(self, element: Any) -> bytes: ...
    def file(self, records: Any) -> bytes: ...


class WriteWindowedResults(beam.PTransform):
    """Writes PCollection[DocumentEntities] to files of one window of event time each; gives `Written`.

    A window's files are `output-20261124T100000Z-20261124T100100Z-00000-of-00002.jsonl` and so on, written when the
    watermark passes the window's end. What comes later goes to files of its own, named `…-late1-…`: nothing is ever
    dropped as late. What has waited for `max_wait_seconds` while its window is still open goes to `…-early1-…`, and so
    does what waits once it is much: the source has its receipts in bounded time however its watermark stands, and is
    not kept from reading by what it holds. A file is there as a whole or not at all, and is never overwritten, not
    even by a later run: that would get the next free number.

    The windows are not Beam's but part of each record's key, for Beam drops what is late for its own windows, and the
    batches of RunInference lose their elements' timestamps.

    Args:
        output: The files' prefix, or a name whose ending is the format's (`out/x.jsonl.gz`).
        output_format: One of `OUTPUT_FORMATS`.
        strategy: The aggregation strategy that made the entities; the columns depend on it.
        include_text: Whether to write the document's text.
        window_seconds: Length of a window, whole seconds; windows begin at multiples of it since the epoch.
        allowed_lateness_seconds: For how long after its end, by the watermark, late results of a window are
            gathered for up to `max_wait_seconds` into one file. Later than that, each bundle gets its own file.
        num_shards: Files a window, each with the results whose ids' hashes say so.
        escape_formulas: For csv, whether to keep spreadsheets from running a text that begins as a formula does.
        max_wait_seconds: How long a result waits by the clock before it is written anyway; None is `window_seconds`,
            and 10 seconds at the least.
        max_waiting_bytes: Of the results of one window that wait, with some 4 KB for each of them.

    Raises:
        ValueError: If an argument is not understood, or Beam cannot write files of this name.
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
        max_wait_seconds: float | None = None,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        super().__init__()
        check_result_format(output_format, include_text)
        prefix, suffix = output_files(output, output_format)
        self._windows = _WriteWindows(
            _Settings(
                result_format(output_format)(suffix, strategy, include_text, escape_formulas),
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
        return results | "Windows" >> self._windows


class WriteWindowedFailures(beam.PTransform):
    """Writes PCollection[Failure] to files of JSON Lines of one window each; gives `Written`, without failures.

    The window is that of the time when the failure happened, by the clock; otherwise as `WriteWindowedResults`.

    Args:
        output: The files' prefix, or a name that ends in .jsonl (and .gz, for example).
        window_seconds: As there.
        allowed_lateness_seconds: As there.
        max_wait_seconds: As there.

    Raises:
        ValueError: If an argument is not understood, or Beam cannot write files of this name.
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
        prefix, suffix = output_files(output, "jsonl", "--dead_letter")
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
        return failures | "Windows" >> self._windows


@dataclass(frozen=True)
class _Settings:
    """What the steps of a windowed sink need to know.

    Attributes:
        format: Makes records of elements, and files of records.
        prefix: As given by `output_files`.
        suffix: As given by `output_files`.
        seconds: Length of a window.
        lateness: Seconds after a window's end for which late records are gathered.
        num_shards: Files a window.
        max_wait: Seconds by the clock after which what waits is written anyway.
        max_waiting_bytes: Of the records of a window's shard; once they have so many, the same is true.
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
    """Each element as the record of a file, by window and shard; what makes no record is a failure."""

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
            yield TaggedOutput(_FAILURES, Failure.of_result(element, error, "write"))
            return
        event = event_time(element.timestamp, float(timestamp))
        start = window_start(event, self._settings.seconds)
        shard = zlib.crc32(_shard_id(element)) % self._settings.num_shards
        yield TimestampedValue(((start, shard), (record, element.receipt)), event)


class _WriteFn(beam.DoFn):
    """Gathers the records of a window's shard, writes them, and then gives their receipts."""

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
            # For a window that is over and forgotten this is in the past, and so it fires at once.
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
        # At the end of the stream too, when a runner no longer waits for the clock.
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
        name = put_file(partial(shard.name, self._settings.prefix, self._settings.suffix, pane), data)
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
        raise ValueError(f"{name}={value} must be at least {least:g}")
    return value


def _checked_window(seconds: int) -> int:
    if seconds != int(_checked("window_seconds", seconds, 1)):
        raise ValueError(f"window_seconds={seconds} must be whole seconds")
    return int(seconds)


def _checked_wait(max_wait: float | None, window_seconds: int) -> float:
    return max(10, window_seconds) if max_wait is None else _checked("max_wait_seconds", max_wait, 0)
