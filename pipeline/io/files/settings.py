"""The settings of reading files that are not about a record's fields."""

from __future__ import annotations

from dataclasses import dataclass

CSV_ESCAPES = ("double", "backslash", "mysql")
r"""The ways to write special characters in CSV.

- ``double``: a quote within quotes is two quotes, as in RFC 4180.
- ``backslash``: a character after a backslash stands for itself.
- ``mysql``: as ``backslash``, but ``\n`` is a line end, ``\t`` a tab, and so on, and a field ``\N`` is null.
"""


@dataclass(frozen=True)
class ReadSettings:
    """The settings of reading files of text, JSON and CSV.

    Attributes:
        encoding: The encoding; None to read it from each file's first bytes.
        csv_delimiter: The character between the fields of CSV; None to read it from each file's first line.
        csv_header: The names of the columns of CSV files without a header row; empty if they have one.
        csv_escape: One of `CSV_ESCAPES`; two quotes are always accepted.
        csv_skip_lines: The number of lines before the header or the first row.
    """

    encoding: str | None = None
    csv_delimiter: str | None = None
    csv_header: tuple[str, ...] = ()
    csv_escape: str = "double"
    csv_skip_lines: int = 0


READ_SETTINGS = ReadSettings()
"""The default settings."""
