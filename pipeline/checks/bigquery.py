"""Looks up tables and queries in BigQuery, for the checks before a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core.exceptions import BadRequest, Forbidden, GoogleAPIError, NotFound, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.retry import DEFAULT_RETRY
from requests.exceptions import RequestException

from pipeline.io.bigquery.client import client_of, standard_name
from pipeline.places import Table

CHECK_SECONDS = 15.0
"""The approximate time limit of one check before the start, including its retries."""

CHECK_RETRY = DEFAULT_RETRY.with_timeout(CHECK_SECONDS)
"""The retry policy of those checks."""


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
