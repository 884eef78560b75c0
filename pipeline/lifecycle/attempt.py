"""The early end of a run, by a signal or a failure."""

from __future__ import annotations

import shutil
import signal
from contextlib import suppress

import apache_beam as beam
import grpc
from apache_beam.io.filesystem import BeamIOError
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.runners.runner import PipelineResult

from pipeline import PROGRAM
from pipeline.config import NerConfig
from pipeline.io.files.names import delete_folder, temporary_folders
from pipeline.process.children import end_children
from pipeline.process.signals import OUTCOMES

_REMOVALS = 3  # attempts, since a step that is still running may create another file meanwhile


class Attempt:
    """One run, with the clean-up for an early end.

    Attributes:
        pipeline: The pipeline to run.
        options: The flags.
        config: The configuration from the flags.
        result: The runner's result; None until the pipeline runs.
    """

    def __init__(self, pipeline: beam.Pipeline, options: PipelineOptions, config: NerConfig) -> None:
        """Lists the temporary folders of earlier runs, which this run must not delete."""
        self.pipeline, self.options, self.config = pipeline, options, config
        portable = options.view_as(PortableOptions)
        self._server = portable.job_endpoint
        self._works_here = portable.environment_type == "LOOPBACK"
        files = [] if config.streaming else [config.result_files, config.failure_files]
        self._prefixes = [prefix for prefix, _ in filter(None, files)]
        self._earlier = self._temporary_folders()
        self.result: PipelineResult | None = None

    def stop(self, number: int) -> str:
        """Ends the run after a signal that ends this process, with all processes that this process has started.

        A job on a job server is cancelled. The exception is SIGTERM for a job whose workers are elsewhere: it ends
        the program that submitted the job, and the job continues.

        Args:
            number: Number of the signal.

        Returns:
            The outcome, in one line.
        """
        if number == signal.SIGTERM and self.result is not None and self._server and not self._works_here:
            return f"{PROGRAM}: terminated; the job goes on at {self._server}"
        outcome = OUTCOMES[number] + self._cancel()
        end_children()
        self.clean_up()
        return f"{PROGRAM}: {outcome}"

    def interrupt(self) -> str:
        """Ends the run after Ctrl-C, in a process that continues; returns the outcome, in one line."""
        outcome = OUTCOMES[signal.SIGINT] + self._cancel()
        self.clean_up()
        return f"{PROGRAM}: {outcome}"

    def _cancel(self) -> str:
        """Cancels a job on a job server, which does not end with this process; returns text for the outcome."""
        if self.result is not None and self._server:
            with suppress(NotImplementedError, RuntimeError, grpc.RpcError):
                self.result.cancel()
                return "; the job is cancelled"
        return ""

    def clean_up(self) -> None:
        """Deletes the pipeline's own folder, and the temporary folders of this run's output files."""
        shutil.rmtree(self.pipeline.local_tempdir, ignore_errors=True)
        for _ in range(_REMOVALS):
            for folder in self._temporary_folders() - self._earlier:
                delete_folder(folder)

    def _temporary_folders(self) -> set[str]:
        found: set[str] = set()
        for prefix in self._prefixes:
            with suppress(BeamIOError, OSError):
                found.update(temporary_folders(prefix))
        return found
