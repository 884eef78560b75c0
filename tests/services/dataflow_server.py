"""Dataflow's REST API as far as submitting a job asks for it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class DataflowServer:
    """Takes jobs, and runs none.

    Args:
        status: The HTTP status of its answers.

    Attributes:
        jobs: What was submitted, as JSON.
    """

    def __init__(self, status: int = 200) -> None:
        self.jobs: list[dict[str, Any]] = []
        jobs = self.jobs

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                jobs.append({"path": self.path.partition("?")[0], **job})
                answer = {"id": f"job-{len(jobs)}", "clientRequestId": job["clientRequestId"], "name": job["name"]}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        """For `--dataflow_endpoint`; Beam speaks plain HTTP to it, since it is called localhost."""
        return f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> DataflowServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
