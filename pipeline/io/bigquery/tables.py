"""The tables for results and failures: created if they are missing, checked if they exist."""

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
    as_value_error,
    client_of,
    column_type,
    find_table,
    standard_name,
)
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS, Field, bigquery_schema, table_fields

WRITE_DISPOSITIONS = ("WRITE_APPEND", "WRITE_EMPTY", "WRITE_TRUNCATE")
"""The ways to treat the rows that a table already has, in BigQuery's terms.

`WRITE_APPEND`, the default, keeps them and adds rows. A second run over the same documents adds a second row for every
document; the query in docs/bigquery.md finds the latest row. `WRITE_EMPTY` does not start if the table has rows.
`WRITE_TRUNCATE` replaces the rows when the run ends, and requires `FILE_LOADS`.
"""

_TAKE_NO_ROWS = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL", "SNAPSHOT")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TableLayout:
    """The layout of a table of results or failures.

    Attributes:
        fields: The table's columns.
        partition_field: The TIMESTAMP column by whose day a new table is partitioned; None for no partitions.
        cluster_fields: The columns by which a new table is clustered.
    """

    fields: tuple[Field, ...]
    partition_field: str | None = None
    cluster_fields: tuple[str, ...] = ()


def result_layout(
    strategy: str, include_text: bool, granularity: str, *, partition: bool = False, cluster: bool = False
) -> TableLayout:
    """Return the layout of the table of results.

    Args:
        strategy: The aggregation strategy's name.
        include_text: Whether to include the document's text as a column.
        granularity: The kind of row, `document` or `entity`.
        partition: Whether to partition a new table by the day of processing.
        cluster: Whether to cluster a new table by id.
    """
    fields = table_fields(strategy, include_text, granularity)
    return TableLayout(fields, "processed_at" if partition else None, ("id",) if cluster else ())


def failure_layout(*, partition: bool = False) -> TableLayout:
    """Return the layout of the table of failures.

    Args:
        partition: Whether to partition a new table by the day of the failure.
    """
    return TableLayout(FAILURE_FIELDS, "timestamp" if partition else None)


def failure_table_of(table: Table) -> Table:
    """Return the table for the failures of a run that writes to a table, named as in Google's templates.

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
    made = bigquery.Table(standard_name(table), list(map(SchemaField.from_api_repr, schema_of(layout.fields))))
    if layout.partition_field:
        made.time_partitioning = bigquery.TimePartitioning(field=layout.partition_field)
    if layout.cluster_fields:
        made.clustering_fields = list(layout.cluster_fields)
    with as_value_error(f"{flag}={table}: cannot be created"):
        try:
            client_of(table.project).create_table(made, retry=CHECK_RETRY, timeout=CHECK_SECONDS)
        except Conflict:
            return  # another run has just made it
    _logger.info("created the table %s", table)


def empty_table(table: Table) -> None:
    """Deletes all rows of a table, but keeps its columns.

    Raises:
        ValueError: If the name is that of a partition, for which BigQuery has no such statement.
        GoogleAPICallError: If BigQuery rejects the statement.
    """
    if "$" in table.table:
        raise ValueError(f"{table}: the run has no results, and the partition keeps its earlier rows; delete them")
    client_of(table.project).query(f"TRUNCATE TABLE `{standard_name(table)}`").result()


def schema_of(fields: Sequence[Field]) -> list[dict]:
    """Return the columns in BigQuery's JSON form."""
    return bigquery_schema(fields)["fields"]


def schema_problems(columns: Iterable[SchemaField], fields: Sequence[Field], path: str = "") -> Iterator[str]:
    """Yield the reasons for which a table cannot accept our rows.

    A column may be missing, may have another type, or may be required although the rows have no value for it.

    Args:
        columns: The table's columns, or those of a record in it.
        fields: The columns of our rows.
        path: The record's name as a prefix, such as `entities.`.

    Yields:
        One sentence per problem, with the column's name.
    """
    # BigQuery ignores case in names of columns.
    present = {column.name.lower(): column for column in columns}
    for field in fields:
        column = present.pop(field.name.lower(), None)
        if column is None:
            yield f"the column {path}{field.name} ({_said(field.mode, field.type)}) is missing"
        elif column_type(column) != field.type or (column.mode == "REPEATED") != (field.mode == "REPEATED"):
            there = _said(column.mode, column_type(column))
            yield f"the column {path}{field.name} is {there}; expected {_said(field.mode, field.type)}"
        elif column.mode == "REQUIRED" and field.mode == "NULLABLE":
            yield f"the column {path}{field.name} is REQUIRED; expected NULLABLE, since a row may have no value for it"
        else:
            yield from schema_problems(column.fields, field.fields, f"{path}{field.name}.")
    for column in present.values():
        if column.mode == "REQUIRED":
            yield f"the column {path}{column.name} is REQUIRED; expected NULLABLE, since no row has a value for it"


def _said(mode: str | None, kind: str) -> str:
    return f"REPEATED {kind}" if mode == "REPEATED" else kind
