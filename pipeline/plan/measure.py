"""Times this machine on a sample of the input, with the program's own readers, model, grouping and JSON lines.

Each core runs a process with one thread, all at the same time, as on Dataflow. Cores share memory, caches and clock,
so a single process would be too fast. Nothing is written, and no text leaves the processes.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from pipeline.checks.bigquery import as_value_error
from pipeline.config import NerConfig
from pipeline.io.bigquery.read import QUERY_SOURCE, QueryError, open_streams, read_stream
from pipeline.io.files.formats.jsonl import result_line
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import find_shards, read_shard
from pipeline.places import Files, Query, Replay, Table
from pipeline.plan.model import Measured
from transforms.chunks import chunks
from transforms.documents import Document, Failure
from transforms.errors import ArgumentError
from transforms.machine import peak_mib, usable_cores

_OPEN_SHARDS = 16  # files, or streams of a table, that are sampled at the same time

_WARM_UP = 32  # documents that are read before the measurement

T = TypeVar("T")


@dataclass(frozen=True)
class Sample:
    """Documents to measure with.

    Attributes:
        documents: Documents from all over the input.
        failures: Number of records that were read for the sample, and are not valid documents.
    """

    documents: list[Document]
    failures: int


@dataclass(frozen=True)
class _Timed:
    """The measurements of one process."""

    documents: int
    seconds: float
    failures: int
    tokens: int
    bytes_out: int
    peak_mib: float


def read_sample(config: NerConfig, count: int, project: str | None = None) -> Sample:
    """Return some documents of the input, one from each of its parts in turn.

    Args:
        config: Configuration of the planned run.
        count: Number of documents; fewer are returned if the input contains fewer.
        project: The project that pays for reading BigQuery; None uses the table's, or the environment's.

    Raises:
        ValueError: if the input is neither files nor in BigQuery, cannot be read, or contains no document.
    """
    sample, failures = [], 0
    with _told(config):
        for outcome in _in_turns(_readers(config, project)):
            if isinstance(outcome, Failure):
                failures += 1
            else:
                sample.append(outcome)
            if len(sample) == count:
                break
    if not sample:
        raise ValueError(f"{_flag(config)}: contains no document that can be read ({failures} failures)")
    return Sample(sample, failures)


def _readers(config: NerConfig, project: str | None) -> Iterator[Iterator[Document | Failure]]:
    """Yield a reader for each part of the input."""
    place, fields = config.input, config.fields
    if isinstance(place, Files):
        found = find_shards(place.paths, config.input_format)
        for shard in _spread([shard for shard in found if isinstance(shard, Shard)]):
            yield read_shard(shard, config.input_format, fields, config.reading)
    elif isinstance(place, Table | Query):
        request, source = (place.sql, QUERY_SOURCE) if isinstance(place, Query) else (place, str(place))
        for name in _spread(open_streams(request, project, fields.names)):
            yield read_stream(name, fields, source)
    else:
        raise ValueError(
            f"{_flag(config)}: neither files nor in BigQuery; expected a file with some of its texts, to measure those"
        )


def _flag(config: NerConfig) -> str:
    """Return the flag that names the input, with its value unless that is a query."""
    if isinstance(config.input, Query):
        return "--query"
    return f"--{'replay' if isinstance(config.input, Replay) else 'input'}={str(config.input)!r}"


@contextmanager
def _told(config: NerConfig) -> Iterator[None]:
    """Turns BigQuery's errors into a ValueError of one sentence; files that cannot be read are failures instead."""
    with as_value_error(f"{_flag(config)}: cannot be read"):
        try:
            yield
        except QueryError as error:
            raise ValueError(f"{_flag(config)}: {error}") from error


def _spread(shards: list[T]) -> list[T]:
    """Return the same shards in another order: the first `_OPEN_SHARDS` are from all over the input."""
    step = max(1, -(-len(shards) // _OPEN_SHARDS))
    return [shard for first in range(step) for shard in shards[first::step]]


def _in_turns(readers: Iterator[Iterator[Any]]) -> Iterator[Any]:
    """Yield one item of each open reader in turn; a reader that ends is replaced by the next one."""
    open_readers: deque[Iterator[Any]] = deque()
    while True:
        while len(open_readers) < _OPEN_SHARDS and (reader := next(readers, None)) is not None:
            open_readers.append(reader)
        if not open_readers:
            return
        reader = open_readers.popleft()
        with suppress(StopIteration):
            yield next(reader)
            open_readers.append(reader)


def measure(config: NerConfig, sample: Sequence[Document], *, seconds: float, processes: int | None = None) -> Measured:
    """Runs the model over the sample on every core of this machine.

    Args:
        config: Configuration of the planned run, with a CPU as its device.
        sample: The documents to read.
        seconds: The least time of measuring; the sample is read repeatedly, at least once.
        processes: Number of processes; None uses one for each core that this process may use.

    Raises:
        ValueError: if the device is not a CPU, or a process ends early.
    """
    device = config.model.device
    if device not in ("auto", "cpu"):
        raise ValueError(f"--device={device!r}: not a CPU; expected the measured rate of such a worker in --rates")
    config = replace(config, model=replace(config.model, device="cpu", threads=1))
    processes = min(processes or usable_cores(), len(sample))
    parts = [list(sample[number::processes]) for number in range(processes)]
    context = multiprocessing.get_context("spawn")  # a fork's memory would include this process's
    workers = []
    try:
        for part in parts:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(config, part, seconds, theirs), daemon=True)
            process.start()
            theirs.close()  # so that reading from `ours` fails once the process has ended
            workers.append((process, ours))
        ready = [_answer(connection) for _, connection in workers]
        for _, connection in workers:
            connection.send("go")
        timed: list[_Timed] = [_answer(connection) for _, connection in workers]
    finally:
        for process, connection in workers:
            connection.close()
            process.join(10)
            process.terminate()
    return _measured(config, sample, timed, ready)


def _measured(config: NerConfig, sample: Sequence[Document], timed: Sequence[_Timed], ready: Sequence[Any]) -> Measured:
    seconds, engine, precision = max(ready)
    read = sum(one.documents for one in timed)
    return Measured(
        documents=len(sample),
        failures=sum(one.failures for one in timed),
        processes=len(timed),
        documents_per_second=sum(one.documents / one.seconds for one in timed) / len(timed),
        process_mib=max(one.peak_mib for one in timed),
        load_seconds=seconds,
        tokens=sum(one.tokens for one in timed) / read,
        bytes_in=sum(map(_bytes, sample)) / len(sample),
        bytes_out=sum(one.bytes_out for one in timed) / read,
        model=config.model.model,
        engine=engine,
        precision=precision,
    )


def _bytes(document: Document) -> int:
    return len(document.text.encode("utf-8", "surrogatepass") if document.payload is None else document.payload)


def _answer(connection: Connection) -> Any:
    try:
        answer = connection.recv()
    except EOFError:
        raise ValueError(
            "a measuring process was ended, most likely because the memory is too small for one model for each core"
        ) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _serve(config: NerConfig, documents: Sequence[Document], seconds: float, connection: Connection) -> None:
    """Loads the model, waits for the other processes, and reads the documents."""
    # A terminal sends Ctrl-C to this process too, but the planning process ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    begin = time.monotonic()
    try:
        classifier: Any = config.handler().load_model()
        _read(config, classifier, documents[:_WARM_UP])
        engine = classifier.engine
        connection.send((time.monotonic() - begin, engine.name, engine.precision))
        connection.recv()
        connection.send(_time(config, classifier, documents, seconds))
    except (EOFError, BrokenPipeError):
        return
    except ArgumentError as error:
        connection.send(ValueError(f"--{error}"))
    except Exception as error:
        # Messages of this program are sentences about flags; other messages could quote a text.
        ours = isinstance(error, ValueError)
        connection.send(error if ours else ValueError(f"measuring failed: {type(error).__name__}"))


def _time(config: NerConfig, classifier: Any, documents: Sequence[Document], seconds: float) -> _Timed:
    begin = time.perf_counter()
    read = tokens = size = failures = 0
    while not read or time.perf_counter() - begin < seconds:
        tokens_of_pass, size_of_pass, failures = _read(config, classifier, documents)
        read, tokens, size = read + len(documents), tokens + tokens_of_pass, size + size_of_pass
    return _Timed(read, time.perf_counter() - begin, failures, tokens, size, peak_mib())


def _read(config: NerConfig, classifier: Any, documents: Sequence[Document]) -> tuple[int, int, int]:
    """Return the numbers of tokens, bytes of results, and failures."""
    # Imported here, since it loads PyTorch, which would delay the command line.
    from transforms.beam.ner import group_document

    tokens = size = failures = 0
    classify = functools.partial(classifier.classify, scores=config.rules.scores)
    for outcome in itertools.chain.from_iterable(map(classify, _batches(documents, config.model.max_batch_chars))):
        if isinstance(outcome, Failure):
            failures += 1
            continue
        result = group_document(outcome, config.rules)
        tokens += outcome.num_tokens
        size += len(result_line(result, config.include_text).encode()) + 1
    return tokens, size, failures


def _batches(documents: Sequence[Document], limit: int) -> Iterator[list[Document]]:
    """Yields batches of the size that the model handler asks Beam for."""
    from transforms.beam.model_handler import batch_size

    return chunks(documents, limit, batch_size)
