"""Transforms that write results and failures to files."""

from __future__ import annotations

from typing import Any

import apache_beam as beam

from pipeline.io.files.formats.jsonl import FailureLines
from pipeline.io.files.formats.registry import FORMATS
from pipeline.io.files.names import ENDINGS, output_files
from pipeline.io.files.result_format import ResultFormat
from pipeline.schemas import KeptField
from transforms.errors import ArgumentError

OUTPUT_FORMATS = tuple(ENDINGS)


class WriteResults(beam.PTransform):
    """Writes PCollection[DocumentEntities] to files `output-00000-of-00001.jsonl` and so on.

    Args:
        output: The files' prefix, or a name with an ending of the format (`out/x.jsonl.gz`).
        output_format: One of `OUTPUT_FORMATS`. csv has one row per entity, so a document without entities has no row.
        strategy: The aggregation strategy that made the entities; the columns depend on it.
        include_text: Whether to write the document's text.
        num_shards: The number of files; with 0, the runner decides.
        escape_formulas: For csv, whether to escape texts that a spreadsheet would run as formulas.
        kept: The fields of the record that the documents contain, for formats with columns.

    Raises:
        ValueError: If the format is unknown or cannot contain the text, or if Beam cannot write files of this name.
    """

    def __init__(
        self,
        output: str,
        output_format: str,
        strategy: str,
        include_text: bool,
        num_shards: int = 0,
        *,
        escape_formulas: bool = True,
        kept: tuple[KeptField, ...] = (),
    ) -> None:
        super().__init__()
        check_result_format(output_format, include_text)
        prefix, suffix = output_files(output, output_format)
        results = result_format(output_format)(suffix, strategy, include_text, escape_formulas, kept)
        self._write = results.write(prefix, num_shards)

    def expand(self, results: Any) -> Any:
        """Build the step that writes the files."""
        return results | "Files" >> self._write


def result_format(name: str) -> type[ResultFormat]:
    """Return the class of a format of results, one of `OUTPUT_FORMATS`."""
    results = FORMATS[name].results
    if results is None:
        raise ArgumentError(f"output_format={name}: unknown; expected one of {', '.join(OUTPUT_FORMATS)}")
    return results


def check_result_format(output_format: str, include_text: bool) -> None:
    """Rejects a format that is unknown or cannot contain the text.

    Raises:
        ArgumentError: If the format is rejected; the message is one line.
    """
    if output_format not in OUTPUT_FORMATS:
        raise ArgumentError(f"output_format={output_format}: unknown; expected one of {', '.join(OUTPUT_FORMATS)}")
    if output_format == "csv" and include_text:
        raise ArgumentError(
            "include_text: not for csv, where a row is one entity; expected output_format jsonl, avro or parquet"
        )


class WriteFailures(beam.PTransform):
    """Writes PCollection[Failure] to files of JSON Lines.

    Args:
        output: The files' prefix, or a name that ends in .jsonl (and .gz, for example).

    Raises:
        ValueError: If Beam cannot write files of this name.
    """

    def __init__(self, output: str) -> None:
        super().__init__()
        prefix, suffix = output_files(output, "jsonl", "dead_letter")
        self._write = FailureLines(suffix).write(prefix)

    def expand(self, failures: Any) -> Any:
        """Build the step that writes the files."""
        return failures | "Files" >> self._write
