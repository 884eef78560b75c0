"""A stream for tests: a broker, and the program as a process that reads from it and writes to it."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from runs import over
from services.clients import Server, environment_of
from services.program import Program
from services.pubsub_broker import Broker
from services.pubsub_queue import Message

LONG = bool(os.environ.get("BEAM_NER_LONG"))
"""Whether tests take the time to try much: `BEAM_NER_LONG=1`."""
PATIENCE_SECONDS = 180.0
"""How long to wait for what must come, however busy the machine is: a guard against waiting for ever, not a bound."""
PROJECT = "projects/beam-ner-tests"
SOURCE = f"{PROJECT}/topics/letters"
SUBSCRIPTION = f"{PROJECT}/subscriptions/letters"
RESULTS = f"{PROJECT}/topics/entities"
DEAD = f"{PROJECT}/topics/entities-failures"
A_SECOND = 80  # letters at a steady pace: what one core has done in time while others work on it
NAMES = ["Ann Smith", "Tom Baker", "Emily Clark", "Karen Miller", "Robert Brown", "Susan Hill"]


def seconds_for(letters: int) -> float:
    """How long to wait, from a process's start, until so many results are out."""
    return PATIENCE_SECONDS + letters / 10


def text(number: int) -> str:
    """A short letter, unlike the one before."""
    name = NAMES[number % len(NAMES)]
    return f"My name is {name}, letter {number}. I live at {number % 90 + 1} Baker Street, London."


def letter(number: int, **attributes: str) -> Message:
    """A message with an id of its own, and attributes that must come out again."""
    return Message(text(number).encode(), {"key": f"letter-{number}", "data": f"d{number}", **attributes})


class Stream:
    """A broker with a subscription and the topics, and the program between them.

    Args:
        folder: For the program's log.
        *flags: Further flags; `--output` may be one of them, and then `ids` has to be overridden.
        servers: What the program is to find beside the broker.
        ack_deadline_seconds: Of the subscription; on a machine that stands still for longer, messages come again.
        **broker: Of the broker.
    """

    poll_seconds = 0.05
    """How often to look whether something has happened."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        servers: Sequence[Server] = (),
        ack_deadline_seconds: float = 10,
        **broker: Any,
    ) -> None:
        self.broker = Broker(**broker).start()
        for topic in (SOURCE, RESULTS, DEAD):
            self.broker.create_topic(topic)
        self.broker.create_subscription(SUBSCRIPTION, SOURCE, ack_deadline_seconds=ack_deadline_seconds)
        self._servers = servers
        self._flags = over([f"--input={SUBSCRIPTION}", f"--output={RESULTS}", "--id_attribute=key"], flags)
        self._log = folder / "program.log"
        self.process: Program | None = None

    def start(self) -> None:
        """Starts the program; it is not waited for."""
        module = "services.run_program" if self._servers else "pipeline"
        self.process = Program(module, self._flags, environment_of(self.broker, *self._servers), self._log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Asks the program to stop; gives its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        self.broker.stop()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log(self) -> str:
        """What the program has said so far."""
        return self._log.read_text("utf-8", "replace")

    def publish(self, messages: Iterable[Message | bytes | str]) -> list[str]:
        return self.broker.publish(SOURCE, messages)

    def publish_steadily(self, numbers: range, a_second: int = A_SECOND) -> list[str]:
        """Publishes letters at a steady pace; gives their ids."""
        batch = max(1, a_second // 10)
        for begin in range(numbers.start, numbers.stop, batch):
            self.publish(map(letter, range(begin, min(begin + batch, numbers.stop))))
            time.sleep(0.1)
        return [f"letter-{number}" for number in numbers]

    def outlive_kills(
        self, letters: int, kills: int, a_second: int, begun: Callable[[], bool] | None = None, seed: int = 7
    ) -> int:
        """Kills the program again and again while letters flow, and lets the last one finish.

        Args:
            letters: How many flow at least.
            kills: How often.
            a_second: The letters' pace.
            begun: When a process has begun to do what it is to be killed at; None is a first result of its own.
            seed: Of the moments, at most a second after that.

        Returns:
            How many letters there were: on a slow machine they flow on until the last kill.
        """
        chance = random.Random(seed)
        over = threading.Event()
        with ThreadPoolExecutor(1) as flows:
            try:
                for number in range(kills):
                    self.start()
                    if not number:
                        flow = flows.submit(self._flow, letters, a_second, over)
                    known = len(self.ids())
                    begins = begun or (lambda known=known: len(self.ids()) > known)
                    self.wait(begins, "the work to begin")
                    time.sleep(chance.uniform(0, 1))
                    self.wait_for_work()  # or it would not be in the midst of anything
                    self.kill()
                self.start()
            finally:
                over.set()
        letters = flow.result()
        self.wait_for_results(letters, seconds_for(letters))
        self.wait_for_acknowledgements()
        return letters

    def _flow(self, letters: int, a_second: int, over: threading.Event) -> int:
        """Publishes so many letters, and more until it is over; gives how many."""
        batch, number = max(1, a_second // 10), 0
        while number < letters or not over.is_set():
            self.publish(map(letter, range(number, number + batch)))
            number += batch
            time.sleep(0.1)
        return number

    def wait_for_results(self, count: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Waits until so many different ids have come out."""
        self.wait(lambda: len(self.ids()) >= count, f"{count} ids", timeout)

    def wait_for_acknowledgements(self) -> None:
        """Waits until nothing is left in the subscription."""
        self.wait(lambda: self.broker.unacknowledged(SUBSCRIPTION) == 0, "all to be acknowledged")

    def wait_for_work(self) -> None:
        """Waits until there is something in the subscription."""
        self.wait(lambda: self.broker.unacknowledged(SUBSCRIPTION) > 0, "anything to do")

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = PATIENCE_SECONDS) -> None:
        """Waits until a condition holds; fails where the program ends before."""
        assert self.process is not None
        end = time.monotonic() + timeout
        while not condition():
            assert self.process.poll() is None, f"the program has ended; {self._state()}\n{self.log()[-3000:]}"
            if time.monotonic() >= end:
                self.process.send_signal(signal.SIGABRT)  # for its threads to say where they are
                self.process.wait(60)
                raise AssertionError(f"waited {timeout} s for {what}; {self._state()}\n{self.log()[-30000:]}")
            time.sleep(self.poll_seconds)

    def _state(self) -> str:
        return f"{len(self.ids())} ids out, {self.broker.unacknowledged(SUBSCRIPTION)} in the subscription"

    def results(self) -> list[Message]:
        return self.broker.messages(RESULTS)

    def ids(self) -> Counter[str]:
        """How often each id came out."""
        return Counter(message.attributes["id"] for message in self.results())

    def dead(self) -> list[Message]:
        return self.broker.messages(DEAD)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.results()]
