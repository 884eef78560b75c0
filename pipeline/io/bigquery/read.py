"""Reads a BigQuery table, or the result of a query, as documents."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.gcp.bigquery import ReadFromBigQuery
from apache_beam.options.pipeline_options import GoogleCloudOptions
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.bigquery import QueryJob, QueryJobConfig, TableReference
from google.cloud.bigquery_storage_v1 import types

from pipeline.io.bigquery.client import client_of, read_client, standard_name
from pipeline.io.fields import DocumentFields, column_of
from pipeline.io.outcomes import ReadResult, sort_outcomes
from pipeline.io.records import document_of, json_payload
from pipeline.places import Table
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure

READ_METHODS = ("DIRECT_READ", "EXPORT")
QUERY_SOURCE = "query"
"""The `source` attribute of documents from a query."""

_STREAM_COUNT = 1000  # the maximum; BigQuery opens fewer for a small table


def document_of_row(row: Mapping[str, Any], fields: DocumentFields, source: str) -> Document | Failure:
    """Makes a document from a row, or a failure that describes what the row lacks.

    A table has no order, so a row without an id is named by a hash of its columns that are read. A row has the same
    name in every run. Two rows with the same text have the same name too.

    Args:
        row: The row's columns; only those of the fields are kept.
        fields: The names of the fields.
        source: The name of the table or query.
    """
    columns = dict.fromkeys(column_of(name, list(row)) for name in fields.names)
    record = {name: _with_plain_numbers(row[name]) for name in columns if name}
    payload = json_payload(record)
    return document_of(record, fields, source, f"row-{hashlib.sha256(payload).hexdigest()[:16]}", payload)


def _with_plain_numbers(value: Any) -> Any:
    """Return a value with each NUMERIC in it as text."""
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, dict):
        return {name: _with_plain_numbers(each) for name, each in value.items()}
    return list(map(_with_plain_numbers, value)) if isinstance(value, list) else value


def decimal_text(number: Decimal) -> str:
    """Return a NUMERIC or a BIGNUMERIC as BigQuery's `CAST(x AS STRING)` does.

    >>> decimal_text(Decimal("12.500000000")), decimal_text(Decimal("1E+2")), decimal_text(Decimal("0E-9"))
    ('12.5', '100', '0')
    """
    return re.sub(r"\.?0*$", "", text) if "." in (text := f"{number:f}") else text


class QueryError(RuntimeError):
    """An error of a query while it ran; the message quotes nothing that the query read."""


class ReadTable(beam.PTransform):
    """Reads each row of a table or a query as a document; a row without a text becomes a failure.

    Args:
        table: The table; give either this or `query`.
        query: A query in standard SQL.
        text_field: The column with the text.
        id_field: The column with the id. A row without an id is named by a hash of its content.
        keep: The columns that are passed on to the results.
        method: `DIRECT_READ` uses the Storage API, and reads only the columns of these fields. With `EXPORT`, BigQuery
            writes files into the pipeline's `--temp_location`, and those are read.

    Raises:
        ValueError: If not exactly one of table and query is given, or if the method is unknown.
    """

    def __init__(
        self,
        table: Table | None = None,
        query: str | None = None,
        text_field: str = "text",
        id_field: str = "id",
        keep: tuple[KeptField, ...] = (),
        method: str = "DIRECT_READ",
    ) -> None:
        super().__init__()
        if (table is None) == (not query):
            raise ValueError("table, query: both or neither given; expected one of them")
        if method not in READ_METHODS:
            raise ValueError(f"method={method!r}: unknown; expected one of {', '.join(READ_METHODS)}")
        self._table = table
        self._query = query
        self._fields = DocumentFields(text_field, id_field, keep)
        self._method = method

    def expand(self, pbegin: Any) -> ReadResult:
        """Build the steps, and return the documents and failures."""
        source = QUERY_SOURCE if self._table is None else str(self._table)
        if self._method == "EXPORT":
            read = partial(_document_of_exported, fields=self._fields, source=source)
            return _sorted(pbegin | "Export" >> self._export(), read)
        read = partial(read_stream, fields=self._fields, source=source)
        return read_table(pbegin, self._query or self._table, self._fields.names, read)

    def _export(self) -> ReadFromBigQuery:
        if self._table is None:
            return ReadFromBigQuery(method="EXPORT", query=self._query, use_standard_sql=True)
        return ReadFromBigQuery(method="EXPORT", table=str(self._table))


def _document_of_exported(row: dict[str, Any], fields: DocumentFields, source: str) -> Iterator[Document | Failure]:
    yield document_of_row(row, fields, source)


def read_table(
    pbegin: Any,
    request: Table | str | None,
    columns: tuple[str, ...],
    read: Callable[[str], Iterator[Document | Failure]],
) -> ReadResult:
    """Builds the steps that open the streams of a table or query, and that read each stream with a function."""
    project = pbegin.pipeline.options.view_as(GoogleCloudOptions).project
    streams = (
        pbegin
        | "Request" >> beam.Create([request])
        | "OpenStreams" >> beam.FlatMap(open_streams, project=project, columns=columns).with_output_types(str)
        | "Spread" >> beam.Reshuffle()
    )
    return _sorted(streams, read)


def _sorted(elements: Any, read: Callable[[Any], Iterator[Document | Failure]]) -> ReadResult:
    outcomes = sort_outcomes(elements, "ReadRows", read)
    # A small table has only one stream, so its documents are redistributed. The rows are also read soon:
    # a read session ends after hours, and a slow model might not have reached them by then.
    return ReadResult(outcomes.documents | "Balance" >> beam.Reshuffle(), outcomes.failures)


# Beam's own direct read is not used. It makes a data set for a query's result. After any read, it deletes every data
# set that a listing by label returns. That is a risk for a user's tables, and a few lines of Google's clients suffice.


def open_streams(request: Table | str, project: str | None, columns: tuple[str, ...]) -> list[str]:
    """Opens the snapshot of a table, or runs a query and opens its result.

    A query's result is a temporary table of BigQuery. It is deleted after a day, and needs no data set.

    Args:
        request: A table, or a query.
        project: The project that pays; None for the table's project, or the environment's.
        columns: The columns to read, if the table has them; also paths into records, whose columns are read.

    Returns:
        The names of streams that can be read in parallel.
    """
    client = client_of(project or (request.project if isinstance(request, Table) else None))
    if isinstance(request, Table):
        table = client.get_table(standard_name(request)).reference
    else:
        job = client.query(request, QueryJobConfig(use_legacy_sql=False))
        _await_query(job)
        table = job.destination
    present = [column.name for column in client.get_table(table).schema]
    selected = [name for name in dict.fromkeys(column_of(path, present) for path in columns) if name]
    return create_session(table, selected, client.project)


def create_session(
    table: TableReference, columns: Sequence[str], project: str, most_streams: int = _STREAM_COUNT, **call: Any
) -> list[str]:
    """Opens a snapshot of a table, which costs nothing until it is read.

    Args:
        table: The table.
        columns: The columns to read, which the table must have.
        project: The project that pays.
        most_streams: The most streams to open.
        **call: Settings of the call, such as its `timeout`.

    Returns:
        The names of streams that can be read in parallel.
    """
    session = types.ReadSession(
        table=table.to_bqstorage(),
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(selected_fields=columns),
    )
    opened = read_client().create_read_session(
        parent=f"projects/{project}", read_session=session, max_stream_count=most_streams, **call
    )
    return [stream.name for stream in opened.streams]


def _await_query(job: QueryJob) -> None:
    try:
        job.result()
    except GoogleAPICallError as error:
        # The message may quote a row, for example a text that is not a number.
        raise QueryError(f"the query failed with {type(error).__name__}; see BigQuery's job {job.job_id}") from None


def read_rows(name: str) -> Iterator[dict[str, Any]]:
    """Reads the rows of one stream to its end.

    The client resumes after a broken connection. Other errors are raised, so that the runner retries the stream: a
    truncated stream must not look like a small table.
    """
    schema = None
    for response in read_client().read_rows(name):
        if schema is None:  # only the first response has it
            schema = pa.ipc.read_schema(pa.py_buffer(response.arrow_schema.serialized_schema))
        batch = pa.py_buffer(response.arrow_record_batch.serialized_record_batch)
        yield from pa.ipc.read_record_batch(batch, schema).to_pylist()


def read_stream(name: str, fields: DocumentFields, source: str) -> Iterator[Document | Failure]:
    """Reads the rows of one stream as documents."""
    for row in read_rows(name):
        yield document_of_row(row, fields, source)
