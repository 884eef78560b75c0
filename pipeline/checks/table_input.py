"""Checks of tables and queries that are read: the text, the id and the read method."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from google.api_core.exceptions import BadRequest
from google.api_core.retry import Retry
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField

from pipeline.checks.bigquery import CHECK_SECONDS, as_value_error, describe_error, find_table, query_columns
from pipeline.checks.table_queries import named, partition_condition, query_flag, quoted
from pipeline.io.bigquery.client import column_type, standard_name
from pipeline.io.bigquery.read import READ_METHODS, create_session
from pipeline.io.fields import Column, DocumentFields, column_of
from pipeline.places import Table
from pipeline.schemas import FieldType

_NOT_STORED = ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL")
_NOT_SINGLE = ("RECORD", "REPEATED", "RANGE")


def check_input_table(
    table: Table,
    fields: DocumentFields,
    flag: str = "--input",
    method: str = "DIRECT_READ",
    project: str | None = None,
) -> list[Column]:
    """Checks before the start that a table exists, has a text in each row, and can be read; returns its columns.

    Args:
        table: The table.
        fields: The fields that make a document.
        flag: The flag that names the table.
        method: The read method.
        project: The project that pays; None for the table's.

    Returns:
        The columns, with those of records.

    Raises:
        ValueError: If the check fails; the message is one line.
    """
    found = find_table(table, flag)
    place = f"{flag}={table}"
    if found is None:
        raise ValueError(f"{place}: there is no such table")
    is_stored = found.table_type not in _NOT_STORED
    known: list[Column] = []
    if is_stored or found.schema:  # not every service knows the columns of a view
        known = check_text_columns(found.schema, fields, place, table.whole)
    columns = _selected(found.schema, fields) or named(fields.texts)
    if not is_stored:
        raise ValueError(f"{place}: is {found.table_type}, which stores no rows; expected {query_flag(table, columns)}")
    if method == "DIRECT_READ":
        _check_direct_read(table, found, columns, fields, project, place)
    return known


def _selected(schema: Iterable[SchemaField], fields: DocumentFields) -> dict[str, str]:
    """Return those columns of a table that contain the fields, for a query."""
    present = [column.name for column in schema]
    return named(dict.fromkeys(filter(None, (column_of(name, present) for name in fields.names))))


def _check_direct_read(
    table: Table,
    found: bigquery.Table,
    columns: Mapping[str, str],
    fields: DocumentFields,
    project: str | None,
    place: str,
) -> None:
    if table != table.whole:
        condition = partition_condition(found, table.table.partition("$")[2])
        query = query_flag(table.whole, columns, condition)
        instead = query if condition else f"{query} with a WHERE for the partition"
        raise ValueError(
            f"{place}: is a partition, and a table can only be read as a whole; expected {instead}, or"
            " --read_method=EXPORT"
        )
    if found.require_partition_filter:
        raise ValueError(f"{place}: requires a filter on its partitions; expected a --query with one")
    _try_session(found, columns, fields, project, place)


def _try_session(
    found: bigquery.Table, columns: Mapping[str, str], fields: DocumentFields, project: str | None, place: str
) -> None:
    """Opens a read session as the run will. It costs nothing, and fails for a lack of rights or for odd columns."""
    call = {"retry": Retry(timeout=CHECK_SECONDS), "timeout": CHECK_SECONDS}
    with as_value_error(f"{place}: cannot be read"):
        try:
            create_session(found.reference, list(columns), project or found.project, 1, **call)
        except BadRequest as error:
            if fields.text not in columns:  # several, or a path
                raise
            usual = {fields.id: "id", fields.text: "text"}
            plain = {usual[name]: text for name, text in columns.items() if name in usual}
            query = query_flag(Table(found.project, found.dataset_id, found.table_id), plain)
            raise ValueError(
                f"{place}: cannot be read: {describe_error(error)}; expected {query}, without --text_field and"
                " --id_field"
            ) from error


def check_table_pattern(
    tables: Table, fields: DocumentFields, project: str | None = None, flag: str = "--input"
) -> None:
    """Rejects the name of several tables, such as `my-project.ner.letters_*`, with the query that reads them.

    Raises:
        ValueError: In one line, always.
    """
    name, place = standard_name(tables), f"{flag}={standard_name(tables)}"
    columns = query_columns(f"SELECT * FROM `{name}`", project or tables.project, place)
    check_text_columns(columns, fields, place, tables)
    query = query_flag(tables, _selected(columns, fields))
    raise ValueError(f"{place}: several tables; expected {query}, or ./{name} for files")


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


def check_text_columns(
    schema: Iterable[SchemaField], fields: DocumentFields, place: str, table: Table | None = None
) -> list[Column]:
    """Rejects columns without texts of type STRING, or with an id that is no single text; an id may be missing.

    Args:
        schema: The columns of a table or a query.
        fields: The fields that make a document.
        place: The flag and the table, for error messages.
        table: The table; None for a query.

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
    if key is not None and key.described.startswith(_NOT_SINGLE):
        raise ValueError(f"--id_field={fields.id}: the column of {place} is {key.described}; expected a single value")
    if key is not None and key.type == "BYTES":
        advice = _hexadecimal(schema, fields, table)
        raise ValueError(f"--id_field={fields.id}: the column of {place} is BYTES; expected a text, as in {advice}")
    return columns


def _hexadecimal(schema: Iterable[SchemaField], fields: DocumentFields, table: Table | None) -> str:
    """Return a query, or a part of one, that reads bytes as an id."""
    name, text = fields.id.rpartition(".")[2], f"TO_HEX({quoted(fields.id)})"
    if table is None:
        return f"{text} AS {quoted(name)} in it"
    return query_flag(table, {name: text, **_selected(schema, DocumentFields(fields.text, fields.texts[0]))})


def _columns_of(field: SchemaField, prefix: str = "") -> Iterator[Column]:
    """Yield a column, and those of a record."""
    kind, is_list = column_type(field), field.mode == "REPEATED"
    known: Any = kind if kind in get_args(FieldType) and not is_list else "RECORD"
    yield Column(f"{prefix}{field.name}", known, f"REPEATED {kind}" if is_list else kind)
    for each in field.fields:
        yield from _columns_of(each, f"{prefix}{field.name}.")
