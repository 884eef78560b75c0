"""Checks of a dead letter that is replayed: the format of its records, and its table."""

from __future__ import annotations

from pipeline.checks.bigquery import find_table
from pipeline.io.bigquery.tables import schema_problems
from pipeline.io.replay import NEEDED_COLUMNS, REPLAY_FORMATS
from pipeline.places import Table
from pipeline.schemas import FAILURE_FIELDS


def check_replay_format(input_format: str) -> None:
    """Rejects a format whose records cannot be read again.

    Raises:
        ValueError: If the format is not one of `REPLAY_FORMATS`; the message is one line.
    """
    if input_format == "csv":
        raise ValueError(
            "--input_format=csv: not for --replay, since a dead letter has records without their header; expected one"
            f" of {', '.join(REPLAY_FORMATS)}"
        )
    if input_format not in REPLAY_FORMATS:
        known = ", ".join(REPLAY_FORMATS)
        raise ValueError(f"--input_format={input_format}: unknown for --replay; expected one of {known}")


def check_replay_table(table: Table, flag: str = "--replay") -> None:
    """Checks before the start that a table has the columns of failures.

    Raises:
        ValueError: If it has not, in one line.
    """
    if table != table.whole:
        raise ValueError(f"{flag}={table}: is a partition, and a table can only be read as a whole; expected the table")
    found = find_table(table, flag)
    if found is None:
        raise ValueError(f"{flag}={table}: there is no such table")
    needed = [field for field in FAILURE_FIELDS if field.name in NEEDED_COLUMNS]
    columns = [column for column in found.schema if column.name in NEEDED_COLUMNS]
    problem = next(schema_problems(columns, needed), None)
    if problem:
        raise ValueError(f"{flag}={table}: not a table of failures: {problem}")
