"""Runs the program, from the command line to the summary."""

from __future__ import annotations

import logging
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineState

from pipeline.beam_internals import before_job
from pipeline.command_line import PROGRAM, parse
from pipeline.config import NerConfig, arguments_as_flags
from pipeline.io.files.names import written_files
from pipeline.io.pubsub.direct_pull import runs_direct
from pipeline.lifecycle.attempt import Attempt
from pipeline.lifecycle.drain import drained_by_signals
from pipeline.lifecycle.errors import describe_run_error
from pipeline.lifecycle.waiting import work_awaited
from pipeline.options import NerOptions
from pipeline.process.output import report, show
from pipeline.process.signals import clean_up_by, run_begins, run_ended, wait_if_ending
from pipeline.runners.selection import batch_runner, named_runner, runs_in_this_process, streaming_runner
from pipeline.summary import Summary, counters_of, streaming_metrics

_NOISE = (
    "Really starting service at",  # Prism, as this run's own job server
    "Really destroying service at",
    "Resource module is not available",  # Beam's optional parts are not installed
    "No semi_persistent_directory found",  # a worker's folder for a pickled main session, which is not used here
)

_logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program.

    Args:
        argv: Arguments without the program's name; None uses those of the process.

    Returns:
        0 if the run succeeded (or was handed to Dataflow), 1 if it failed, 130 if Ctrl-C ended it, and 2 for a mistake
        in the flags. Such a mistake is reported in one sentence before any worker starts.
    """
    _log_to_standard_error()
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        config = NerConfig.from_options(options.view_as(NerOptions))
        attempt = Attempt(_pipeline(options, config), options, config)
    except (ValueError, OSError) as error:  # OSError: there is no temporary folder, for example
        return _mistaken(error)
    except KeyboardInterrupt:  # in a notebook; in its own process, the program ends by itself
        report(f"{PROGRAM}: interrupted")
        return 130
    except SystemExit as ended:  # --help, which is no error in a notebook either
        return int(ended.code or 0)
    clean_up_by(attempt.clean_up)
    try:
        if runs_in_this_process(options):
            config.load_model()  # loaded once, and a broken model is reported before any worker starts
        config.prepare_outputs()
    except (ValueError, OSError) as error:
        attempt.clean_up()
        return _mistaken(error)
    except KeyboardInterrupt:
        report(attempt.interrupt())
        return 130
    return _run(attempt)


def _log_to_standard_error() -> None:
    """Sets up logging, unless the host process has done so."""
    for package in ("pipeline", "transforms"):
        logging.getLogger(package).setLevel(logging.INFO)
    if logging.getLogger().handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_is_worth_reading)
    logging.getLogger().addHandler(handler)


def _mistaken(error: Exception) -> int:
    line = " ".join(line.strip() for line in str(error).splitlines())  # Beam lists missing flags, one a line
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in line)
    report(f"{PROGRAM}: error: {line}")
    return 2


def _pipeline(options: PipelineOptions, config: NerConfig) -> beam.Pipeline:
    from pipeline.graph import build  # loads PyTorch, so a mistake in the flags is reported before

    chosen = streaming_runner(options) if config.streaming else batch_runner(options)
    pipeline = beam.Pipeline(chosen or named_runner(options), options=options)
    # Beam's copy of the options lacks this flag. Its runners and its file systems need it.
    account = options.view_as(GoogleCloudOptions).impersonate_service_account
    pipeline.options.view_as(GoogleCloudOptions).impersonate_service_account = account
    forget = partial(shutil.rmtree, pipeline.local_tempdir, ignore_errors=True)
    clean_up_by(forget)
    try:
        with arguments_as_flags():
            build(pipeline, config)
    except (ValueError, OSError, KeyboardInterrupt):
        forget()
        raise
    return pipeline


def _run(attempt: Attempt) -> int:
    begin = time.monotonic()
    pipeline, options, config = attempt.pipeline, attempt.options, attempt.config
    direct = runs_direct(pipeline)
    try:
        with drained_by_signals() if direct else nullcontext():
            run_begins(None if direct else attempt.stop)  # after the handlers above are set: no signal is missed
            attempt.result = result = _start(pipeline, config)
            if options.view_as(StandardOptions).runner == "DataflowRunner":
                show(f"{PROGRAM}: {_handed_over(result, options)}")
                return 0
            with work_awaited(result):
                state = _wait(result, direct=direct)
    except KeyboardInterrupt:
        report(attempt.interrupt())
        return 130
    except Exception as error:  # the runner has logged the stack
        sentence = describe_run_error(error)
        if sentence.startswith("KeyboardInterrupt"):  # in a step that runs in this thread, as in a notebook
            report(attempt.interrupt())
            return 130
        return _failed(attempt, f"the run failed: {sentence}")
    if state not in (None, PipelineState.DONE):
        return _failed(attempt, f"the run ended as {state}")
    metrics = streaming_metrics(result) if config.streaming else result.metrics()
    summary = Summary.of(metrics, seconds=time.monotonic() - begin)
    if config.streaming:  # the DirectRunner does not show them
        counts = (f"{name} {count}" for name, count in sorted(counters_of(metrics).items()))
        _logger.info("counters: %s", ", ".join(counts))
    problem = None if config.streaming else summary.problem(config.max_failures)
    run_ended(0 if problem is None else 1)
    show("\n".join(summary.lines(*_written_to(config))))
    if problem is None:
        return 0
    report(f"{PROGRAM}: error: {problem}")
    return 1


def _wait(result: PipelineResult, *, direct: bool) -> str | None:
    """Waits for the end of a run; Ctrl-C also ends the DirectRunner's threads, which would read on in a notebook."""
    try:
        return result.wait_until_finish()
    except KeyboardInterrupt:
        if direct:  # in a thread, since it waits for the step that runs
            threading.Thread(target=result.cancel, name="cancel", daemon=True).start()
        raise


def _failed(attempt: Attempt, sentence: str) -> int:
    wait_if_ending()
    attempt.clean_up()
    report(f"{PROGRAM}: error: {sentence}")
    return 1


def _handed_over(result: PipelineResult, options: PipelineOptions) -> str:
    """Return the outcome of a job for Dataflow.

    The program does not wait for the job; a job for a template is submitted by a launcher after the program has ended.
    """
    if not _is_handed_over(result, options):
        return "the job was built, and not submitted"
    template = options.view_as(GoogleCloudOptions).template_location
    return f"the job is described in {template}" if template else f"job {result.job_id()} is submitted"


def _is_handed_over(result: PipelineResult, options: PipelineOptions) -> bool:
    return getattr(result, "has_job", False) or bool(options.view_as(GoogleCloudOptions).template_location)


def _written_to(config: NerConfig) -> Iterator[str]:
    """Yield the place of results and the place of failures, each as a glob, a table or a topic."""
    shards = "-*Z-?????-of-?????" if config.streaming else "-?????-of-?????"
    for place, files in ((config.output, config.result_files), (config.dead_letter, config.failure_files)):
        yield shards.join(files) if files else str(place)


def _start(pipeline: beam.Pipeline, config: NerConfig) -> PipelineResult:
    """Starts the run; the files of an earlier run with the same prefix are deleted when it is sure to start.

    The files are deleted before this run can write any. So old and new results are never read together, even if the
    run fails. But a run that a job server or Dataflow does not accept deletes nothing. Workers of Dataflow start about
    a minute after their job is accepted.
    """
    earlier = _earlier_files(config)
    if isinstance(pipeline.runner, DataflowRunner):
        result = pipeline.run()
        if _is_handed_over(result, pipeline.options):
            _clear(earlier)
        return result
    if isinstance(pipeline.runner, PortableRunner):
        before_job(pipeline.runner, partial(_clear, earlier))
    else:
        _clear(earlier)
    return pipeline.run()


def _earlier_files(config: NerConfig) -> list[str]:
    """Return the files of an earlier run with the same prefix; a streaming run replaces none."""
    places = () if config.streaming else (config.result_files, config.failure_files)
    return [path for files in places if files for path in written_files(*files)]


def _clear(earlier: list[str]) -> None:
    if earlier:
        FileSystems.delete(earlier)
        _logger.info("deleted %d files of an earlier run with the same prefix, %s first", len(earlier), earlier[0])


def _is_worth_reading(record: logging.LogRecord) -> bool:
    """Return False for Beam's warnings that every worker logs, and for those about features that are not used here."""
    message = record.getMessage()
    return not any(noise in message for noise in _NOISE)
