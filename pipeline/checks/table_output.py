"""Checks of tables that are written: the flags for them, and the tables themselves, which are created if missing."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.checks.bigquery import CHECK_RETRY, CHECK_SECONDS, as_value_error, find_table
from pipeline.io.bigquery.client import client_of
from pipeline.io.bigquery.storage_write import has_java
from pipeline.io.bigquery.tables import WRITE_DISPOSITIONS, TableLayout, create_table, schema_problems
from pipeline.io.bigquery.write import WRITE_METHODS, check_granularity
from pipeline.options import NerOptions
from pipeline.places import Table

_TAKE_NO_ROWS = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableSettings:
    """The settings for writing tables.

    Attributes:
        granularity: The unit of a result's row: a document or an entity.
        write_method: Method of writing results.
        failure_method: Method of writing failures.
        write_disposition: Treatment of rows that the table of results already contains.
        create: Whether to create missing tables.
        partition_by_day: Whether to partition new tables by day.
        cluster_by_id: Whether to cluster a new table of results by id.
    """

    granularity: str
    write_method: str
    failure_method: str
    write_disposition: str
    create: bool
    partition_by_day: bool
    cluster_by_id: bool


def check_tables(options: NerOptions, *, is_table: bool, streaming: bool) -> TableSettings:
    """Return the settings, which are checked if results go to a table.

    Args:
        options: The flags.
        is_table: Whether results go to a table.
        streaming: Whether the input is a stream.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    method = options.write_method
    if is_table:
        check_granularity(options.granularity, options.include_text)
        method = write_method(method, streaming, temp_location, options.write_disposition)
        if method == "STORAGE_WRITE_API" and streaming and not _acknowledges_itself(options):
            raise ValueError(
                "--write_method=STORAGE_WRITE_API: does not report which rows are written, so that no message can be"
                " acknowledged on this runner; expected STREAMING_INSERTS"
            )
    loads = is_table and method == "FILE_LOADS"  # which needs --temp_location
    return TableSettings(
        granularity=options.granularity,
        write_method=method,
        failure_method="FILE_LOADS" if loads else "STREAMING_INSERTS",
        write_disposition=options.write_disposition,
        create=options.create_disposition == "CREATE_IF_NEEDED",
        partition_by_day=options.partition_by_day,
        cluster_by_id=options.cluster_by_id,
    )


def _acknowledges_itself(options: NerOptions) -> bool:
    return options.view_as(StandardOptions).runner == "DataflowRunner"


def write_method(
    method: str, streaming: bool, temp_location: str | None, write_disposition: str = "WRITE_APPEND"
) -> str:
    """Return the write method of a run, after checks.

    Args:
        method: One of `WRITE_METHODS`, or `auto`: file loads in batch, streaming inserts in streaming.
        streaming: Whether the run is streaming, and so never ends by itself.
        temp_location: The pipeline's place for temporary files.
        write_disposition: The way to treat the rows that the table already has, one of `WRITE_DISPOSITIONS`.

    Raises:
        ValueError: If the method does not fit the other arguments; the message is one line.
    """
    if method == "auto":
        method = "STREAMING_INSERTS" if streaming else "FILE_LOADS"
    if method not in WRITE_METHODS:
        raise ValueError(f"--write_method={method}: unknown; expected one of auto, {', '.join(WRITE_METHODS)}")
    if write_disposition not in WRITE_DISPOSITIONS:
        known = ", ".join(WRITE_DISPOSITIONS)
        raise ValueError(f"--write_disposition={write_disposition}: unknown; expected one of {known}")
    if write_disposition == "WRITE_TRUNCATE" and (method != "FILE_LOADS" or streaming):
        raise ValueError(
            "--write_disposition=WRITE_TRUNCATE: replaces rows at the end; expected --write_method=FILE_LOADS, and a"
            " run that ends"
        )
    if method == "FILE_LOADS" and streaming:
        raise ValueError(
            "--write_method=FILE_LOADS: waits for the end of the input; expected STREAMING_INSERTS for a stream"
        )
    if method == "FILE_LOADS" and not (temp_location or "").startswith("gs://"):
        raise ValueError(
            "--write_method=FILE_LOADS: no place for BigQuery's files; expected --temp_location=gs://bucket/folder, or"
            " --write_method=STREAMING_INSERTS, which requires none"
        )
    if method == "STORAGE_WRITE_API":
        check_java()
    return method


def check_java() -> None:
    """Rejects the Storage Write API if there is no Java, since Beam implements it only in Java.

    Raises:
        ValueError: If there is no Java; the message is one line.
    """
    if not has_java():
        raise ValueError(
            "--write_method=STORAGE_WRITE_API: requires Java where the pipeline starts, since Beam has it in Java only;"
            " expected a Java runtime, or --write_method=STREAMING_INSERTS"
        )


def prepare_table(
    table: Table,
    layout: TableLayout,
    *,
    create: bool = True,
    write_disposition: str = "WRITE_APPEND",
    flag: str = "--output",
) -> None:
    """Creates a table before the start, or checks that an existing table accepts the rows.

    Args:
        table: The table. Its data set must exist.
        layout: The table's required layout.
        create: Whether to create a missing table.
        write_disposition: One of `WRITE_DISPOSITIONS`.
        flag: The flag that names the table, for error messages.

    Raises:
        ValueError: If the table is missing, cannot be created, or cannot accept the rows; the message is one line.
    """
    found = find_table(table, flag)
    if found is None:
        if not create:
            raise ValueError(
                f"{flag}={table}: there is no such table; expected one, or --create_disposition=CREATE_IF_NEEDED"
            )
        _create(table, layout, flag)
        return
    if found.table_type in _TAKE_NO_ROWS:
        raise ValueError(f"{flag}={table}: is {found.table_type}, which accepts no rows; expected a table")
    problem = next(schema_problems(found.schema, layout.fields), None)
    if problem:
        raise ValueError(f"{flag}={table}: does not fit: {problem}")
    if write_disposition == "WRITE_EMPTY" and (found.num_rows or found.streaming_buffer):
        raise ValueError(f"{flag}={table}: contains rows; expected none with --write_disposition=WRITE_EMPTY")
    if layout.partition_field and found.time_partitioning is None:
        _logger.warning("%s exists without partitions; only a new table gets them", table)


def _create(table: Table, layout: TableLayout, flag: str) -> None:
    with as_value_error(f"{flag}={table}: cannot be created"):
        create_table(client_of(table.project), table, layout, retry=CHECK_RETRY, timeout=CHECK_SECONDS)
