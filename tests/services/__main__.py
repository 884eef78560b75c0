"""`python -m services` (in `tests/`; `make services`): all servers on free ports, until Ctrl-C.

Prints a line `export NAME=value` for each variable that a shell needs. Google's own clients then find Pub/Sub, BigQuery's
REST API and Cloud Storage by themselves; `python -m services.run_program` is the program with Beam's clients pointed too.
"""

from __future__ import annotations

import contextlib
import signal
import threading

from services.bigquery_server import BigQueryServer
from services.clients import PROJECT, Server
from services.pubsub_broker import Broker
from services.storage_server import StorageServer


def main() -> None:
    """Starts the servers, prints where they are, and waits for SIGINT or SIGTERM."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(StorageServer())
        servers: list[Server] = [stack.enter_context(Broker()), storage, stack.enter_context(BigQueryServer(storage))]
        variables = {"GOOGLE_CLOUD_PROJECT": PROJECT}
        for server in servers:
            variables |= server.environment
        for name, value in variables.items():
            print(f"export {name}={value}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
