"""What runs in bqemulator's own environment cannot be imported in that of the tests."""

collect_ignore = ["bigquery_insert_all.py", "bigquery_program.py"]
