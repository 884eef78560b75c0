"""bqemulator with some gaps closed that Beam and our tables fall into; it runs in bqemulator's own environment.

A dry run of a script runs nothing. A query job with a destination table leaves its rows there. An extract job puts a number in the place of the asterisk, and
hands its file to the storage server (`STORAGE_EMULATOR_HOST`), which knows no files that it has not been given. Streaming
inserts are those of `bigquery_insert_all`, beside this file. A column within a record may have the name of a word of SQL,
such as `end`.
"""

from __future__ import annotations

import os
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import bigquery_insert_all
from bqemulator.api.routes import jobs, tables
from bqemulator.cli import main
from bqemulator.jobs import executor
from bqemulator.storage import type_map

_dry_run = jobs._dry_run_response
_execute_query = jobs._execute_query_or_failed_meta
_copy_relation = executor._copy_relation_to_file
_columns = type_map.bq_schema_to_duckdb_columns


async def _execute_query_into_table(*, query_config: dict[str, Any], **settings: Any) -> Any:
    meta = await _execute_query(query_config=query_config, **settings)
    table = query_config.get("destinationTable") or {}
    replaces = query_config.get("writeDisposition") in (None, "WRITE_EMPTY", "WRITE_TRUNCATE")
    is_select = executor.classify_statement_type(settings["bq_sql"]) == "SELECT"
    if table.get("tableId") and is_select and replaces and meta.error_result is None:
        project = table.get("projectId") or settings["project_id"]
        name = f"`{project}.{table['datasetId']}.{table['tableId']}`"
        await executor.execute_query_job(
            settings["project_id"],
            f"{settings['job_id']}_destination",
            f"CREATE OR REPLACE TABLE {name} AS {settings['bq_sql']}",
            settings["query_params"],
            settings["ctx"],
            caller=settings["caller"],
        )
    return meta


async def _dry_run_without_scripts(*, bq_sql: str, **settings: Any) -> dict[str, Any]:
    statements = executor._parse_script_or_raise(bq_sql).statements
    if len(statements) == 1 and isinstance(statements[0], executor.SqlStmt):
        return await _dry_run(bq_sql=bq_sql, **settings)
    return {"statementType": "SCRIPT", "schema": {"fields": []}}


def _copy_relation_to_bucket(relation_sql: str, dest_path: str, *arguments: Any, **settings: Any) -> None:
    name = Path(dest_path.replace("*", "000000000000")).relative_to(os.environ["BQEMU_GCS_LOCAL_ROOT"])
    bucket, *rest = name.parts
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name.name
        _copy_relation(relation_sql, str(path), *arguments, **settings)
        query = urllib.parse.urlencode({"uploadType": "media", "name": "/".join(rest)})
        url = f"{os.environ['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/{bucket}/o?{query}"
        with urllib.request.urlopen(urllib.request.Request(url, data=path.read_bytes()), timeout=60):
            pass


def _columns_with_quotes(fields: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return _columns(list(map(_with_quotes_within, fields)))


def _with_quotes_within(field: dict[str, Any]) -> dict[str, Any]:
    within = [{**child, "name": f'"{child["name"].strip(chr(34))}"'} for child in field.get("fields") or ()]
    return {**field, "fields": within} if within else field


jobs._dry_run_response = _dry_run_without_scripts
jobs._execute_query_or_failed_meta = _execute_query_into_table
executor._copy_relation_to_file = _copy_relation_to_bucket
bigquery_insert_all.install()
type_map.bq_schema_to_duckdb_columns = tables.bq_schema_to_duckdb_columns = _columns_with_quotes

if __name__ == "__main__":
    main()
