"""Every reach into private names of Beam, each with its reason; an upgrade of Beam starts here.

`tests/pipeline/test_beam_internals.py` tests that each name is there and does what is said of it.
"""

from __future__ import annotations

import argparse
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import FileSystem
from apache_beam.options.pipeline_options import PipelineOptions, _BeamArgumentParser
from apache_beam.runners.direct.transform_evaluator import TransformEvaluatorRegistry, _TransformEvaluator

BeamArgumentParser = _BeamArgumentParser
"""The parser that Beam's classes of options add their flags to; it has a method that other parsers lack."""

TransformEvaluator: Any = _TransformEvaluator
"""The base class of steps on Beam's DirectRunner. Its own sources are evaluators; nothing public makes another."""

_CLEAN_UP_GLOB = "-[0-9][0-9][0-9][0-9][0-9]-of-%(num_shards)05d"


def register_evaluator(transform: type[beam.PTransform], evaluator: type) -> None:
    """Has Beam's DirectRunner run a transform by an evaluator.

    The overrides are the only place where the runner takes one from outside. By its name it is for tests.
    """
    TransformEvaluatorRegistry._test_evaluators_overrides[transform] = evaluator


def limit_cleanup_glob(write: Any) -> Any:
    """Has a transform of Beam that writes files delete no files but its own.

    Before it names its files, Beam deletes what matches `prefix-*-of-00001suffix`: that of `out/x` would take
    `out/x-failures-00000-of-00001` along.

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
    """Return the client of Google Cloud Storage, with Beam's own credentials and retries.

    Beam has no upload that succeeds only if it is the first of its name (`if_generation_match`).
    """
    return file_system._gcsIO().client


def metrics_containers(sampler: Any) -> list[Any]:
    """Return the containers that a state sampler's steps count in, each once: a step's states share one."""
    states = sampler._states_by_name.values()
    return list({id(state.metrics_container): state.metrics_container for state in states}.values())


def add_flags(options: type[PipelineOptions], parser: argparse.ArgumentParser) -> None:
    """Adds the flags of a class of options to a parser, without making the options."""
    options._add_argparse_args(parser)
