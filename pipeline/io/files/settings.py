"""The settings of reading files that are not about a record's fields."""

from __future__ import annotations

from dataclasses import dataclass

CSV_ESCAPES = ("double", "backslash")
"""The ways to write a quote within quotes in CSV: two quotes, or a backslash before it."""


@dataclass(frozen=True)
class ReadSettings:
    """The settings of reading files of text, JSON and CSV.

    Attributes:
        encoding: The encoding; None to read it from each file's first bytes.
        csv_delimiter: The character between the fields of CSV; None to read it from each file's first line.
        csv_header: The names of the columns of CSV files without a header row; empty if they have one.
        csv_escape: One of `CSV_ESCAPES`; with ``backslash``, two quotes are accepted too.
    """

    encoding: str | None = None
    csv_delimiter: str | None = None
    csv_header: tuple[str, ...] = ()
    csv_escape: str = "double"


READ_SETTINGS = ReadSettings()
"""The default settings."""
