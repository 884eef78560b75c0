"""BigQuery's client, and its names of tables and types."""

from __future__ import annotations

from google.cloud import bigquery
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery_storage_v1 import BigQueryReadClient

from pipeline.io.credentials import impersonated_credentials
from pipeline.places import Table

# BigQuery's standard names of types, with their legacy names, for the types that occur here.
_TYPES = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN", "STRUCT": "RECORD"}


def client_of(project: str | None) -> bigquery.Client:
    """Return a client whose requests are made for, and paid by, a project; None for the environment's project."""
    return bigquery.Client(project=project, credentials=impersonated_credentials())


def read_client() -> BigQueryReadClient:
    """Return a client of the Storage API, which reads tables."""
    return BigQueryReadClient(credentials=impersonated_credentials())


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
