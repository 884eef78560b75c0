"""BigQuery's clients, and the checks of tables and queries before a run starts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPIError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from pipeline.places import Table

CHECK_SECONDS = 15.0
"""The approximate time limit of one check before the start, including its retries."""

CHECK_RETRY = DEFAULT_RETRY.with_timeout(CHECK_SECONDS)
"""The retry policy of those checks."""

# BigQuery's standard names of types, with their legacy names, for the types that occur here.
_TYPES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def client_of(project: str | None) -> bigquery.Client:
    """Return a client whose requests are made for, and paid by, a project; None for the environment's project."""
    return bigquery.Client(project=project)


def standard_name(table: Table) -> str:
    """Return the table's name in the form of Google's client and of standard SQL.

    >>> standard_name(Table("my-project", "ner", "entities"))
    'my-project.ner.entities'
    """
    return f"{table.project}.{table.dataset}.{table.table}"


def column_type(column: SchemaField) -> str:
    """Return the type of a column, under the name that `pipeline.schemas` uses.

    >>> column_type(SchemaField("n", "INT64"))
    'INTEGER'
    """
    return _TYPES.get(column.field_type.upper(), column.field_type.upper())


def find_table(table: Table, flag: str) -> bigquery.Table | None:
    """Looks up a table, for at most about `CHECK_SECONDS`.

    Args:
        table: The table.
        flag: The flag that names the table (`--output`), for error messages.

    Returns:
        BigQuery's description of the table, or None if there is no such table.

    Raises:
        ValueError: If BigQuery returns another error or does not answer; the message is one line.
    """
    with as_value_error(f"{flag}={table}: cannot be looked up"):
        try:
            return client_of(table.project).get_table(
                standard_name(table.whole), retry=CHECK_RETRY, timeout=CHECK_SECONDS
            )
        except NotFound:
            return None


def query_columns(query: str, project: str | None, flag: str) -> list[SchemaField]:
    """Return the columns of a query in standard SQL, from a dry run, which costs nothing.

    Raises:
        ValueError: If BigQuery rejects the query or does not answer, or if the query is not a SELECT. Other statements
            would change tables. The message is one line.
    """
    with as_value_error(f"{flag}: cannot be run"):
        settings = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        job = client_of(project).query(query, settings, retry=CHECK_RETRY, timeout=CHECK_SECONDS, job_retry=None)
    if job.statement_type == "SCRIPT":
        raise ValueError(f"{flag}: is a script of several statements; expected one SELECT statement")
    if job.statement_type != "SELECT":
        kind = str(job.statement_type or "unknown").replace("_", " ")
        raise ValueError(f"{flag}: is a statement of the kind {kind}; expected a SELECT, which changes nothing")
    return list(job.schema or ())


def check_text_column(columns: Iterable[SchemaField], text_field: str, id_field: str, place: str) -> None:
    """Rejects columns without a text of type STRING, or with an id that is a RECORD or REPEATED; an id may be missing.

    Args:
        columns: The columns of a table or a query.
        text_field: The name of the text's column.
        id_field: The name of the id's column.
        place: The flag and the table, for error messages.

    Raises:
        ValueError: If the columns are rejected; the message is one line.
    """
    present = {column.name: column for column in columns}
    text, name = present.get(text_field), present.get(id_field)
    if text is None:
        expected = f"one of {', '.join(present)}" if present else "a column, and there is none"
        raise ValueError(f"--text_field={text_field}: not a column of {place}; expected {expected}")
    if column_type(text) != "STRING" or text.mode == "REPEATED":
        raise ValueError(f"--text_field={text_field}: the column of {place} is {_kind(text)}; expected STRING")
    if name is not None and (column_type(name) == "RECORD" or name.mode == "REPEATED"):
        raise ValueError(f"--id_field={id_field}: the column of {place} is {_kind(name)}; expected a single value")


def _kind(column: SchemaField) -> str:
    return f"REPEATED {column_type(column)}" if column.mode == "REPEATED" else column_type(column)


@contextmanager
def as_value_error(sentence: str) -> Iterator[None]:
    """Converts the errors of BigQuery's client to a ValueError of one line, for the checks before a run."""
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
        raise ValueError(f"{sentence}: {describe_error(error)}") from error


def describe_error(error: BaseException) -> str:
    """Return an error's message in one line, without the address of the request.

    Use it only in a terminal before the start, when no document has been read. It does not belong in a worker's log.
    """
    if isinstance(error, RetryError) and error.cause:
        error = error.cause  # the cause is more useful than the fact that time is up
    message = str(getattr(error, "message", "") or error)
    line = (message.splitlines() or [""])[0]
    if isinstance(error, BadRequest | Forbidden | NotFound):
        return line.partition("prettyPrint=false: ")[2] or line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
