"""What a shell's environment says does not change what the tests do: neither its module path nor its proxies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from services.clients import REPOSITORY

PROGRAM_OF_A_CHILD = """
import subprocess, sys
import conftest
subprocess.run([sys.executable, "-c", "import pipeline; print(pipeline.__file__)"], cwd=sys.argv[1], check=True)
"""

LOCAL_CALLS = """
import os, threading
from http.server import HTTPServer, SimpleHTTPRequestHandler
import conftest
import grpc, requests
from services.pubsub_broker import Broker
with Broker() as broker:
    for host in ("127.0.0.1", "localhost"):
        with grpc.insecure_channel(broker.address.replace("127.0.0.1", host)) as channel:
            grpc.channel_ready_future(channel).result(60)
server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
threading.Thread(target=server.handle_request, daemon=True).start()
print(requests.get(f"http://127.0.0.1:{server.server_port}/").status_code)
"""


def run(code: str, folder: Path, **variables: str) -> str:
    """What a process says that has loaded the tests' conftest in a shell with these variables."""
    path = os.pathsep.join([str(REPOSITORY / "tests"), variables.pop("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    command = [sys.executable, "-c", code, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def test_children_do_not_get_the_shells_module_path(tmp_path: Path) -> None:
    """Where tests/ is on it, the namespace package tests/pipeline would stand before the program."""
    assert run(PROGRAM_OF_A_CHILD, tmp_path) == str(REPOSITORY / "pipeline" / "__init__.py")


def test_local_servers_are_reached_beside_a_dead_proxy(tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    variables = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "grpc_proxy"), dead)
    without = dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), "example.org")
    assert run(LOCAL_CALLS, tmp_path, **variables, **without).endswith("200")
