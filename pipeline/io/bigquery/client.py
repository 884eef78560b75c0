"""BigQuery's clients, and what a run wants to know of tables and queries before it starts."""

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
"""How long a question before the start may take, with its retries."""

CHECK_RETRY = DEFAULT_RETRY.with_timeout(CHECK_SECONDS)
"""For those questions."""

# BigQuery's standard names and legacy names of the types that occur here.
_TYPES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def client_of(project: str | None) -> bigquery.Client:
    """A client that asks and pays in the name of a project, None for the environment's own."""
    return bigquery.Client(project=project)


def standard_name(table: Table) -> str:
    """The table's name as Google's client and standard SQL have it.

    >>> standard_name(Table("my-project", "ner", "entities"))
    'my-project.ner.entities'
    """
    return f"{table.project}.{table.dataset}.{table.table}"


def column_type(column: SchemaField) -> str:
    """The type of a column by the name that `pipeline.schemas` uses.

    >>> column_type(SchemaField("n", "INT64"))
    'INTEGER'
    """
    return _TYPES.get(column.field_type.upper(), column.field_type.upper())


def find_table(table: Table, flag: str) -> bigquery.Table | None:
    """Looks a table up, for at most about `CHECK_SECONDS`.

    Args:
        table: The table.
        flag: Where it was given (`--output`), for the sentence of a refusal.

    Returns:
        The table as BigQuery knows it, None if there is none of this name.

    Raises:
        ValueError: If BigQuery does not tell, in one line.
    """
    with told_by(f"{flag}={table} cannot be looked up"):
        try:
            return client_of(table.project).get_table(
                standard_name(table.whole), retry=CHECK_RETRY, timeout=CHECK_SECONDS
            )
        except NotFound:
            return None


def query_columns(query: str, project: str | None, flag: str) -> list[SchemaField]:
    """Return the columns of a query in standard SQL, from a dry run, which costs nothing.

    Raises:
        ValueError: If BigQuery refuses the query, or does not answer, or the query is anything but a SELECT: to run it
            would change tables. In one line.
    """
    with told_by(f"{flag} cannot be run"):
        settings = bigquery.QueryJobConfig(dry_run=True, use_query_cache=False)
        job = client_of(project).query(query, settings, retry=CHECK_RETRY, timeout=CHECK_SECONDS, job_retry=None)
    if job.statement_type == "SCRIPT":
        raise ValueError(f"{flag} is a script of several statements; expected one SELECT statement")
    if job.statement_type != "SELECT":
        kind = str(job.statement_type or "unknown").replace("_", " ")
        raise ValueError(f"{flag} is a statement of the kind {kind}; expected a SELECT, which changes nothing")
    return list(job.schema or ())


def check_text_column(columns: Iterable[SchemaField], text_field: str, id_field: str, place: str) -> None:
    """Refuses columns among which the text or the id is not what a document needs; an id may be missing.

    Args:
        columns: The columns of a table or a query.
        text_field: Name of the text's column.
        id_field: Name of the id's column.
        place: The flag and the table, for the sentence of a refusal.

    Raises:
        ValueError: In one line.
    """
    present = {column.name: column for column in columns}
    text, name = present.get(text_field), present.get(id_field)
    if text is None:
        raise ValueError(
            f"--text_field={text_field} names no column of {place}; there are {', '.join(present) or 'none'}"
        )
    if column_type(text) != "STRING" or text.mode == "REPEATED":
        raise ValueError(f"--text_field={text_field}: the column of {place} is {_kind(text)}, not STRING")
    if name is not None and (column_type(name) == "RECORD" or name.mode == "REPEATED"):
        raise ValueError(f"--id_field={id_field}: the column of {place} is {_kind(name)}, which is no id")


def _kind(column: SchemaField) -> str:
    return f"REPEATED {column_type(column)}" if column.mode == "REPEATED" else column_type(column)


@contextmanager
def told_by(sentence: str) -> Iterator[None]:
    """Turns what BigQuery's client raises into a ValueError of one line, for the checks before a run."""
    try:
        yield
    except (GoogleAPIError, GoogleAuthError, RequestException, OSError) as error:
        raise ValueError(f"{sentence}: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Return a refusal's message, in one line, without the address that was asked.

    Fit for a terminal before the start, when no document has been read; not for a worker's log.
    """
    if isinstance(error, RetryError) and error.cause:
        error = error.cause  # that time is up says less than what took it
    message = str(getattr(error, "message", "") or error)
    line = (message.splitlines() or [""])[0]
    if isinstance(error, BadRequest | Forbidden | NotFound):
        return line.partition("prettyPrint=false: ")[2] or line
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
