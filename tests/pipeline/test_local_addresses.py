from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from apache_beam.internal.http_client import get_new_http

from pipeline.process.local_addresses import spare_local_addresses

LOCAL = "localhost,127.0.0.1,::1"
NAMES = ("no_proxy", "NO_PROXY", "no_grpc_proxy")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"no_proxy": LOCAL}),
        ({"no_proxy": "a.example, .b.example"}, {"no_proxy": f"a.example,.b.example,{LOCAL}"}),
        ({"no_proxy": "localhost"}, {"no_proxy": "localhost,127.0.0.1,::1"}),
        # Where only the one in capitals is set, the other would hide it from Python's clients.
        ({"NO_PROXY": "a.example"}, {"NO_PROXY": "a.example", "no_proxy": f"a.example,{LOCAL}"}),
        ({"no_proxy": "a", "NO_PROXY": "b"}, {"no_proxy": f"a,b,{LOCAL}", "NO_PROXY": "b"}),
        # gRPC's own variable goes before the others.
        ({"no_grpc_proxy": "c"}, {"no_grpc_proxy": f"c,{LOCAL}", "no_proxy": LOCAL}),
        # All but gRPC take an asterisk for every host, and only if it stands alone.
        ({"no_proxy": "*"}, {"no_proxy": "*", "no_grpc_proxy": LOCAL}),
        ({"NO_PROXY": "*"}, {"NO_PROXY": "*", "no_grpc_proxy": LOCAL}),
    ],
)
def test_spare_local_addresses(
    given: dict[str, str], expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # for monkeypatch to put back what was there
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        spare_local_addresses()
        assert {name: os.environ[name] for name in NAMES if name in os.environ} == expected


def test_beams_client_reaches_other_hosts_by_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes no call at all where a proxy is set and PySocks is missing."""
    asked = []

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:  # through the tunnel, whose far end is here too
            self.send_response(204)
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_port}")
        answer, _ = get_new_http().request("http://bigquery.example/tables")
        proxy.shutdown()
    assert (answer.status, asked) == (204, ["bigquery.example:80"])
