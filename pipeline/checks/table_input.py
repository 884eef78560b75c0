"""Checks of tables and queries that are read: the text, the id and the read method."""

from __future__ import annotations

from collections.abc import Iterable

from google.cloud.bigquery import SchemaField

from pipeline.checks.bigquery import find_table, query_columns
from pipeline.io.bigquery.client import column_type, standard_name
from pipeline.io.bigquery.read import READ_METHODS
from pipeline.places import Table

_NOT_STORED = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL")


def check_input_table(
    table: Table, text_field: str, id_field: str, flag: str = "--input", method: str = "DIRECT_READ"
) -> None:
    """Checks before the start that a table exists, has a text in each row, and can be read.

    Raises:
        ValueError: If the check fails; the message is one line.
    """
    if method == "DIRECT_READ":
        check_whole(table, flag, "--read_method=EXPORT or a --query")
    found = find_table(table, flag)
    if found is None:
        raise ValueError(f"{flag}={table}: there is no such table")
    if found.table_type in _NOT_STORED:
        select = f"SELECT {id_field}, {text_field} FROM `{standard_name(table)}`"
        raise ValueError(f"{flag}={table}: is {found.table_type}, which stores no rows; expected --query='{select}'")
    if method == "DIRECT_READ" and found.require_partition_filter:
        raise ValueError(f"{flag}={table}: requires a filter on its partitions; expected a --query with one")
    check_text_column(found.schema, text_field, id_field, f"{flag}={table}")


def check_whole(table: Table, flag: str, instead: str) -> None:
    """Rejects a partition (`table$20261124`), for which Google's client requests the whole table from the Storage API.

    Args:
        table: The table.
        flag: The flag that names the table.
        instead: The advice in the error message.

    Raises:
        ValueError: If the table is a partition; the message is one line.
    """
    if table != table.whole:
        raise ValueError(f"{flag}={table}: is a partition, and a table can only be read as a whole; expected {instead}")


def check_query(query: str, project: str | None, text_field: str, id_field: str, flag: str = "--query") -> None:
    """Checks before the start that BigQuery accepts a query, and that the query returns texts.

    Raises:
        ValueError: If the check fails; the message is one line.
    """
    check_text_column(query_columns(query, project, flag), text_field, id_field, flag)


def check_read_method(method: str, temp_location: str | None, flag: str = "--read_method") -> None:
    """Rejects a read method that is unknown, or that lacks a place for its files.

    Raises:
        ValueError: If the method is rejected; the message is one line.
    """
    if method not in READ_METHODS:
        raise ValueError(f"{flag}={method}: unknown; expected one of {', '.join(READ_METHODS)}")
    if method == "EXPORT" and not (temp_location or "").startswith("gs://"):
        raise ValueError(f"{flag}=EXPORT: no place for BigQuery's files; expected --temp_location=gs://bucket/folder")


def check_text_column(columns: Iterable[SchemaField], text_field: str, id_field: str, place: str) -> None:
    """Rejects columns without a text of type STRING, or with an id that is a RECORD or REPEATED; an id may be missing.

    Args:
        columns: The columns of a table or a query.
        text_field: The name of the text's column.
        id_field: The name of the id's column.
        place: The flag and the table, for error messages.

    Raises:
        ValueError: If the columns are rejected; the message is one line.
    """
    present = {column.name: column for column in columns}
    text, name = present.get(text_field), present.get(id_field)
    if text is None:
        expected = f"one of {', '.join(present)}" if present else "a column, and there is none"
        raise ValueError(f"--text_field={text_field}: not a column of {place}; expected {expected}")
    if column_type(text) != "STRING" or text.mode == "REPEATED":
        raise ValueError(f"--text_field={text_field}: the column of {place} is {_kind(text)}; expected STRING")
    if name is not None and (column_type(name) == "RECORD" or name.mode == "REPEATED"):
        raise ValueError(f"--id_field={id_field}: the column of {place} is {_kind(name)}; expected a single value")


def _kind(column: SchemaField) -> str:
    return f"REPEATED {column_type(column)}" if column.mode == "REPEATED" else column_type(column)
