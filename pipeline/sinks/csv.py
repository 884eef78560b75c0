"""CSV: one row an entity."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.schemas import csv_columns, entity_rows
from pipeline.sinks.files import narrowed
from transforms.documents import DocumentEntities

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
        self._files = WriteToText(prefix, suffix, num_shards=num_shards, header=csv_line(csv_columns(strategy)))
        narrowed(self._files._sink)
        self._escape_formulas = escape_formulas

    def expand(self, results: Any) -> Any:
        return (
            results
            | "Lines" >> beam.FlatMap(entity_lines, self._escape_formulas).with_output_types(str)
            | "Write" >> self._files
        )
