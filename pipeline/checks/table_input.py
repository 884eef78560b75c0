"""Checks of tables and queries that are read: the text, the id and the read method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from google.cloud.bigquery import SchemaField

from pipeline.checks.bigquery import find_table, query_columns
from pipeline.io.bigquery.client import column_type, standard_name
from pipeline.io.bigquery.read import READ_METHODS
from pipeline.io.fields import Column, DocumentFields
from pipeline.places import Table
from pipeline.schemas import FieldType

_NOT_STORED = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL")


def check_input_table(
    table: Table, fields: DocumentFields, flag: str = "--input", method: str = "DIRECT_READ"
) -> list[Column]:
    """Checks before the start that a table exists, has a text in each row, and can be read; returns its columns.

    Raises:
        ValueError: If the check fails; the message is one line.
    """
    if method == "DIRECT_READ":
        check_whole(table, flag, "--read_method=EXPORT or a --query")
    found = find_table(table, flag)
    if found is None:
        raise ValueError(f"{flag}={table}: there is no such table")
    if found.table_type in _NOT_STORED:
        select = f"SELECT {fields.id}, {fields.text} FROM `{standard_name(table)}`"
        raise ValueError(f"{flag}={table}: is {found.table_type}, which stores no rows; expected --query='{select}'")
    if method == "DIRECT_READ" and found.require_partition_filter:
        raise ValueError(f"{flag}={table}: requires a filter on its partitions; expected a --query with one")
    return check_text_columns(found.schema, fields, f"{flag}={table}")


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


def check_query(query: str, project: str | None, fields: DocumentFields, flag: str = "--query") -> list[Column]:
    """Checks before the start that BigQuery accepts a query, and that it returns texts; returns its columns.

    Raises:
        ValueError: If the check fails; the message is one line.
    """
    return check_text_columns(query_columns(query, project, flag), fields, flag)


def check_read_method(method: str, temp_location: str | None, flag: str = "--read_method") -> None:
    """Rejects a read method that is unknown, or that lacks a place for its files.

    Raises:
        ValueError: If the method is rejected; the message is one line.
    """
    if method not in READ_METHODS:
        raise ValueError(f"{flag}={method}: unknown; expected one of {', '.join(READ_METHODS)}")
    if method == "EXPORT" and not (temp_location or "").startswith("gs://"):
        raise ValueError(f"{flag}=EXPORT: no place for BigQuery's files; expected --temp_location=gs://bucket/folder")


def check_text_columns(schema: Iterable[SchemaField], fields: DocumentFields, place: str) -> list[Column]:
    """Rejects columns without texts of type STRING, or with an id that is a RECORD or REPEATED; an id may be missing.

    Args:
        schema: The columns of a table or a query.
        fields: The fields that make a document.
        place: The flag and the table, for error messages.

    Returns:
        The columns, with those of records.

    Raises:
        ValueError: If the columns are rejected; the message is one line.
    """
    columns = [column for field in schema for column in _columns_of(field)]
    present = {column.name: column for column in columns}
    for name in fields.texts:
        text = present.get(name)
        if text is None:
            expected = f"one of {', '.join(present)}" if present else "a column, and there is none"
            raise ValueError(f"--text_field={name}: not a column of {place}; expected {expected}")
        if text.type != "STRING":
            raise ValueError(f"--text_field={name}: the column of {place} is {text.described}; expected STRING")
    key = present.get(fields.id)
    if key is not None and key.described.startswith(("RECORD", "REPEATED")):
        raise ValueError(f"--id_field={fields.id}: the column of {place} is {key.described}; expected a single value")
    return columns


def _columns_of(field: SchemaField, prefix: str = "") -> Iterator[Column]:
    """Yield a column, and those of a record."""
    kind, is_list = column_type(field), field.mode == "REPEATED"
    known: Any = kind if kind in get_args(FieldType) and not is_list else "RECORD"
    yield Column(f"{prefix}{field.name}", known, f"REPEATED {kind}" if is_list else kind)
    for each in field.fields:
        yield from _columns_of(each, f"{prefix}{field.name}.")
