"""The whole graph on one screen."""

from __future__ import annotations

import apache_beam as beam

from pipeline.config import NerConfig
from pipeline.connectors.registry import connector_of
from pipeline.io.failure_reasons import CountReasons
from pipeline.io.outcomes import Written
from pipeline.io.pubsub.acknowledge import Acknowledge
from transforms import ClassifyTokens, GroupEntities


def build(pipeline: beam.Pipeline, config: NerConfig) -> None:
    """Adds the steps from texts to entities; the failures of every step go to the dead letter.

    Beam identifies steps by their labels: a streaming job can be updated in place only if the labels do not change.
    """
    read = pipeline | connector_of(config.input).read(config.input, config)
    classify = ClassifyTokens(config.handler()).with_resource_hints(**config.hints)
    classified = read.documents | "ClassifyTokens" >> classify
    group = GroupEntities(rules=config.rules)
    grouped = classified | "GroupEntities" >> group.with_exception_handling()
    results, failures = connector_of(config.output), connector_of(config.dead_letter)
    written = grouped.results | "WriteResults" >> results.write_results(config.output, config)
    failed = [read.failures, classified.failures, grouped.failures]
    if isinstance(written, Written):
        failed.append(written.failures)
    write_failures = failures.write_failures(config.dead_letter, config)
    counted = failed | "AllFailures" >> beam.Flatten() | "Reasons" >> CountReasons()
    buried = counted | "WriteFailures" >> write_failures
    if config.streaming:
        _ = (written.receipts, buried.receipts) | "Receipts" >> beam.Flatten() | "Acknowledge" >> Acknowledge()
