"""BigQuery: reading tables and queries, and writing tables."""
