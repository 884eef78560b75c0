"""The ends of the graph: which transforms read and write the places of a run."""

from __future__ import annotations

from typing import Any

from pipeline.config import NerConfig
from pipeline.io.bigquery.read import ReadTable
from pipeline.io.bigquery.write import WriteFailureTable, WriteResultTable
from pipeline.io.files.read import ReadDocuments
from pipeline.io.files.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.io.files.write import WriteFailures, WriteResults
from pipeline.io.pubsub.read import ReadMessages
from pipeline.io.pubsub.write import WriteFailureMessages, WriteResultMessages
from pipeline.io.replay import ReadFailures
from pipeline.places import Files, Query, Replay, Subscription, Table, Topic


def read_documents(config: NerConfig) -> Any:
    """What gives the `ReadResult` of the run's input, with its label."""
    source = config.input
    fields: dict[str, Any] = {"text_field": config.text_field, "id_field": config.id_field}
    if isinstance(source, Subscription | Topic):
        return "ReadMessages" >> ReadMessages(
            str(source),
            config.input_format,
            **fields,
            id_attribute=config.id_attribute,
            timestamp_attribute=config.timestamp_attribute,
            hold_seconds=_hold_seconds(config),
        )
    if isinstance(source, Table):
        return "ReadTable" >> ReadTable(source, **fields, method=config.read_method)
    if isinstance(source, Query):
        return "ReadQuery" >> ReadTable(query=source.sql, **fields, method=config.read_method)
    if isinstance(source, Replay):
        hold_seconds = _hold_seconds(config)
        return "ReadFailures" >> ReadFailures(source.place, config.input_format, **fields, hold_seconds=hold_seconds)
    return "ReadDocuments" >> ReadDocuments(str(source), config.input_format, **fields, balance=config.balance)


def _hold_seconds(config: NerConfig) -> float:
    """How long a stream's results may wait for their file."""
    files = any(isinstance(place, Files) for place in (config.output, config.dead_letter))
    return config.window_seconds if files else 0


def write_results(config: NerConfig) -> Any:
    """What writes the results; in streaming, and to tables and topics, it gives `Written`."""
    place, strategy = config.output, config.aggregation_strategy.value
    if isinstance(place, Topic):
        return WriteResultMessages(
            str(place), config.include_text, ordering_key_attribute=config.ordering_key_attribute
        )
    if isinstance(place, Table):
        return WriteResultTable(
            place,
            strategy,
            config.include_text,
            config.tables.granularity,
            config.tables.write_method,
            write_disposition=config.tables.write_disposition,
        )
    if config.streaming:
        return WriteWindowedResults(
            str(place),
            config.output_format,
            strategy,
            config.include_text,
            config.window_seconds,
            config.allowed_lateness_seconds,
            max(1, config.num_shards),
            escape_formulas=config.escape_formulas,
        )
    return WriteResults(
        str(place),
        config.output_format,
        strategy,
        config.include_text,
        config.num_shards,
        escape_formulas=config.escape_formulas,
    )


def write_failures(config: NerConfig) -> Any:
    """What writes the failures, likewise."""
    place = config.dead_letter
    if isinstance(place, Topic):
        return WriteFailureMessages(str(place))
    if isinstance(place, Table):
        return WriteFailureTable(place, config.tables.failure_method)
    if config.streaming:
        return WriteWindowedFailures(str(place), config.window_seconds, config.allowed_lateness_seconds)
    return WriteFailures(str(place))
