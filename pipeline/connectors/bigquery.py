"""BigQuery tables as input, output and dead letter, and queries as input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.checks.replay import check_replay_table
from pipeline.checks.table_input import check_input_table, check_query, check_read_method
from pipeline.checks.table_output import prepare_table
from pipeline.connectors.base import (
    CheckedInput,
    Connector,
    Outputs,
    check_no_attributes,
    check_no_file_flags,
    check_no_ordering_key,
    fields_of,
    record_fields,
)
from pipeline.io.bigquery.read import ReadTable
from pipeline.io.bigquery.tables import TableLayout, failure_layout, failure_table_of, result_layout
from pipeline.io.bigquery.write import WriteFailureTable, WriteResultTable
from pipeline.io.fields import DocumentFields
from pipeline.options import NerOptions
from pipeline.places import Query, Table, is_written

if TYPE_CHECKING:
    from pipeline.config import NerConfig


class TableConnector(Connector):
    """Tables; see `Connector`."""

    is_table = True

    def check_input(self, place: Table, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks that the table exists, with columns that fit."""
        check_no_attributes(options, f"only for messages; expected none with --input={str(place)!r}")
        _check_no_format(options, "input")
        if is_written(place, outputs.output, outputs.dead_letter):
            raise ValueError(
                f"--input={str(place)!r}: is where this run writes; expected another --output or --dead_letter"
            )
        cloud = options.view_as(GoogleCloudOptions)
        check_read_method(options.read_method, cloud.temp_location)
        check_no_file_flags(options, place)
        fields = DocumentFields(options.text_field, options.id_field)
        columns = check_input_table(place, fields, method=options.read_method, project=cloud.project)
        return CheckedInput("auto", fields_of(options, outputs, columns))

    def check_replay(self, place: Table, options: NerOptions, outputs: Outputs) -> None:
        """Checks that the table contains failures."""
        check_replay_table(place)

    def check_output(self, place: Table, options: NerOptions) -> str:
        """Rejects a format; the table itself is checked by `prepare_results`."""
        check_no_ordering_key(options)
        if options.output_format != "auto":
            raise ValueError(
                f"--output_format={options.output_format!r}: only for files; expected none with"
                f" --output={options.output!r}, which is a table"
            )
        return "jsonl"

    def default_dead_letter(self, place: Table, output_format: str) -> Table:
        """Return a table beside that of the results."""
        return failure_table_of(place)

    def prepare_results(self, place: Table, config: NerConfig) -> None:
        """Creates the table if it is missing, and checks it otherwise."""
        tables = config.tables
        layout = _result_layout(config)
        prepare_table(place, layout, create=tables.create, write_disposition=tables.write_disposition)

    def prepare_failures(self, place: Table, config: NerConfig) -> None:
        """Creates the table if it is missing, and checks it otherwise."""
        prepare_table(place, _failure_layout(config), create=config.tables.create, flag="--dead_letter")

    def read(self, place: Table, config: NerConfig) -> Any:
        """Return the transform that reads the table."""
        return "ReadTable" >> ReadTable(place, **record_fields(config), method=config.read_method)

    def write_results(self, place: Table, config: NerConfig) -> Any:
        """Return the transform that writes results as rows."""
        return WriteResultTable(
            place,
            config.rules.strategy.value,
            config.include_text,
            config.tables.granularity,
            config.tables.write_method,
            kept=config.fields.keep,
            write_disposition=config.tables.write_disposition,
            layout=_result_layout(config) if config.tables.create else None,
        )

    def write_failures(self, place: Table, config: NerConfig) -> Any:
        """Return the transform that writes failures as rows."""
        layout = _failure_layout(config) if config.tables.create else None
        return WriteFailureTable(place, config.tables.failure_method, layout=layout)


class QueryConnector(Connector):
    """Queries, which are read; see `Connector`."""

    def check_input(self, place: Query, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks the query by a dry run."""
        _check_no_format(options, "query")
        cloud = options.view_as(GoogleCloudOptions)
        check_read_method(options.read_method, cloud.temp_location)
        check_no_file_flags(options, place)
        columns = check_query(place.sql, cloud.project, DocumentFields(options.text_field, options.id_field))
        return CheckedInput("auto", fields_of(options, outputs, columns))

    def read(self, place: Query, config: NerConfig) -> Any:
        """Return the transform that reads the query's result."""
        return "ReadQuery" >> ReadTable(query=place.sql, **record_fields(config), method=config.read_method)


def _result_layout(config: NerConfig) -> TableLayout:
    tables = config.tables
    return result_layout(
        config.rules.strategy.value,
        config.include_text,
        tables.granularity,
        config.fields.keep,
        partition=tables.partition_by_day,
        cluster=tables.cluster_by_id,
    )


def _failure_layout(config: NerConfig) -> TableLayout:
    return failure_layout(partition=config.tables.partition_by_day)


def _check_no_format(options: NerOptions, name: str) -> None:
    if options.input_format != "auto":
        raise ValueError(
            f"--input_format={options.input_format!r}: only for files and messages; expected none with --{name},"
            " which has columns"
        )
