"""insertAll (streaming inserts) as BigQuery answers it; it runs in bqemulator's own environment.

bqemulator by itself drops fields that a table has not, answers a row that does not fit with an internal error, and takes
an insert id for nothing. Here such rows are refused with the service's reasons, the other rows of their request are
`stopped` unless invalid rows may be skipped, rows of an insert id seen within a minute are taken once, and a request of
more than 10 MB is refused whole.
"""

from __future__ import annotations

import time
from typing import Any

from bqemulator.api.routes import tabledata
from fastapi import Request
from fastapi.responses import JSONResponse

REQUEST_BYTES = 10_000_000
REMEMBERED_SECONDS = 60.0  # "at least one minute", says the documentation; no longer, so that nobody relies on it
PATH = "/projects/{project_id}/datasets/{dataset_id}/tables/{table_id}/insertAll"

_Ctx = tabledata._Ctx
_insert_all = tabledata.insert_all
_seen: dict[tuple[str, str, str, str], float] = {}


class _Body:
    """As much of a request as bqemulator's function reads."""

    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    async def json(self) -> dict[str, Any]:
        return self._content


async def insert_all(project_id: str, dataset_id: str, table_id: str, request: Request, ctx: _Ctx) -> Any:
    """Takes rows into a table."""
    if len(await request.body()) > REQUEST_BYTES:
        message = f"Request payload size exceeds the limit: {REQUEST_BYTES} bytes."
        error = {"code": 413, "message": message, "errors": [{"reason": "uploadTooLarge", "message": message}]}
        return JSONResponse({"error": error}, status_code=413)
    body = await request.json()
    table = (project_id, dataset_id, table_id)
    meta = ctx.catalog.get_table(*table)
    rows = body.get("rows", [])
    errors = _errors(rows, meta.schema_.fields, bool(body.get("ignoreUnknownValues"))) if meta is not None else {}
    answer = {"kind": "bigquery#tableDataInsertAllResponse"}
    if errors and not body.get("skipInvalidRows"):
        stopped = _error("stopped", "", "")
        return answer | {"insertErrors": [{"index": i, "errors": [errors.get(i, stopped)]} for i in range(len(rows))]}
    new = _new_rows(table, [row for index, row in enumerate(rows) if index not in errors])
    if new or meta is None:
        await _insert(table, new, body, ctx)
    return answer | {"insertErrors": [{"index": index, "errors": [error]} for index, error in errors.items()]}


async def _insert(table: tuple[str, str, str], rows: list[dict[str, Any]], body: dict[str, Any], ctx: Any) -> None:
    """Takes rows in; their ids are taken before, so that the same request at the same time is noticed."""
    keys = [(*table, row["insertId"]) for row in rows if row.get("insertId")]
    _seen.update(dict.fromkeys(keys, time.monotonic()))
    try:
        await _insert_all(*table, _Body(body | {"rows": rows}), ctx)
    except Exception:
        for key in keys:
            _seen.pop(key, None)
        raise


def _new_rows(table: tuple[str, str, str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose insert id has not been seen lately, here or earlier in the request."""
    now = time.monotonic()
    for key in [key for key, when in _seen.items() if now - when > REMEMBERED_SECONDS]:
        del _seen[key]
    ids: set[str] = set()
    new = []
    for row in rows:
        insert_id = row.get("insertId")
        if not insert_id or (insert_id not in ids and (*table, insert_id) not in _seen):
            new.append(row)
            ids.add(insert_id)
    return new


def _errors(rows: list[dict[str, Any]], fields: Any, ignore_unknown: bool) -> dict[int, dict[str, str]]:
    schema = tabledata._build_arrow_schema(tabledata._fields_raw_from_schema(fields))
    found = {}
    for index, row in enumerate(rows):
        error = _misfit(row.get("json") or {}, fields, "", ignore_unknown)
        if error is None:
            _, refused = tabledata._partition_rows_for_insert([row], schema)
            error = refused[0]["errors"][0] if refused else None
        if error is not None:
            found[index] = error
    return found


def _misfit(value: dict[str, Any], fields: Any, path: str, ignore_unknown: bool) -> dict[str, str] | None:
    """What is wrong with a record's fields, by name and presence."""
    known = {field.name.lower(): field for field in fields}
    for name, content in value.items():
        field = known.get(name.lower())
        if field is None and not ignore_unknown:
            return _error("invalid", path + name, f"no such field: {path}{name}.")
        if field is None or not field.fields or content is None:
            continue
        for item in content if isinstance(content, list) else [content]:
            error = _misfit(item, field.fields, f"{path}{name}.", ignore_unknown) if isinstance(item, dict) else None
            if error is not None:
                return error
    present = {name.lower() for name, content in value.items() if content is not None}
    missing = [
        field.name for field in fields if str(field.mode).upper() == "REQUIRED" and field.name.lower() not in present
    ]
    return _error("invalid", path + missing[0], f"Missing required field: {path}{missing[0]}.") if missing else None


def _error(reason: str, location: str, message: str) -> dict[str, str]:
    return {"reason": reason, "location": location, "debugInfo": "", "message": message}


def install() -> None:
    """Takes the place of bqemulator's own; before the server is made."""
    routes = tabledata.router.routes
    routes[:] = [route for route in routes if getattr(route, "endpoint", None) is not _insert_all]
    tabledata.router.post(PATH)(insert_all)
