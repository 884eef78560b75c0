"""An HTTP server's bad days: a proxy before it that answers with errors on demand."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from services.clients import Server

_REASONS = {403: "accessDenied", 404: "notFound", 429: "rateLimitExceeded", 500: "internalError", 503: "backendError"}
_OF_THE_CONNECTION = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@dataclass
class _Fault:
    status: int
    times: int
    path: str
    after: bool


class FaultyProxy:
    """Stands before a server of the tests and passes all on, but for what `answer` says.

    Args:
        server: What it stands before.
        variable: The one of its variables that names the address to stand before.
    """

    def __init__(self, server: Server, variable: str = "BIGQUERY_EMULATOR_HOST") -> None:
        self._target = urllib.parse.urlsplit(server.environment[variable])
        self._variable = variable
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and status of every request that was answered."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The variable by which clients find it; give it to `point_beam_at` behind the server."""
        return {self._variable: f"http://127.0.0.1:{self._server.server_port}"}

    def answer(self, status: int, *, times: int = 1, path: str = "", after: bool = False) -> None:
        """Answers the next requests with an error.

        Args:
            status: Of HTTP.
            times: How many requests.
            path: Only those that have this in their path, for example `insertAll`.
            after: Lets the server do what it is asked first, so that only its answer is lost.
        """
        with self._lock:
            self._faults.append(_Fault(status, times, path, after))

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _fault(self, path: str) -> _Fault | None:
        with self._lock:
            fault = next((fault for fault in self._faults if fault.path in path), None)
            if fault is not None:
                fault.times -= 1
                self._faults = [fault for fault in self._faults if fault.times > 0]
            return fault

    def _forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(self._target.netloc, timeout=120)
        connection.request(
            method, path, body, {k: v for k, v in headers.items() if k.lower() not in _OF_THE_CONNECTION}
        )
        return connection.getresponse()

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805, the handler below has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy._fault(self.path)
                if fault is None or fault.after:
                    with proxy._forward(self.command, self.path, self.headers, body) as response:
                        answer = response.status, dict(response.getheaders()), response.read()
                if fault is not None:
                    answer = fault.status, {"Content-Type": "application/json"}, _error(fault.status)
                self._send(*answer)

            def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                proxy.requests.append((self.command, self.path, status))
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in _OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815, names of the base class

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        return Handler


def _error(status: int) -> bytes:
    reason = _REASONS.get(status, "unknown")
    message = f"{status} on demand"
    return json.dumps(
        {"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}}
    ).encode()
