"""From the command line to a finished run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineState

from pipeline.command_line import LOCAL_RUNNERS, PROGRAM, parse
from pipeline.config import NerConfig
from pipeline.options import NerOptions
from pipeline.run_errors import sentence_of
from pipeline.sinks import written_files
from pipeline.sources.direct_pull import runs_direct
from pipeline.start_signals import run_begins
from pipeline.streaming import drained_by_signals, streaming_metrics, streaming_runner
from pipeline.summary import Summary

_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        0 when the run has ended well (or was handed to a remote runner), 1 when it has not, 2 for a mistake in the
        flags, which is told in one sentence before any worker starts.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger().handlers[0].addFilter(_is_worth_reading)
    for package in ("pipeline", "transforms"):
        logging.getLogger(package).setLevel(logging.INFO)
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        config = NerConfig.from_options(options.view_as(NerOptions))
        pipeline = _pipeline(options, config)
        if _runs_in_this_process(options):
            config.load_model()  # a broken model is known before the first worker, and loaded once
        config.prepare_tables()
    except ValueError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    return _run(pipeline, options, config)


def _runs_in_this_process(options: PipelineOptions) -> bool:
    mode = options.view_as(DirectOptions).direct_running_mode
    return options.view_as(StandardOptions).runner in LOCAL_RUNNERS and mode in (None, "in_memory")


def _pipeline(options: PipelineOptions, config: NerConfig) -> beam.Pipeline:
    from pipeline.graph import build  # loads PyTorch, for which a mistake in the flags need not wait

    runner = streaming_runner(options) if config.streaming else None
    pipeline = beam.Pipeline(runner, options=options)
    build(pipeline, config)
    return pipeline


def _run(pipeline: beam.Pipeline, options: PipelineOptions, config: NerConfig) -> int:
    begin = time.monotonic()
    try:
        with drained_by_signals() if runs_direct(pipeline) else nullcontext():
            run_begins()  # only here: no moment is left without anyone to take a signal
            _clear(config)
            result = pipeline.run()
            if options.view_as(StandardOptions).runner == "DataflowRunner":
                print(f"{PROGRAM}: job {result.job_id()} is submitted")
                return 0
            state = result.wait_until_finish()
    except Exception as error:  # the runner has logged the stack
        print(f"{PROGRAM}: error: the run failed: {sentence_of(error)}", file=sys.stderr)
        return 1
    if state not in (None, PipelineState.DONE):
        print(f"{PROGRAM}: error: the run ended as {state}", file=sys.stderr)
        return 1
    metrics = streaming_metrics(result) if config.streaming else result.metrics()
    summary = Summary.of(metrics, seconds=time.monotonic() - begin)
    print(*summary.lines(*_written_to(config)), sep="\n")
    return 0


def _written_to(config: NerConfig) -> Iterator[str]:
    """Where results and failures are: a glob, a table or a topic."""
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
    """False for a warning of Beam's that comes with every worker wherever its optional parts are not installed."""
    return "Resource module is not available" not in record.getMessage()
