"""The whole graph on one screen."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.config import NerConfig
from pipeline.places import Topic
from pipeline.sinks import WriteFailures, WriteResults
from pipeline.sinks.pubsub import WriteFailureMessages, WriteResultMessages
from pipeline.sources import ReadDocuments
from pipeline.sources.acknowledge import Acknowledge
from pipeline.sources.pubsub import ReadMessages
from transforms import ClassifyTokens, GroupEntities


def build(pipeline: beam.Pipeline, config: NerConfig) -> None:
    """Adds the steps from texts to entities; whatever fails on the way goes to the dead letter.

    The labels are part of a job's identity: a streaming job can be updated in place only while they stay.
    """
    read = pipeline | _read(config)
    classified = read.documents | "ClassifyTokens" >> ClassifyTokens(config.handler())
    group = GroupEntities(
        config.aggregation_strategy,
        ignore_labels=config.ignore_labels,
        min_score=config.min_score,
        window_join=config.window_join,
    )
    grouped = classified | "GroupEntities" >> group.with_exception_handling()
    failures = [read.failures, classified.failures, grouped.failures]
    written = grouped.results | _write_results(config)
    if isinstance(config.output, Topic):
        failures.append(written.failures)
    buried = failures | "AllFailures" >> beam.Flatten() | _write_failures(config)
    if config.streaming:
        _ = (written.receipts, buried.receipts) | "Receipts" >> beam.Flatten() | "Acknowledge" >> Acknowledge()


def _read(config: NerConfig) -> Any:
    if not config.streaming:
        return "ReadDocuments" >> ReadDocuments(
            str(config.input), config.input_format, text_field=config.text_field, id_field=config.id_field
        )
    return "ReadMessages" >> ReadMessages(
        str(config.input),
        config.input_format,
        config.text_field,
        config.id_field,
        id_attribute=config.id_attribute,
        timestamp_attribute=config.timestamp_attribute,
    )


def _write_results(config: NerConfig) -> Any:
    if isinstance(config.output, Topic):
        return "WriteResults" >> WriteResultMessages(
            str(config.output), config.include_text, ordering_key_attribute=config.ordering_key_attribute
        )
    return "WriteResults" >> WriteResults(
        str(config.output),
        config.output_format,
        config.aggregation_strategy.value,
        config.include_text,
        num_shards=config.num_shards,
    )


def _write_failures(config: NerConfig) -> Any:
    if isinstance(config.dead_letter, Topic):
        return "WriteFailures" >> WriteFailureMessages(str(config.dead_letter))
    return "WriteFailures" >> WriteFailures(str(config.dead_letter))
