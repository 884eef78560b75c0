"""CSV files, quoted as in RFC 4180: reading records below a header row, and writing one row per entity."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.io.compression import compression_ending
from pipeline.io.fields import BadRecordError, Column, DocumentFields
from pipeline.io.files.formats.csv_rows import Row
from pipeline.io.files.formats.csv_tables import TAB_ENDINGS, open_table
from pipeline.io.files.matching import Shard
from pipeline.io.files.result_format import ResultFormat, WriteFiles, compressed
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import document_of, require_fields
from pipeline.schemas import KeptField, csv_columns, entity_rows
from transforms.documents import Document, DocumentEntities, Failure


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads every record below the header; blank lines are not records."""
    table = open_table(shard.path, fields, settings)
    require_fields(table.header, fields)
    for row in table.rows:
        yield document_of_row(row, table.header, fields, shard.source)


def document_of_row(row: Row, header: list[str], fields: DocumentFields, source: str) -> Document | Failure:
    """Makes a document from a row, or a failure if the row is malformed or its length differs from the header's."""
    try:
        record = _record(row, header)
    except BadRecordError as problem:
        return Failure(row.raw, f"{source}:{row.offset}: {problem}", "parse", {"source": source})
    return document_of(record, fields, source, row.offset, row.raw)


def _record(row: Row, header: list[str]) -> dict[str, str | None]:
    if row.error:
        raise BadRecordError(f"the record {row.error}")
    try:
        row.raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecordError(f"byte {error.start} of the record is not UTF-8") from None
    if len(row.values) != len(header):
        raise BadRecordError(f"the record has {len(row.values)} fields, the header has {len(header)}")
    return dict(zip(header, row.values, strict=True))


def columns(path: str, fields: DocumentFields, settings: ReadSettings) -> list[Column]:
    """Return the fields of the header row."""
    return [Column(name) for name in open_table(path, fields, settings).header]


def describe(path: str, fields: DocumentFields, settings: ReadSettings) -> str:
    """Return the delimiter, unless it is a comma or was given."""
    delimiter = open_table(path, fields, settings).delimiter
    is_usual = delimiter == "," or path.lower().removesuffix(compression_ending(path)).endswith(TAB_ENDINGS)
    return "" if settings.csv_delimiter or is_usual else f"delimiter {delimiter!r}"


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


def entity_lines(result: DocumentEntities, escape_formulas: bool, kept: Sequence[KeptField] = ()) -> Iterator[str]:
    """Yield the entities of a result as CSV records, with the record's kept fields in each."""
    fields = [result.document.fields.get(field.column) for field in kept]
    for row in entity_rows(result):
        values = [*row.values(), *fields]
        yield csv_line(map(escape_formula, values) if escape_formulas else values)


class CsvResults(ResultFormat):
    """CSV files of results, with one row per entity; a document without entities has no row."""

    def write(self, prefix: str, num_shards: int) -> WriteFiles:
        """Return the transform that writes a record per entity, below a header row."""
        lines = beam.FlatMap(entity_lines, self.escape_formulas, self.kept).with_output_types(str)
        header = csv_line(csv_columns(self.strategy, self.kept))
        return WriteFiles("Lines" >> lines, WriteToText(prefix, self.suffix, num_shards=num_shards, header=header))

    def record(self, result: DocumentEntities) -> bytes:
        """Return the rows of one result."""
        return "".join(f"{line}\n" for line in entity_lines(result, self.escape_formulas, self.kept)).encode()

    def file(self, records: Sequence[bytes]) -> bytes:
        """Return the content of a file, with a header row."""
        header = f"{csv_line(csv_columns(self.strategy, self.kept))}\n".encode()
        return compressed(header + b"".join(records), self.suffix)
