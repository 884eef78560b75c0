"""CSV with a header row, quoted as RFC 4180 says."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.sources.files import Shard, UnreadableError, read_blocks
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
        raw: Its bytes with the line ending, those within quotes too.
        values: Its fields; none if it breaks the rules of quoting.
        error: Which rule; empty if none.
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
        raise BadRecordError(f"the record is not CSV: {row.error}")
    try:
        row.raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecordError(f"byte {error.start} of the record is not UTF-8") from None
    if len(row.values) != len(header):
        raise BadRecordError(f"the record has {len(row.values)} fields, the header has {len(header)}")
    return dict(zip(header, row.values, strict=True))


def read_rows(lines: Iterable[tuple[int, bytes]]) -> Iterator[Row]:
    """Parses numbered lines, and goes on after a record that breaks the rules.

    Args:
        lines: What `split_lines` gives.
    """
    csv.field_size_limit(FIELD_SIZE_LIMIT)
    consumed: list[tuple[int, bytes]] = []
    reader = csv.reader(_decoded(lines, consumed), strict=True)
    while True:
        consumed.clear()
        values, error = [], ""
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            error = str(problem)  # names the rule; never quotes a field
        if values or error:
            yield Row(consumed[0][0], b"".join(line for _, line in consumed), values, error)


def _decoded(lines: Iterable[tuple[int, bytes]], consumed: list[tuple[int, bytes]]) -> Iterator[str]:
    """The lines as text, each noted in `consumed` as the parser takes it."""
    for offset, line in lines:
        consumed.append((offset, line))
        yield line.decode("utf-8", "surrogateescape")


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
