"""The tables that results and failures are written to: made when needed, checked when they are there."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from google.api_core.exceptions import Conflict
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

from pipeline.io.bigquery.client import (
    CHECK_RETRY,
    CHECK_SECONDS,
    client_of,
    column_type,
    find_table,
    standard_name,
    told_by,
)
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS, Field, bigquery_schema, table_fields

WRITE_DISPOSITIONS = ("WRITE_APPEND", "WRITE_EMPTY", "WRITE_TRUNCATE")
"""What a run does with the rows that a table has, in BigQuery's words.

`WRITE_APPEND`, the default, adds to them: a second run over the same documents gives every document a second row,
and the query in docs/bigquery.md finds the latest. `WRITE_EMPTY` refuses to start if there are any.
`WRITE_TRUNCATE` replaces them when the run ends, and only `FILE_LOADS` can do that.
"""

_TAKE_NO_ROWS = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableLayout:
    """What a table of results or failures looks like.

    Attributes:
        fields: Its columns.
        partition_field: The TIMESTAMP column by whose day a new table is partitioned; None for no partitions.
        cluster_fields: The columns by which a new table is clustered.
    """

    fields: tuple[Field, ...]
    partition_field: str | None = None
    cluster_fields: tuple[str, ...] = ()


def result_layout(
    strategy: str, include_text: bool, granularity: str, *, partition: bool = False, cluster: bool = False
) -> TableLayout:
    """The table of results.

    Args:
        strategy: The aggregation strategy's name.
        include_text: Whether the document's text is a column.
        granularity: `document` or `entity`: what a row is.
        partition: Whether a new table is partitioned by the day of processing.
        cluster: Whether a new table is clustered by id.
    """
    fields = table_fields(strategy, include_text, granularity)
    return TableLayout(fields, "processed_at" if partition else None, ("id",) if cluster else ())


def failure_layout(*, partition: bool = False) -> TableLayout:
    """The table of failures.

    Args:
        partition: Whether a new table is partitioned by the day of the failure.
    """
    return TableLayout(FAILURE_FIELDS, "timestamp" if partition else None)


def failure_table_of(table: Table) -> Table:
    """The table for the failures of a run that writes to another, as in Google's templates.

    >>> str(failure_table_of(Table("my-project", "ner", "entities")))
    'my-project:ner.entities_error_records'
    """
    return dataclasses.replace(table, table=f"{table.whole.table}_error_records")


def prepare_table(
    table: Table,
    layout: TableLayout,
    *,
    create: bool = True,
    write_disposition: str = "WRITE_APPEND",
    flag: str = "--output",
) -> None:
    """Makes a table before the start, or checks that the one there can take the rows.

    Args:
        table: The table. Its data set must be there.
        layout: What it must look like.
        create: Whether to make it if there is none.
        write_disposition: One of `WRITE_DISPOSITIONS`.
        flag: Where the table was given, for the sentence of a refusal.

    Raises:
        ValueError: If the table is not there, cannot be made, or cannot take the rows; in one line.
    """
    found = find_table(table, flag)
    if found is None:
        if not create:
            raise ValueError(f"{flag}={table}: there is no such table, and none is to be made")
        _create(table, layout, flag)
        return
    if found.table_type in _TAKE_NO_ROWS:
        raise ValueError(f"{flag}={table} is {found.table_type}, which takes no rows; name a table")
    problem = next(schema_problems(found.schema, layout.fields), None)
    if problem:
        raise ValueError(f"{flag}={table} does not fit: {problem}")
    if write_disposition == "WRITE_EMPTY" and (found.num_rows or found.streaming_buffer):
        raise ValueError(f"{flag}={table} has rows already, and write_disposition is WRITE_EMPTY")
    if layout.partition_field and found.time_partitioning is None:
        _logger.warning("%s is there and has no partitions; only a new table gets them", table)


def _create(table: Table, layout: TableLayout, flag: str) -> None:
    made = bigquery.Table(standard_name(table), list(map(SchemaField.from_api_repr, schema_of(layout.fields))))
    if layout.partition_field:
        made.time_partitioning = bigquery.TimePartitioning(field=layout.partition_field)
    if layout.cluster_fields:
        made.clustering_fields = list(layout.cluster_fields)
    with told_by(f"{flag}={table} cannot be made"):
        try:
            client_of(table.project).create_table(made, retry=CHECK_RETRY, timeout=CHECK_SECONDS)
        except Conflict:
            return  # another run has just made it
    _logger.info("made the table %s", table)


def empty_table(table: Table) -> None:
    """Deletes all rows of a table, which keeps its columns.

    Raises:
        ValueError: If it names a partition, of which BigQuery has no such statement.
        GoogleAPICallError: If BigQuery refuses.
    """
    if "$" in table.table:
        raise ValueError(f"{table}: the run has no results, and the partition keeps the rows that it has; delete them")
    client_of(table.project).query(f"TRUNCATE TABLE `{standard_name(table)}`").result()


def schema_of(fields: Sequence[Field]) -> list[dict]:
    """The columns in BigQuery's JSON."""
    return bigquery_schema(fields)["fields"]


def schema_problems(columns: Iterable[SchemaField], fields: Sequence[Field], path: str = "") -> Iterator[str]:
    """Why a table cannot take our rows: columns that it lacks, that are of another type, or that it wants in vain.

    Args:
        columns: The table's columns, or those of a record in it.
        fields: Ours.
        path: Names the record: `entities.`.

    Yields:
        A sentence each, naming the column.
    """
    # BigQuery compares names without regard to case.
    present = {column.name.lower(): column for column in columns}
    for field in fields:
        column = present.pop(field.name.lower(), None)
        if column is None:
            yield f"the column {path}{field.name} ({_said(field.mode, field.type)}) is missing"
        elif column_type(column) != field.type or (column.mode == "REPEATED") != (field.mode == "REPEATED"):
            there = _said(column.mode, column_type(column))
            yield f"the column {path}{field.name} is {there}, not {_said(field.mode, field.type)}"
        elif column.mode == "REQUIRED" and field.mode == "NULLABLE":
            yield f"the column {path}{field.name} is REQUIRED, but may have no value"
        else:
            yield from schema_problems(column.fields, field.fields, f"{path}{field.name}.")
    for column in present.values():
        if column.mode == "REQUIRED":
            yield f"the column {path}{column.name} is REQUIRED, but nothing here fills it"


def _said(mode: str | None, kind: str) -> str:
    return f"REPEATED {kind}" if mode == "REPEATED" else kind
