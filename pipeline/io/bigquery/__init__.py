"""BigQuery: tables and queries that are read, tables that are written."""
