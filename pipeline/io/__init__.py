"""The systems for reading and writing: files, BigQuery and Pub/Sub, with one package each."""
