"""From the command line to a finished run."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline.command_line import PROGRAM, parse
from pipeline.config import NerConfig
from pipeline.io.files.names import written_files
from pipeline.io.pubsub.direct_pull import runs_direct
from pipeline.lifecycle.attempt import Attempt
from pipeline.lifecycle.drain import drained_by_signals
from pipeline.lifecycle.errors import sentence_of
from pipeline.lifecycle.waiting import work_awaited
from pipeline.options import NerOptions
from pipeline.process.signals import clean_up_by, run_begins, run_ended, wait_if_ending
from pipeline.runners.selection import batch_runner, runs_in_this_process, streaming_runner
from pipeline.summary import Summary, counters_of, streaming_metrics

_NOISE = (
    "Really starting service at",  # a job server of this run's own, Prism
    "Really destroying service at",
    "Resource module is not available",  # wherever Beam's optional parts are not installed
    "No semi_persistent_directory found",  # a worker's place for a pickled main session, which there is not
)

_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0 when the run has ended well (or was handed to Dataflow), 1 when it has not, 2 for a mistake in the flags,
        which is told in one sentence before any worker starts, 130 when it was ended by Ctrl-C.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().handlers[0].addFilter(_is_worth_reading)
    for package in ("pipeline", "transforms"):
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        config = NerConfig.from_options(options.view_as(NerOptions))
        attempt = Attempt(_pipeline(options, config), options, config)
    except ValueError as error:
        return _mistaken(error)
    clean_up_by(attempt.clean_up)
    try:
        if runs_in_this_process(options):
            config.load_model()  # a broken model is known before the first worker, and loaded once
        config.prepare_tables()
    except ValueError as error:
        attempt.clean_up()
        return _mistaken(error)
    return _run(attempt)


def _mistaken(error: ValueError) -> int:
    print(f"{PROGRAM}: error: {error}", file=sys.stderr)
    return 2


def _pipeline(options: PipelineOptions, config: NerConfig) -> beam.Pipeline:
    from pipeline.graph import build  # loads PyTorch, for which a mistake in the flags need not wait

    runner = streaming_runner(options) if config.streaming else batch_runner(options)
    pipeline = beam.Pipeline(runner, options=options)
    forget = partial(shutil.rmtree, pipeline.local_tempdir, ignore_errors=True)
    clean_up_by(forget)
    try:
        build(pipeline, config)
    except ValueError:
        forget()
        raise
    return pipeline


def _run(attempt: Attempt) -> int:
    begin = time.monotonic()
    pipeline, options, config = attempt.pipeline, attempt.options, attempt.config
    direct = runs_direct(pipeline)
    try:
        with drained_by_signals() if direct else nullcontext():
            run_begins(None if direct else attempt.stop)  # only here: no moment is left without anyone to take a signal
            _clear(config)
            attempt.result = result = pipeline.run()
            if options.view_as(StandardOptions).runner == "DataflowRunner":
                print(f"{PROGRAM}: {_handed_over(result, options)}")
                return 0
            with work_awaited(result):
                state = result.wait_until_finish()
    except KeyboardInterrupt:
        print(attempt.interrupt(), file=sys.stderr)
        return 130
    except Exception as error:  # the runner has logged the stack
        return _failed(attempt, f"the run failed: {sentence_of(error)}")
    if state not in (None, PipelineState.DONE):
        return _failed(attempt, f"the run ended as {state}")
    metrics = streaming_metrics(result) if config.streaming else result.metrics()
    summary = Summary.of(metrics, seconds=time.monotonic() - begin)
    if config.streaming:  # the DirectRunner shows them nowhere
        counts = (f"{name} {count}" for name, count in sorted(counters_of(metrics).items()))
        _logger.info("counters: %s", ", ".join(counts))
    run_ended(0)
    _print(summary.lines(*_written_to(config)))
    return 0


def _print(lines: list[str]) -> None:
    """Prints the summary, as far as somebody takes it: the results are whole by now."""
    try:
        print(*lines, sep="\n", flush=True)
    except OSError as error:
        print(f"{PROGRAM}: the results are written; the summary is not: {error}", file=sys.stderr)
        with suppress(OSError, ValueError):  # what is left in its buffer would raise once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failed(attempt: Attempt, sentence: str) -> int:
    wait_if_ending()
    attempt.clean_up()
    print(f"{PROGRAM}: error: {sentence}", file=sys.stderr)
    return 1


def _handed_over(result: PipelineResult, options: PipelineOptions) -> str:
    """Return the outcome of a job for Dataflow, which is not waited for: a launcher submits it when this ends."""
    if getattr(result, "has_job", False):
        return f"job {result.job_id()} is submitted"
    template = options.view_as(GoogleCloudOptions).template_location
    return f"the job is described in {template}" if template else "the job was built, and not submitted"


def _written_to(config: NerConfig) -> Iterator[str]:
    """Yield the places of results and failures: a glob, a table or a topic."""
    shards = "-*Z-?????-of-?????" if config.streaming else "-?????-of-?????"
    for place, files in ((config.output, config.result_files), (config.dead_letter, config.failure_files)):
        yield shards.join(files) if files else str(place)


def _clear(config: NerConfig) -> None:
    """Deletes the files of an earlier run with the same prefix, which a stream's windows leave alone.

    Before this run, not after it: whatever happens to it, old and new results are never read together.
    """
    if config.streaming:
        return
    earlier = [path for files in (config.result_files, config.failure_files) if files for path in written_files(*files)]
    if earlier:
        FileSystems.delete(earlier)
        _logger.info("deleted %d files of an earlier run with the same prefix, %s first", len(earlier), earlier[0])


def _is_worth_reading(record: logging.LogRecord) -> bool:
    """False for warnings of Beam's that come with every worker, and of things that this program does not use."""
    message = record.getMessage()
    return not any(noise in message for noise in _NOISE)
