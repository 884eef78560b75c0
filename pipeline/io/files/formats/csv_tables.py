"""Opens CSV files: their delimiter, their header, and the rows below it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from pipeline.io.fields import DocumentFields, column_of
from pipeline.io.files.content import is_utf8_text
from pipeline.io.files.formats.csv_rows import Row, read_rows
from pipeline.io.files.lines import split_lines
from pipeline.io.files.matching import read_blocks
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import UnreadableError

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""The delimiters that are recognized, by name; a name may be given in place of the character."""

TAB_ENDINGS = (".tsv", ".tab")
"""The endings of files whose fields are separated by tabs."""

_POWERSHELL_LINE = b"#TYPE "  # the first line of PowerShell 5
_SEPARATOR_LINE = re.compile(rb"(?i)sep=([\x20-\x7e\t])\r?\n?")  # the first line of some files from Excel


@dataclass(frozen=True)
class CsvTable:
    """An open CSV file.

    Attributes:
        header: The names of its columns.
        rows: The rows below the header; blank lines are not rows.
        delimiter: The character between fields.
    """

    header: list[str]
    rows: Iterator[Row]
    delimiter: str


def open_table(path: str, fields: DocumentFields, settings: ReadSettings) -> CsvTable:
    """Opens a CSV file.

    If the delimiter is not given, it is the first of `DELIMITERS` by which the header has a column for each text. In a
    file without a header row, it is the first by which the first row has a field for each name.

    Args:
        path: The file.
        fields: The fields that make a document.
        settings: The settings of reading.

    Raises:
        UnreadableError: If the file has no header row, or one that is not CSV in UTF-8.
    """
    lines = islice(split_lines(read_blocks(path, 0, settings.encoding)), settings.csv_skip_lines, None)
    first = next(lines, None)
    if first and (first[1] or b"").startswith(_POWERSHELL_LINE):
        first = next(lines, None)
    delimiter = settings.csv_delimiter
    if first and (named := _SEPARATOR_LINE.fullmatch(first[1] or b"")):
        first, delimiter = next(lines, None), delimiter or named[1].decode()
    if delimiter is None:
        usual = "\t" if re.search(r"(?i)\.(tsv|tab)\b[^/]*$", path) else ","
        delimiter = _guess((first[1] if first else b"") or b"", usual, fields, settings.csv_header)
    rows = read_rows(chain([first] if first else [], lines), delimiter, settings.csv_escape)
    if not settings.csv_header:
        return CsvTable(_header(rows), rows, delimiter)
    names = list(settings.csv_header)
    row = next(rows, None)
    # A header row in spite of the names is no document.
    kept = [row] if row and [(value or "").strip() for value in row.values] != names else []
    return CsvTable(names, chain(kept, rows), delimiter)


def _guess(line: bytes, usual: str, fields: DocumentFields, names: tuple[str, ...]) -> str:
    for delimiter in dict.fromkeys((usual, *DELIMITERS.values())):
        values = next(csv.reader([line.decode("utf-8", "surrogateescape")], delimiter=delimiter), [])
        if len(values) == len(names) if names else all(column_of(name, values) for name in fields.texts):
            return delimiter
    return usual


def _header(rows: Iterator[Row]) -> list[str]:
    row = next(rows, None)
    if row is None:
        raise UnreadableError("there is no header row")
    if row.error or not is_utf8_text(row.raw):
        raise UnreadableError("the header row is not CSV in UTF-8")
    return [value or "" for value in row.values]
