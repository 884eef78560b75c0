"""A stream for tests: a broker, and the program as a process that reads from it and writes to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from services.pubsub_broker import Broker
from services.pubsub_queue import Message

REPOSITORY = Path(__file__).parents[2]
PROJECT = "projects/beam-ner-tests"
SOURCE = f"{PROJECT}/topics/letters"
SUBSCRIPTION = f"{PROJECT}/subscriptions/letters"
RESULTS = f"{PROJECT}/topics/entities"
DEAD = f"{PROJECT}/topics/entities-failures"
NAMES = ["Ann Smith", "Tom Baker", "Emily Clark", "Karen Miller", "Robert Brown", "Susan Hill"]


def text(number: int) -> str:
    """A short letter, unlike the one before."""
    name = NAMES[number % len(NAMES)]
    return f"My name is {name}, letter {number}. I live at {number % 90 + 1} Baker Street, London."


def letter(number: int, **attributes: str) -> Message:
    """A message with an id of its own, and attributes that must come out again."""
    return Message(text(number).encode(), {"key": f"letter-{number}", "data": f"d{number}", **attributes})


class Stream:
    """A broker with a subscription and the topics, and the program between them."""

    def __init__(self, folder: Path, *flags: str, **broker: Any) -> None:
        self.broker = Broker(**broker).start()
        for topic in (SOURCE, RESULTS, DEAD):
            self.broker.create_topic(topic)
        self.broker.create_subscription(SUBSCRIPTION, SOURCE)
        self._flags = [f"--input={SUBSCRIPTION}", f"--output={RESULTS}", "--id_attribute=key", *flags]
        self._log = folder / "program.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the program; it is not waited for."""
        environment = {**os.environ, "PUBSUB_EMULATOR_HOST": self.broker.address}
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "pipeline", *self._flags],
                cwd=REPOSITORY,
                env=environment,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Asks the program to stop; gives its exit code and how long it took."""
        assert self.process is not None
        begin = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(60), time.monotonic() - begin

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.broker.stop()

    def log(self) -> str:
        """What the program has said so far."""
        return self._log.read_text("utf-8", "replace")

    def publish(self, messages: Iterable[Message | bytes | str]) -> list[str]:
        return self.broker.publish(SOURCE, messages)

    def wait_for_results(self, count: int, timeout: float) -> None:
        """Waits until so many different ids have come out."""
        self._wait(lambda: len(self.ids()) >= count, timeout, f"{count} ids")

    def wait_for_acknowledgements(self, timeout: float) -> None:
        """Waits until nothing is left in the subscription."""
        self._wait(lambda: self.broker.unacknowledged(SUBSCRIPTION) == 0, timeout, "all to be acknowledged")

    def wait_for_work(self, timeout: float) -> None:
        """Waits until there is something in the subscription."""
        self._wait(lambda: self.broker.unacknowledged(SUBSCRIPTION) > 0, timeout, "anything to do")

    def _wait(self, condition: Any, timeout: float, what: str) -> None:
        assert self.process is not None
        end = time.monotonic() + timeout
        while not condition():
            state = f"{len(self.ids())} ids out, {self.broker.unacknowledged(SUBSCRIPTION)} in the subscription"
            assert self.process.poll() is None, f"the program has ended; {state}\n{self.log()[-3000:]}"
            if time.monotonic() >= end:
                self.process.send_signal(signal.SIGABRT)  # for its threads to say where they are
                self.process.wait(10)
                raise AssertionError(f"waited {timeout} s for {what}; {state}\n{self.log()[-30000:]}")
            time.sleep(0.05)

    def results(self) -> list[Message]:
        return self.broker.messages(RESULTS)

    def ids(self) -> Counter[str]:
        """How often each id came out."""
        return Counter(message.attributes["id"] for message in self.results())

    def dead(self) -> list[Message]:
        return self.broker.messages(DEAD)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.results()]
