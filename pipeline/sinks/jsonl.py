"""JSON Lines."""

from __future__ import annotations

import json
from typing import Any

import apache_beam as beam
from apache_beam.io.textio import WriteToText

from pipeline.schemas import failure_json_row, result_row
from pipeline.sinks.files import narrowed
from transforms.documents import DocumentEntities, Failure

# Made once: `json.dumps` makes one for each row.
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def json_line(row: dict[str, Any]) -> str:
    """A row as one line of JSON, in the row's order and its own script.

    Raises:
        ValueError: If a number is not finite: JSON has no name for it.
    """
    return _encode(row)


def result_line(result: DocumentEntities, include_text: bool) -> str:
    """A result as a line of JSON."""
    return json_line(result_row(result, include_text))


def failure_line(failure: Failure) -> str:
    """A failure as a line of JSON, its time in ISO 8601 and its bytes in base64."""
    return json_line(failure_json_row(failure))


class WriteResultLines(beam.PTransform):
    """Writes each result as a line of JSON."""

    def __init__(self, prefix: str, suffix: str, include_text: bool, num_shards: int) -> None:
        super().__init__()
        self._files = WriteToText(prefix, suffix, num_shards=num_shards)
        narrowed(self._files._sink)
        self._include_text = include_text

    def expand(self, results: Any) -> Any:
        return (
            results
            | "Lines" >> beam.Map(result_line, self._include_text).with_output_types(str)
            | "Write" >> self._files
        )


class WriteFailureLines(beam.PTransform):
    """Writes each failure as a line of JSON."""

    def __init__(self, prefix: str, suffix: str) -> None:
        super().__init__()
        self._files = WriteToText(prefix, suffix)
        narrowed(self._files._sink)

    def expand(self, failures: Any) -> Any:
        return failures | "Lines" >> beam.Map(failure_line).with_output_types(str) | "Write" >> self._files
