"""The whole graph on one screen."""

from __future__ import annotations

import apache_beam as beam

from pipeline.config import NerConfig
from pipeline.sinks import WriteFailures, WriteResults
from pipeline.sources import ReadDocuments
from transforms import ClassifyTokens, GroupEntities


def build(pipeline: beam.Pipeline, config: NerConfig) -> None:
    """Adds the steps from files to entities; whatever fails on the way goes to the dead letter.

    The labels are part of a job's identity: a streaming job can be updated in place only while they stay.
    """
    read = pipeline | "ReadDocuments" >> ReadDocuments(
        config.input, config.input_format, text_field=config.text_field, id_field=config.id_field
    )
    classified = read.documents | "ClassifyTokens" >> ClassifyTokens(config.handler())
    group = GroupEntities(
        config.aggregation_strategy,
        ignore_labels=config.ignore_labels,
        min_score=config.min_score,
        window_join=config.window_join,
    )
    grouped = classified | "GroupEntities" >> group.with_exception_handling()
    _ = grouped.results | "WriteResults" >> WriteResults(
        config.output,
        config.output_format,
        config.aggregation_strategy.value,
        config.include_text,
        num_shards=config.num_shards,
    )
    failures = (read.failures, classified.failures, grouped.failures) | "AllFailures" >> beam.Flatten()
    _ = failures | "WriteFailures" >> WriteFailures(config.dead_letter)
