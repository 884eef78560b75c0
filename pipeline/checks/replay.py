"""Checks a dead letter that is replayed from a table."""

from __future__ import annotations

from pipeline.checks.bigquery import find_table
from pipeline.checks.table_input import check_whole
from pipeline.io.bigquery.tables import schema_problems
from pipeline.io.replay import _NEEDED
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS


def check_replay_table(table: Table, flag: str = "--replay") -> None:
    """Checks before the start that a table has the columns of failures.

    Raises:
        ValueError: If it has not, in one line.
    """
    check_whole(table, flag, "the table")
    found = find_table(table, flag)
    if found is None:
        raise ValueError(f"{flag}={table}: there is no such table")
    needed = [field for field in FAILURE_FIELDS if field.name in _NEEDED]
    columns = [column for column in found.schema if column.name in _NEEDED]
    problem = next(schema_problems(columns, needed), None)
    if problem:
        raise ValueError(f"{flag}={table}: not a table of failures: {problem}")
