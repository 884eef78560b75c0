"""CSV with a header row, quoted as RFC 4180 says."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.sources.files import Shard, read_blocks
from pipeline.sources.limits import MAX_RECORD_BYTES, MAX_RECORD_VALUES, UnreadableError
from pipeline.sources.lines import split_lines
from pipeline.sources.records import BadRecordError, DocumentFields, document_of, require_fields
from transforms.documents import Document, Failure

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
