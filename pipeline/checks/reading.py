"""Checks of the flags that decide how files of text are read."""

from __future__ import annotations

import csv

from pipeline.io.files.formats.csv_tables import DELIMITERS
from pipeline.io.files.formats.registry import FORMATS
from pipeline.io.files.settings import ReadSettings
from pipeline.options import NerOptions
from transforms.settings import check_at_least


def read_settings(options: NerOptions, input_format: str) -> ReadSettings:
    """Return the settings of reading files, after checking them.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    if options.encoding and not FORMATS[input_format].compresses:
        raise ValueError(f"--encoding={options.encoding}: only for files of text; expected none for {input_format}")
    check_at_least("csv_skip_lines", options.csv_skip_lines, 0)
    for name in ("csv_delimiter", "csv_header", "csv_skip_lines"):
        if (value := getattr(options, name)) and input_format != "csv":
            expected = f"none for {input_format}, or --input_format=csv"
            raise ValueError(f"--{name}={value!r}: only for csv; expected {expected}")
    _check_encoding(options.encoding)
    header = _names(options.csv_header) if options.csv_header else ()
    delimiter = _delimiter(options.csv_delimiter)
    return ReadSettings(options.encoding, delimiter, header, options.csv_escape, options.csv_skip_lines)


def _check_encoding(encoding: str | None) -> None:
    """Rejects the name of an encoding that Python does not have, or that is not one of text."""
    try:
        if encoding is not None:
            "a".encode(encoding)
    except (LookupError, ValueError) as error:
        problem = f"--encoding={encoding}: unknown; expected an encoding of Python, such as cp1252 or utf-16"
        raise ValueError(problem) from error


def _delimiter(given: str | None) -> str | None:
    if not given:
        return None
    delimiter = DELIMITERS.get(given, "\t" if given == r"\t" else given)
    if len(delimiter) > 1 or delimiter in '"\r\n\0':
        expected = f"one character, or {', '.join(DELIMITERS)}"
        raise ValueError(f"--csv_delimiter={given!r}: not a delimiter; expected {expected}")
    return delimiter


def _names(given: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in next(csv.reader([given])))
    if "" in names or len(set(names)) < len(names):
        raise ValueError(f"--csv_header={given!r}: a name is empty or occurs twice; expected a name for each column")
    return names
