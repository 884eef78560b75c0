"""Queries for `--query`, as advice in place of a table that cannot be read as it is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

from google.cloud import bigquery

from pipeline.io.bigquery.client import column_type, standard_name
from pipeline.places import Table

_PARTITION = re.compile(r"(\d{4})(\d\d)?(\d\d)?(\d\d)?")


def query_flag(table: Table, columns: Mapping[str, str], condition: str | None = None) -> str:
    """Return a query of a table as a flag for a shell.

    >>> query_flag(Table("p", "d", "t"), {"id": "TO_HEX(`id`)", "the text": "`the text`"})
    "--query='SELECT TO_HEX(`id`) AS `id`, `the text` FROM `p.d.t`'"

    Args:
        table: The table, or the common name of several, with an asterisk.
        columns: The expression of each column.
        condition: The condition for rows, or None for all rows.
    """
    listed = ", ".join(text if text == quoted(name) else f"{text} AS {quoted(name)}" for name, text in columns.items())
    where = f" WHERE {condition}" if condition else ""
    sql = f"SELECT {listed} FROM `{standard_name(table)}`{where}"
    return f"--query={shlex.quote(sql)}"


def quoted(name: str) -> str:
    """Return a column's name as BigQuery's SQL requires it for names with spaces, other scripts or leading digits.

    >>> quoted("message.2nd body")
    '`message`.`2nd body`'
    """
    return ".".join(f"`{part}`" for part in name.split("."))


def named(columns: Iterable[str]) -> dict[str, str]:
    """Return the columns of a query that does not change them."""
    return {name: quoted(name) for name in columns}


def partition_condition(found: bigquery.Table, partition: str) -> str | None:
    """Return the condition for the rows of a partition, or None if the table has no partitions by time.

    Args:
        found: BigQuery's description of the table.
        partition: The part of a name behind the `$`, such as `20261124`.
    """
    parts = _PARTITION.fullmatch(partition)
    if found.time_partitioning is None or parts is None:
        return None
    year, month, day, hour = parts.groups()
    time = f"{year}-{month or '01'}-{day or '01'}{f' {hour}:00:00' if hour else ''}"
    field = found.time_partitioning.field
    if field is None:
        return f'_PARTITIONTIME = TIMESTAMP "{time}"'
    kind = next(column_type(column) for column in found.schema if column.name.lower() == field.lower())
    return f'{kind}_TRUNC({quoted(field)}, {found.time_partitioning.type_}) = {kind} "{time}"'
