"""CSV files, quoted as in RFC 4180: reading records below a header row, and writing one row per entity."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.io.files.lines import split_lines
from pipeline.io.files.matching import Shard, read_blocks
from pipeline.io.files.result_format import ResultFormat, WriteFiles, compressed
from pipeline.io.records import (
    MAX_RECORD_BYTES,
    MAX_RECORD_VALUES,
    BadRecordError,
    DocumentFields,
    UnreadableError,
    document_of,
    require_fields,
)
from pipeline.schemas import csv_columns, entity_rows
from transforms.documents import Document, DocumentEntities, Failure

FIELD_SIZE_LIMIT = 64 * 1024 * 1024
"""The most characters of one field, at 4 bytes each during parsing. It limits a quote that is never closed."""


@dataclass(frozen=True)
class Row:
    """One record of a CSV file.

    Attributes:
        offset: The offset of its first byte in the (decompressed) file.
        raw: Its bytes with all line endings, including those within quotes; without a line that is too long.
        values: Its fields; empty if it is malformed or too large.
        error: A description of the problem; empty if there is none.
    """

    offset: int
    raw: bytes
    values: list[str]
    error: str = ""


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every record below the header; blank lines are not records."""
    rows = read_rows(split_lines(read_blocks(shard.path, 0, fields.encoding)))
    header = _header(rows)
    require_fields(header, fields)
    for row in rows:
        yield document_of_row(row, header, fields, shard.source)


def document_of_row(row: Row, header: list[str], fields: DocumentFields, source: str) -> Document | Failure:
    """Makes a document from a row, or a failure if the row is malformed or its length differs from the header's."""
    try:
        record = _record(row, header)
    except BadRecordError as problem:
        return Failure(row.raw, f"{source}:{row.offset}: {problem}", "parse", {"source": source})
    return document_of(record, fields, source, row.offset, row.raw)


def _record(row: Row, header: list[str]) -> dict[str, str]:
    if row.error:
        raise BadRecordError(f"the record {row.error}")
    try:
        row.raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecordError(f"byte {error.start} of the record is not UTF-8") from None
    if len(row.values) != len(header):
        raise BadRecordError(f"the record has {len(row.values)} fields, the header has {len(header)}")
    return dict(zip(header, row.values, strict=True))


def read_rows(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[Row]:
    """Parses numbered lines, and continues after a record that is malformed or too large.

    Args:
        lines: The output of `split_lines`.
    """
    csv.field_size_limit(FIELD_SIZE_LIMIT)
    source = _Lines(lines)
    reader = csv.reader(source, strict=True)
    while True:
        source.begin()
        values, error = [], ""
        try:
            values = next(reader)
        except StopIteration:
            return
        except _TooLargeError as problem:
            error = str(problem)
        except csv.Error as problem:
            error = f"is not CSV: {problem}"  # names the rule; never quotes a field
        if values or error:
            yield Row(source.offset, bytes(source.taken), values, error)


class _TooLargeError(Exception):
    pass


class _Lines:
    """Passes the lines of one record after another to a parser as text, within the limits for a record.

    The error for a record that is too large passes through the parser, which then restarts at the next line. (A
    generator would end after the error.)

    Attributes:
        offset: The offset of the record's first byte.
        taken: The record's lines so far, joined: a list of short lines takes many times their size.
    """

    def __init__(self, lines: Iterable[tuple[int, bytes | None]]) -> None:
        self._lines = iter(lines)
        self.begin()

    def begin(self) -> None:
        """Resets the state for the next record."""
        self.offset = -1
        self.taken = bytearray()
        self._commas = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        offset, line = next(self._lines)
        self.offset = offset if self.offset < 0 else self.offset
        if line is None:
            raise _TooLargeError(f"has a line of more than {MAX_RECORD_BYTES} bytes, which are not read")
        self.taken += line
        self._commas += line.count(b",")
        if len(self.taken) > MAX_RECORD_BYTES:
            raise _TooLargeError(f"has more than {MAX_RECORD_BYTES} bytes")
        if self._commas > MAX_RECORD_VALUES:
            raise _TooLargeError(f"may have more than {MAX_RECORD_VALUES} fields")
        return line.decode("utf-8", "surrogateescape")


def _header(rows: Iterator[Row]) -> list[str]:
    row = next(rows, None)
    if row is None:
        raise UnreadableError("there is no header row")
    if row.error or not _is_utf8(row.raw):
        raise UnreadableError("the header row is not CSV in UTF-8")
    return row.values


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def columns(path: str, encoding: str | None = None) -> list[str]:
    """Return the fields of the header row."""
    return _header(read_rows(split_lines(read_blocks(path, 0, encoding))))


FORMULAS = ("escape", "keep")
"""The values of `--csv_formulas`."""

_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
"""The beginning of a cell that a spreadsheet might run as a formula, or of a cell that was escaped.

The characters are those of OWASP's page on CSV injection. Some spreadsheets treat the wide forms of East Asian scripts
as the narrow ones.
"""


def escape_formula(value: Any) -> Any:
    """Return a string that a spreadsheet would run as a formula with a quote in front; other values unchanged.

    A string that looks escaped already gets another quote, so that the original can be restored.

    >>> escape_formula("=1+1"), escape_formula(-1), escape_formula("1-1"), escape_formula("'=1")
    ("'=1+1", -1, '1-1', "''=1")
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_line(values: Iterable[Any]) -> str:
    """Return the values as one record, quoted as in RFC 4180, without the final line ending."""
    record = io.StringIO()
    # The writer quotes fields with characters of its terminator. With this one, it quotes CR and LF.
    csv.writer(record, lineterminator="\r\n").writerow(values)
    return record.getvalue().removesuffix("\r\n")


def entity_lines(result: DocumentEntities, escape_formulas: bool) -> Iterator[str]:
    """Yield the entities of a result as CSV records."""
    for row in entity_rows(result):
        yield csv_line(map(escape_formula, row.values()) if escape_formulas else row.values())


class CsvResults(ResultFormat):
    """CSV files of results, with one row per entity; a document without entities has no row."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes a record per entity, below a header row."""
        lines = beam.FlatMap(entity_lines, self.escape_formulas).with_output_types(str)
        header = csv_line(csv_columns(self.strategy))
        return WriteFiles("Lines" >> lines, WriteToText(prefix, self.suffix, num_shards=num_shards, header=header))

    def record(self, result: DocumentEntities) -> bytes:
        """Return the rows of one result."""
        return "".join(f"{line}\n" for line in entity_lines(result, self.escape_formulas)).encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file, with a header row."""
        header = f"{csv_line(csv_columns(self.strategy))}\n".encode()
        return compressed(header + b"".join(records), self.suffix)
