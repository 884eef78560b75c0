"""Avro."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam.io.avroio import WriteToAvro

from pipeline.schemas import avro_schema, result_fields, result_row
from pipeline.sinks.files import narrowed


class WriteResultAvro(beam.PTransform):
    """Writes each result as an Avro record `Result`, in blocks compressed with deflate."""

    def __init__(self, prefix: str, suffix: str, strategy: str, include_text: bool, num_shards: int) -> None:
        super().__init__()
        schema = avro_schema("Result", result_fields(strategy, include_text))
        self._files = WriteToAvro(prefix, schema, codec="deflate", file_name_suffix=suffix, num_shards=num_shards)
        make = self._files._sink_provider
        self._files._sink_provider = lambda given: narrowed(make(given))
        self._include_text = include_text

    def expand(self, results: Any) -> Any:
        return results | "Rows" >> beam.Map(result_row, self._include_text) | "Write" >> self._files
