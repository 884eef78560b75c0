"""bqemulator with two gaps closed that Beam falls into; it runs in bqemulator's own environment.

A query job with a destination table leaves its rows there. An extract job puts a number in the place of the asterisk, and
hands its file to the storage server (`STORAGE_EMULATOR_HOST`), which knows no files that it has not been given.
"""

from __future__ import annotations

import os
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from bqemulator.api.routes import jobs
from bqemulator.cli import main
from bqemulator.jobs import executor

_execute_query = jobs._execute_query_or_failed_meta
_copy_relation = executor._copy_relation_to_file


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


jobs._execute_query_or_failed_meta = _execute_query_into_table
executor._copy_relation_to_file = _copy_relation_to_bucket

if __name__ == "__main__":
    main()
