"""The whole graph on one screen."""

from __future__ import annotations

import apache_beam as beam

from pipeline.config import NerConfig
from pipeline.connectors import read_documents, write_failures, write_results
from pipeline.io.outcomes import Written
from pipeline.io.pubsub.acknowledge import Acknowledge
from transforms import ClassifyTokens, GroupEntities


def build(pipeline: beam.Pipeline, config: NerConfig) -> None:
    """Adds the steps from texts to entities; whatever fails on the way goes to the dead letter.

    The labels are part of a job's identity: a streaming job can be updated in place only while they stay.
    """
    read = pipeline | read_documents(config)
    classify = ClassifyTokens(config.handler()).with_resource_hints(**config.hints)
    classified = read.documents | "ClassifyTokens" >> classify
    group = GroupEntities(
        config.aggregation_strategy,
        ignore_labels=config.ignore_labels,
        min_score=config.min_score,
        window_join=config.window_join,
    )
    grouped = classified | "GroupEntities" >> group.with_exception_handling()
    written = grouped.results | "WriteResults" >> write_results(config)
    failures = [read.failures, classified.failures, grouped.failures]
    if isinstance(written, Written):
        failures.append(written.failures)
    buried = failures | "AllFailures" >> beam.Flatten() | "WriteFailures" >> write_failures(config)
    if config.streaming:
        _ = (written.receipts, buried.receipts) | "Receipts" >> beam.Flatten() | "Acknowledge" >> Acknowledge()
