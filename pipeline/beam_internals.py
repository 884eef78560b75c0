"""All uses of Beam's private names, each with its reason. Check this module first when Beam is upgraded.

`tests/pipeline/test_beam_internals.py` tests that each name exists and behaves as described here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import apache_beam as beam
from apache_beam.internal.gcp.auth import _Credentials
from apache_beam.io.filesystem import FileSystem
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.runners.direct.transform_evaluator import TransformEvaluatorRegistry, _TransformEvaluator
from apache_beam.runners.portability.portable_runner import PortableRunner

BeamArgumentParser = _BeamArgumentParser
"""The parser to which Beam's classes of options add their flags. It has a method that other parsers lack."""

TransformEvaluator: Any = _TransformEvaluator
"""The base class of evaluators, which run steps on Beam's DirectRunner.

Beam's own sources on that runner are evaluators. Beam has no public interface for another one.
"""

_CLEAN_UP_GLOB = "-[0-9][0-9][0-9][0-9][0-9]-of-%(num_shards)05d"


def register_evaluator(transform: type[beam.PTransform], evaluator: type) -> None:
    """Makes Beam's DirectRunner run a transform with an evaluator.

    The table of overrides is the only way to add an evaluator from outside. Its name marks it as meant for tests.
    """
    TransformEvaluatorRegistry._test_evaluators_overrides[transform] = evaluator


def limit_cleanup_glob(write: Any) -> Any:
    """Makes a transform of Beam that writes files delete only its own files.

    Before Beam names its files, it deletes all files that match `prefix-*-of-00001suffix`. For `out/x`, that pattern
    also matches `out/x-failures-00000-of-00001`.

    Args:
        write: `WriteToText`, `WriteToParquet` or `WriteToAvro`.

    Returns:
        The same transform.
    """
    if hasattr(write, "_sink"):
        write._sink.shard_name_glob_format = _CLEAN_UP_GLOB
        return write
    make = write._sink_provider

    def limited(*arguments: Any) -> Any:
        sink = make(*arguments)
        sink.shard_name_glob_format = _CLEAN_UP_GLOB
        return sink

    write._sink_provider = limited
    return write


def storage_client(file_system: FileSystem) -> Any:
    """Return Beam's client of Google Cloud Storage, with Beam's credentials and retries.

    Beam has no upload that fails if the name is already taken (`if_generation_match`).
    """
    return file_system._gcsIO().client


def go_without_credentials() -> None:
    """Makes Beam go on without Google credentials in this process, as it does after its own search for them.

    Its search takes half a minute and prints a stack at each of its attempts. No option ends it.
    """
    _Credentials._credentials, _Credentials._credentials_init = None, True


def process_options() -> PipelineOptions | None:
    """Return the options of this process's pipeline, in the submitting process and in workers; None before either.

    Beam gives them to file systems alone, by `FileSystems.set_options`. It has no method that returns them.
    """
    return FileSystems._pipeline_options


def metrics_containers(sampler: Any) -> list[Any]:
    """Return the metrics containers of a state sampler's steps, without duplicates: a step's states share one."""
    states = sampler._states_by_name.values()
    return list({id(state.metrics_container): state.metrics_container for state in states}.values())


def before_job(runner: PortableRunner, action: Callable[[], object]) -> None:
    """Calls a function when a job server has accepted a pipeline with its artifacts, right before the job runs.

    Beam submits a job in three calls (prepare, stage, run) of the handle that `create_job_service` returns. It has no
    interface for an action between them. The function is not called if the server cannot be started or reached.
    """
    create = runner.create_job_service

    def creating(options: PipelineOptions) -> Any:
        handle = create(options)
        run = handle.run

        def running(preparation_id: str) -> Any:
            action()
            return run(preparation_id)

        handle.run = running
        return handle

    runner.create_job_service = creating


def add_flags(options: type[PipelineOptions], parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a class of options to a parser, without creating the options."""
    options._add_argparse_args(parser)
