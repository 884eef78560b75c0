"""The layouts of the tables for results and failures, and their comparison with tables that exist."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from google.api_core.exceptions import Conflict, GoogleAPICallError, NotFound
from google.auth.exceptions import TransportError
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from requests.exceptions import RequestException

from pipeline.io.bigquery.client import client_of, column_type, standard_name
from pipeline.io.bigquery.errors import UnwrittenError
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS, Field, KeptField, bigquery_schema, table_fields

WRITE_DISPOSITIONS = ("WRITE_APPEND", "WRITE_EMPTY", "WRITE_TRUNCATE")
"""The ways to treat the rows that a table already has, in BigQuery's terms.

`WRITE_APPEND`, the default, keeps them and adds rows. A second run over the same documents adds a second row for every
document; the query in docs/bigquery.md finds the latest row. `WRITE_EMPTY` does not start if the table has rows.
`WRITE_TRUNCATE` replaces the rows when the run ends, and requires `FILE_LOADS`.
"""

_CALL_SECONDS = 30.0

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
    strategy: str,
    include_text: bool,
    granularity: str,
    kept: tuple[KeptField, ...] = (),
    *,
    partition: bool = False,
    cluster: bool = False,
) -> TableLayout:
    """Return the layout of the table of results.

    Args:
        strategy: The aggregation strategy's name.
        include_text: Whether to include the document's text as a column.
        granularity: The kind of row, `document` or `entity`.
        kept: The fields of the record to include.
        partition: Whether to partition a new table by the day of processing.
        cluster: Whether to cluster a new table by id.
    """
    fields = table_fields(strategy, include_text, granularity, kept)
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


def create_table(client: bigquery.Client, table: Table, layout: TableLayout, **call: Any) -> None:
    """Creates a table, unless another run has just done so.

    Args:
        client: The client.
        table: The table.
        layout: The table's layout.
        **call: Settings of the call, such as its `timeout`.

    Raises:
        GoogleAPICallError: If BigQuery rejects the table.
    """
    made = bigquery.Table(standard_name(table), list(map(SchemaField.from_api_repr, schema_of(layout.fields))))
    if layout.partition_field:
        made.time_partitioning = bigquery.TimePartitioning(field=layout.partition_field)
    if layout.cluster_fields:
        made.clustering_fields = list(layout.cluster_fields)
    with suppress(Conflict):
        client.create_table(made, **call)
        _logger.info("created the table %s", table)


def restore_table(client: bigquery.Client, table: Table, layout: TableLayout | None) -> None:
    """Makes a table again that was deleted while a run writes to it.

    Nothing happens if the table exists: inserts see a new table only after a while. The same holds if BigQuery does not
    answer, since the next attempt asks again.

    Args:
        client: The client.
        table: The table.
        layout: The table's layout, or None if it must not be made.

    Raises:
        UnwrittenError: If the table is gone, and must not or cannot be made.
    """
    call: dict[str, Any] = {"retry": None, "timeout": _CALL_SECONDS}
    try:
        client.get_table(standard_name(table.whole), **call)
        return
    except NotFound:
        pass
    except (GoogleAPICallError, RequestException, TransportError, ConnectionError):
        return
    if layout is None:
        raise UnwrittenError(
            f"{table}: was deleted while the run writes to it; expected a table, or"
            " --create_disposition=CREATE_IF_NEEDED"
        )
    try:
        create_table(client, table.whole, layout, **call)
    except GoogleAPICallError as error:
        problem = f"{error.code} {type(error).__name__}"
        raise UnwrittenError(f"{table}: was deleted, and cannot be made again: {problem}") from None
    except (RequestException, TransportError, ConnectionError):
        return
    _logger.warning("%s was deleted, and is made again", table)


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
