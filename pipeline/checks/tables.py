"""Checks the flags for writing BigQuery tables, and their combination with other flags."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.io.bigquery.write import check_granularity, write_method
from pipeline.options import NerOptions


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
