"""CSV, quoted as RFC 4180 says; read with a header row, written as one row an entity."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.beam_internals import limit_cleanup_glob
from pipeline.io.files.lines import split_lines
from pipeline.io.files.matching import Shard, read_blocks
from pipeline.io.files.result_format import ResultFormat, compressed
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
"""Characters of one field, at 4 bytes each while it is parsed. A quote that is never closed swallows no more."""


@dataclass(frozen=True)
class Row:
    """One record of a CSV file.

    Attributes:
        offset: Place of its first byte in the (decompressed) file.
        raw: Its bytes with the line ending, those within quotes too; without the line that is too long, if one is.
        values: Its fields; none if it breaks the rules of quoting, or is too large.
        error: What is wrong with it; empty if nothing is.
    """

    offset: int
    raw: bytes
    values: list[str]
    error: str = ""


def read(shard: Shard, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads every record below the header; blank lines are not records."""
    rows = read_rows(split_lines(read_blocks(shard.path)))
    header = _header(rows)
    require_fields(header, fields)
    for row in rows:
        yield document_of_row(row, header, fields, shard.source)


def document_of_row(row: Row, header: list[str], fields: DocumentFields, source: str) -> Document | Failure:
    """Makes a document of a row, or a failure if it is malformed or not as long as the header."""
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
    """Parses numbered lines, and goes on after a record that breaks the rules or is too large.

    Args:
        lines: What `split_lines` gives.
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
    """Gives a parser the lines of one record after the other, as text, and holds no more of a record than it may.

    The error of a record that is too large goes through the parser, which then begins anew at the next line. (A
    generator would have ended with it.)

    Attributes:
        offset: Where the record begins.
        taken: Its lines so far; as one, for a list of short ones takes many times their size.
    """

    def __init__(self, lines: Iterable[tuple[int, bytes | None]]) -> None:
        self._lines = iter(lines)
        self.begin()

    def begin(self) -> None:
        """Begins a record."""
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


def columns(path: str) -> list[str]:
    """The fields of the header row."""
    return _header(read_rows(split_lines(read_blocks(path))))


FORMULAS = ("escape", "keep")
"""What `--csv_formulas` can say."""

_FORMULA = re.compile("'*[=+\\-@\t\r\n＝＋－＠]")
"""The beginning of a cell that a spreadsheet might run, or of one that was escaped.

From OWASP's page on CSV injection; some spreadsheets take the wide forms of East Asian scripts for the narrow ones.
"""


def escape_formula(value: Any) -> Any:
    """A string that a spreadsheet would run as a formula, with a quote that keeps it text; numbers as they are.

    One that looks as if it was escaped gets another quote, so that what it was can be told.

    >>> escape_formula("=1+1"), escape_formula(-1), escape_formula("1-1"), escape_formula("'=1")
    ("'=1+1", -1, '1-1', "''=1")
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def csv_line(values: Iterable[Any]) -> str:
    """The values as one record, quoted as RFC 4180 says, without the ending of its last line."""
    record = io.StringIO()
    # The terminator is among what the writer quotes: with this one, fields with CR or LF are.
    csv.writer(record, lineterminator="\r\n").writerow(values)
    return record.getvalue().removesuffix("\r\n")


def entity_lines(result: DocumentEntities, escape_formulas: bool) -> Iterator[str]:
    """The entities of a result as CSV records."""
    for row in entity_rows(result):
        yield csv_line(map(escape_formula, row.values()) if escape_formulas else row.values())


class WriteEntityRows(beam.PTransform):
    """Writes one record an entity, below a header row."""

    def __init__(self, prefix: str, suffix: str, strategy: str, num_shards: int, escape_formulas: bool) -> None:
        super().__init__()
        files = WriteToText(prefix, suffix, num_shards=num_shards, header=csv_line(csv_columns(strategy)))
        self._files = limit_cleanup_glob(files)
        self._escape_formulas = escape_formulas

    def expand(self, results: Any) -> Any:
        return (
            results
            | "Lines" >> beam.FlatMap(entity_lines, self._escape_formulas).with_output_types(str)
            | "Write" >> self._files
        )


class CsvResults(ResultFormat):
    """Files of CSV, one row an entity; a document without any has none."""

    def write(self, prefix: str, num_shards: int) -> WriteEntityRows:
        """Return the transform that writes a batch's results."""
        return WriteEntityRows(prefix, self.suffix, self.strategy, num_shards, self.escape_formulas)

    def record(self, result: DocumentEntities) -> bytes:
        """Return the rows of one result."""
        return "".join(f"{line}\n" for line in entity_lines(result, self.escape_formulas)).encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file, with a header row."""
        header = f"{csv_line(csv_columns(self.strategy))}\n".encode()
        return compressed(header + b"".join(records), self.suffix)
