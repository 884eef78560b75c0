"""SIGTERM and SIGINT before the program has read anything."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from services.clients import REPOSITORY, environment_of
from services.pubsub_broker import Broker

SUBSCRIPTION = "projects/beam-ner-tests/subscriptions/letters"
SAYS = "beam-ner: {}: stopped before anything was read\n"

WAIT = """
import ctypes, sys
from pipeline.process.signals import end_on_signals
end_on_signals(sys.argv[1:])
print("ready", flush=True)
ctypes.CDLL(None).sleep(600)  # as native code does: Python calls no handler before it returns
"""


@pytest.mark.parametrize(
    ("flags", "number", "code"),
    [
        ([f"--input={SUBSCRIPTION}"], signal.SIGTERM, 0),
        (["--input", SUBSCRIPTION, "--output=out/x"], signal.SIGINT, 0),
        ([f"--replay={SUBSCRIPTION}"], signal.SIGTERM, 0),
        (["--input=in.jsonl", "--output=projects/p/topics/t"], signal.SIGTERM, 143),
        (["--input=in.jsonl"], signal.SIGINT, 130),
        (["--input"], signal.SIGTERM, 143),
        ([], signal.SIGTERM, 143),
    ],
)
def test_native_code_is_ended_at_once(flags: list[str], number: int, code: int) -> None:
    command = [sys.executable, "-c", WAIT, *flags]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, SAYS.format(signal.Signals(number).name))


class _Silent(BaseHTTPRequestHandler):
    """A hub that is asked for a model, and does not answer."""

    asked = threading.Event()
    ended = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        self.ended.wait(300)


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a `_Silent`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        _Silent.ended.set()
        server.shutdown()


def test_a_stream_is_stopped_while_its_model_loads(hub: str) -> None:
    with Broker() as broker:
        for topic in ("letters", "entities", "entities-failures"):
            broker.create_topic(f"projects/beam-ner-tests/topics/{topic}")
        broker.create_subscription(SUBSCRIPTION, "projects/beam-ner-tests/topics/letters")
        broker.publish("projects/beam-ner-tests/topics/letters", ["Ann"])
        flags = [f"--input={SUBSCRIPTION}", "--output=projects/beam-ner-tests/topics/entities", "--model=some/model"]
        environment = environment_of(broker) | {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0"}
        with subprocess.Popen(
            [sys.executable, "-m", "pipeline", *flags],
            cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert _Silent.asked.wait(180)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "", SAYS.format("SIGTERM"))
        assert broker.unacknowledged(SUBSCRIPTION) == 1
