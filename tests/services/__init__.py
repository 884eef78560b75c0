"""Real servers for the tests: Pub/Sub, BigQuery and Cloud Storage, on this machine and on free ports."""
