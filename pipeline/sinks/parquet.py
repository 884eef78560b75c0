"""Parquet."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.io.parquetio import WriteToParquet

from pipeline.schemas import arrow_schema, result_fields, result_row
from pipeline.sinks.files import narrowed


class WriteResultParquet(beam.PTransform):
    """Writes each result as a Parquet row, in pages compressed with Snappy."""

    def __init__(self, prefix: str, suffix: str, strategy: str, include_text: bool, num_shards: int) -> None:
        super().__init__()
        self._files = WriteToParquet(
            prefix,
            arrow_schema(result_fields(strategy, include_text)),
            codec="snappy",
            use_compliant_nested_type=True,
            file_name_suffix=suffix,
            num_shards=num_shards,
        )
        narrowed(self._files._sink)
        self._include_text = include_text

    def expand(self, results: Any) -> Any:
        return results | "Rows" >> beam.Map(result_row, self._include_text) | "Write" >> self._files
