"""The systems that are read and written: files, BigQuery and Pub/Sub, one room each."""
