"""BigQuery's Storage Write API. Beam implements it only in Java, and calls it from Python as an external transform."""

from __future__ import annotations

import json
import math
import os
import shutil
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.utils.timestamp import Timestamp

from pipeline.io.bigquery.inserts import describe_refusal
from pipeline.places import Table
from pipeline.schemas import Field, bigquery_schema
from transforms.documents import Failure
from transforms.errors import ArgumentError, first_line


def has_java() -> bool:
    """Return whether Java can be started here, in which Beam implements the Storage Write API."""
    home = os.environ.get("JAVA_HOME")
    return bool(shutil.which("java") or (home and shutil.which("java", path=f"{home}/bin")))


class StorageWrite(beam.PTransform):
    """Appends JSON rows at least once; returns the rejected rows as PCollection[Failure].

    Args:
        table: The table.
        fields: The table's columns.

    Raises:
        ValueError: If there is no Java, or if Beam's Java program cannot be fetched or started.
    """

    def __init__(self, table: Table, fields: tuple[Field, ...]) -> None:
        super().__init__()
        if not has_java():
            raise ArgumentError("write_method=STORAGE_WRITE_API: requires Java; expected a Java runtime")
        self._write = WriteToBigQuery(
            table=str(table),
            schema=bigquery_schema(fields),
            method=WriteToBigQuery.Method.STORAGE_WRITE_API,
            create_disposition=BigQueryDisposition.CREATE_NEVER,
            use_at_least_once=True,
        )

    def expand(self, rows: Any) -> Any:
        """Build the steps, and return the failures of rejected rows."""
        native = rows | "NativeTypes" >> beam.Map(native_row)
        try:
            written = native | "Append" >> self._write
        except Exception as error:  # Beam fetches and starts a Java program here
            raise ArgumentError(
                "write_method=STORAGE_WRITE_API: Beam's Java program cannot be fetched or started here"
                f" ({type(error).__name__}: {first_line(error)}); expected write_method=STREAMING_INSERTS"
            ) from error
        return written.failed_rows_with_errors | "Refused" >> beam.Map(failure_of_refused)


def native_row(row: dict[str, Any]) -> dict[str, Any]:
    """Converts a JSON row to the types of Beam's Storage Write API: its own type for times, and numbers for scores."""
    made = dict(row)
    for name in ("event_time", "processed_at"):
        made[name] = Timestamp.from_rfc3339(row[name]) if row[name] else None
    if "entities" in row:
        made["entities"] = [{**entity, "score": float(entity["score"])} for entity in row["entities"]]
    else:
        made["score"] = float(row["score"])
    return made


def failure_of_refused(refused: dict[str, Any]) -> Failure:
    """Makes a failure from a row that the Storage Write API rejects.

    The failure contains the bytes of the row, because the record's bytes are no longer available.
    """
    row = refused["failed_row"]
    payload = json.dumps(_plain(row), ensure_ascii=False).encode("utf-8", "replace")
    return Failure(payload, describe_refusal(refused.get("error_message") or ""), "write", {"id": str(row.get("id"))})


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
