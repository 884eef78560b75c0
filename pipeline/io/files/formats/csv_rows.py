"""Splits the lines of a CSV file into rows, and continues behind a row that is malformed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from pipeline.io.files.lines import split_lines
from pipeline.io.records import MAX_RECORD_BYTES, MAX_RECORD_VALUES

FIELD_SIZE_LIMIT = 64 * 1024 * 1024
"""The most characters of one field, at 4 bytes each during parsing. It limits a quote that is never closed."""


@dataclass(frozen=True)
class Row:
    """One record of a CSV file.

    Attributes:
        offset: The offset of its first byte in the (decompressed) file.
        raw: Its bytes with all line endings, including those within quotes; without a line that is too long.
        values: Its fields; empty if it is malformed or too large. None is the null of a database.
        error: A description of the problem; empty if there is none.
    """

    offset: int
    raw: bytes
    values: list[str | None]
    error: str = ""


def read_rows(lines: Iterable[tuple[int, bytes | None]], delimiter: str = ",", escape: str = "double") -> Iterator[Row]:
    r"""Parses numbered lines, and continues after a record that is malformed or too large.

    If a malformed record has several lines, a quote in the first one may not be closed. So only that line is left out,
    and the record is read again from the second line on:

        1,"Ann lives         is malformed
        2,Ben                is read
        3,"Cleo and Dan"     is read

    Args:
        lines: The output of `split_lines`.
        delimiter: The character between fields.
        escape: One of `pipeline.io.files.settings.CSV_ESCAPES`.
    """
    csv.field_size_limit(FIELD_SIZE_LIMIT)
    source = _Lines(lines, delimiter.encode(), is_dump=escape == "mysql")
    escape_character = "\\" if escape == "backslash" else None
    reader = csv.reader(source, delimiter=delimiter, escapechar=escape_character, strict=True)
    while True:
        source.begin()
        values: list[str | None] = []
        error = ""
        try:
            values = [*next(reader)]
        except StopIteration:
            return
        except _TooLargeError as problem:
            error = str(problem)
        except csv.Error as problem:
            error = f"is not CSV: {problem}"  # names the rule; never quotes a field
            source.return_lines()
            if escape == "double" and b'\\"' in source.taken:
                error += "; expected --csv_escape=backslash if quotes are escaped in this way"
        if escape == "mysql":
            values = list(map(unescaped, values))
            if values == [_END_OF_DUMP]:
                continue
        if values or error:
            yield Row(source.offset, bytes(source.taken), values, error)


class _TooLargeError(Exception):
    pass


_ESCAPED = 0xD800
"""The code point that is added to that of an escaped character, to hide it from the parser.

The sums are half surrogate pairs, which are in no text. Bytes that are not UTF-8 are at 0xDC80 and above.
"""

_NULL = chr(_ESCAPED + ord("N"))
_LINE_END = chr(_ESCAPED + ord("\n"))
_MEANINGS = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
_UNESCAPED = {_ESCAPED + code: _MEANINGS.get(chr(code), chr(code)) for code in range(128)}
_END_OF_DUMP = "."  # PostgreSQL's last line is `\.`


def hidden(text: str) -> str:
    """Return a text in which each character after a backslash, and the backslash, are one half of a surrogate pair."""
    return re.sub(r"(?s)\\([\0-\x7f])", lambda found: chr(_ESCAPED + ord(found[1])), text)


def unescaped(value: str | None) -> str | None:
    r"""Return a field of a dump of a database without its escapes.

    >>> unescaped(hidden(r"a\tb\"")), unescaped(hidden(r"\N"))
    ('a\tb"', None)
    """
    return None if value is None or value == _NULL else value.translate(_UNESCAPED)


class _Lines:
    """Passes the lines of one record after another to a parser as text, within the limits for a record.

    The error for a record that is too large passes through the parser, which then restarts at the next line. (A
    generator would end after the error.)

    Attributes:
        offset: The offset of the record's first byte.
        taken: The record's lines so far, joined: a list of short lines takes many times their size.
    """

    def __init__(self, lines: Iterable[tuple[int, bytes | None]], delimiter: bytes, *, is_dump: bool = False) -> None:
        self._is_dump = is_dump
        self._sources = [iter(lines)]  # the last one is read first
        self._delimiter = delimiter
        self.begin()

    def begin(self) -> None:
        """Resets the state for the next record."""
        self.offset = -1
        self.taken = bytearray()
        self._second: tuple[int, int] | None = None  # the second line's offset in the file, and its place in `taken`
        self._delimiters = 0

    def return_lines(self) -> None:
        """Returns all lines of the record but the first, to be read again."""
        if self._second:
            offset, place = self._second
            self._sources.append(split_lines([bytes(self.taken[place:])], offset))
            del self.taken[place:]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        text = self._next_text()
        if not self._is_dump:
            return text
        pieces = [hidden(text)]
        with suppress(StopIteration):
            while pieces[-1].endswith(_LINE_END):  # an escaped one, which belongs to the field
                pieces.append(hidden(self._next_text()))
        return "".join(pieces)

    def _next_text(self) -> str:
        offset, line = self._next_line()
        if self.offset < 0:
            self.offset = offset
        elif self._second is None:
            self._second = offset, len(self.taken)
        if line is None:
            raise _TooLargeError(f"has a line of more than {MAX_RECORD_BYTES} bytes, which are not read")
        self.taken += line
        self._delimiters += line.count(self._delimiter)
        if len(self.taken) > MAX_RECORD_BYTES:
            raise _TooLargeError(f"has more than {MAX_RECORD_BYTES} bytes")
        if self._delimiters > MAX_RECORD_VALUES:
            raise _TooLargeError(f"may have more than {MAX_RECORD_VALUES} fields")
        return line.decode("utf-8", "surrogateescape")

    def _next_line(self) -> tuple[int, bytes | None]:
        while len(self._sources) > 1:
            if (line := next(self._sources[-1], None)) is not None:
                return line
            self._sources.pop()
        return next(self._sources[0])
