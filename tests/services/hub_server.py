"""The Hugging Face hub as far as downloading a model asks for it: folders of this machine as models."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves models; every branch of one is the same commit.

    Args:
        models: Folders by the models' ids, ``owner/name``.

    Attributes:
        asked: The paths that were asked for.
        faults: Answers to the next requests, in place of the right ones: status and headers.
    """

    def __init__(self, models: dict[str, Path]) -> None:
        self.asked: list[str] = []
        self.faults: list[tuple[int, dict[str, str]]] = []
        asked, faults = self.asked, self.faults

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                asked.append(path)
                if faults:
                    status, headers = faults.pop(0)
                    self._answer(status, b"", headers)
                    return
                parts = path.removeprefix("/api/models").strip("/").split("/")
                folder = models.get("/".join(parts[:2]))
                if folder is None:
                    self._answer(404, b"", {"X-Error-Code": "RepoNotFound"})
                elif not path.startswith("/api/"):
                    self._file(folder / "/".join(parts[4:]), commit(folder))
                elif parts[2:3] == ["tree"]:
                    files = [path for path in folder.rglob("*") if path.is_file()]
                    self._json([
                        {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": _sha1(path)}
                        for path in files
                    ])  # fmt: skip
                else:
                    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
                    info = {"id": "/".join(parts[:2]), "sha": commit(folder)}
                    self._json({**info, "siblings": [{"rfilename": name} for name in names]})

            def _json(self, content: Any) -> None:
                self._answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

            def _file(self, path: Path, revision: str) -> None:
                if path.is_file():
                    self._answer(200, path.read_bytes(), {"ETag": f'"{_sha1(path)}"', "X-Repo-Commit": revision})
                else:
                    self._answer(404, b"", {"X-Error-Code": "EntryNotFound"})

            def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def commit(folder: Path) -> str:
    """The commit that a folder is served as."""
    return hashlib.sha1(str(folder).encode()).hexdigest()


def _sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()
