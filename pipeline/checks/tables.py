"""BigQuery tables to write: whether the ways of writing go together with the rest."""

from __future__ import annotations

from dataclasses import dataclass

from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.io.bigquery.write import check_granularity, write_method
from pipeline.options import NerOptions
from pipeline.places import Place, Table


@dataclass(frozen=True)
class TableSettings:
    """How tables are written.

    Attributes:
        granularity: What a row of results is.
        write_method: How results are written.
        failure_method: How failures are written.
        write_disposition: What becomes of the rows that the table of results has.
        create: Whether tables are made where there are none.
        partition_by_day: Whether new ones are partitioned.
        cluster_by_id: Whether a new one of results is clustered.
    """

    granularity: str
    write_method: str
    failure_method: str
    write_disposition: str
    create: bool
    partition_by_day: bool
    cluster_by_id: bool


def check_tables(options: NerOptions, output: Place, *, streaming: bool) -> TableSettings:
    """The settings, checked where there is a table to be written."""
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    method = options.write_method
    if isinstance(output, Table):
        check_granularity(options.granularity, options.include_text)
        method = write_method(method, streaming, temp_location, options.write_disposition)
        if method == "STORAGE_WRITE_API" and streaming and not _acknowledges_itself(options):
            raise ValueError(
                "--write_method=STORAGE_WRITE_API does not say which rows are written, and without that no message can"
                " be acknowledged on this runner; use STREAMING_INSERTS"
            )
    loads = isinstance(output, Table) and method == "FILE_LOADS"  # and so there is a place for the files
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
