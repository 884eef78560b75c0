"""Measures the latency of a message from a subscription through the model to a topic: ``make bench-latency``.

A broker (`tests/services`), the program and this measuring process share the machine, unlike in production. A
message's latency starts before it is published, and ends when its result is in the other topic, by this machine's
clock. The highest rates are shares of the rate that the program reaches on a backlog, which it reads in larger batches
than a steady stream. If the results fall behind, the program is at its limit. A last message is published after a
pause; ``--idle 600`` makes the pause ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import fastest_precision, machine
from benchmarks.texts import documents

RESULTS = Path(__file__).parent / "results"
REPOSITORY = Path(__file__).parents[1]
RATES = (50, 200)
SHARES = (0.7, 0.9)  # of the capacity
TICK_SECONDS = 0.02  # messages are published so often, as many as are due
START_SECONDS = 120.0
END_SECONDS = 60.0
_PROJECT = "projects/beam-ner-benchmark"
_TOPIC, _RESULTS, _FAILURES = (f"{_PROJECT}/topics/{name}" for name in ("letters", "entities", "entities-failures"))
_SUBSCRIPTION, _RESULTS_SUBSCRIPTION = (f"{_PROJECT}/subscriptions/{name}" for name in ("letters", "entities"))


def main() -> int:
    """Runs the program at several rates, and writes latency.json and latency.md to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rate (default: %(default)s)")
    parser.add_argument("--backlog", type=int, default=3000, help="messages for the capacity (default: %(default)s)")
    parser.add_argument("--idle", type=float, default=15.0, help="silence before the last (default: %(default)s)")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "machine": machine(), "seconds": arguments.seconds, "idle": arguments.idle, "precisions": {},
    }  # fmt: skip
    for precision in dict.fromkeys(("fp32", fastest_precision())):
        with _broker(), _program(precision), Collector() as collector:
            found = measure(collector, arguments.seconds, arguments.backlog)
            results["precisions"][precision] = {**found, "idle_ms": after_silence(collector, arguments.idle)}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latency.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "latency.md").write_text(table(results), encoding="utf-8")
    print(table(results))
    return 0


def measure(collector: Collector, seconds: float, backlog: int) -> dict[str, Any]:
    """Return the capacity, and for each rate the rate of results and the latencies."""
    publish(["My name is Ann Smith."])
    collector.take(1, START_SECONDS)
    texts = documents(200)
    publish(texts)
    collector.take(len(texts), END_SECONDS)  # the engine has seen the usual lengths
    capacity = collector.rate_of_backlog(documents(backlog, seed=1))
    shares = [round(share * capacity) for share in SHARES]
    rates = [*(rate for rate in RATES if rate < shares[0]), *shares]
    return {"capacity": capacity, "rates": [at_rate(collector, rate, seconds) for rate in rates]}


def at_rate(collector: Collector, rate: int, seconds: float) -> dict[str, float]:
    """Messages at a steady rate for some seconds; the latencies in milliseconds."""
    texts = documents(round(rate * seconds), seed=2)
    begin, sent = time.time(), 0
    while sent < len(texts):
        due = min(len(texts), int((time.time() - begin + TICK_SECONDS) * rate))
        if due > sent:
            publish(texts[sent:due])
        sent = due
        time.sleep(TICK_SECONDS)
    taken = collector.take(len(texts), END_SECONDS)
    latencies = sorted(1000 * (arrived - published) for published, arrived in taken)
    arrivals = [arrived for _, arrived in taken]
    return {
        "rate": rate,
        "messages": len(texts),
        "messages_s": (len(texts) - 1) / (max(arrivals) - min(arrivals)),
        "p50_ms": statistics.median(latencies),
        "p99_ms": statistics.quantiles(latencies, n=100)[98],
        "max_ms": latencies[-1],
    }


def after_silence(collector: Collector, seconds: float) -> float:
    """The latency of one message after so many seconds without any, in milliseconds."""
    time.sleep(seconds)
    publish(documents(1, seed=3))
    ((published, arrived),) = collector.take(1, END_SECONDS)
    return 1000 * (arrived - published)


def publish(texts: list[str]) -> None:
    """Publishes messages that carry the time."""
    from pipeline.io.pubsub.clients import publisher

    now = repr(time.time())
    for begin in range(0, len(texts), 1000):  # Pub/Sub takes no more at once
        messages = [{"data": text.encode(), "attributes": {"sent": now}} for text in texts[begin : begin + 1000]]
        publisher().publish(topic=_TOPIC, messages=messages)


class Collector:
    """Pulls the results in a thread of its own."""

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []
        self._changed = threading.Condition()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pull, daemon=True)

    def take(self, count: int, timeout: float) -> list[tuple[float, float]]:
        """Waits for so many results; returns the times at which each message and its result were published."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._taken) >= count, timeout):
                raise RuntimeError(f"{len(self._taken)} of {count} results came in {timeout:g} s")
            taken, self._taken = self._taken, []
        if len(taken) != count:
            raise RuntimeError(f"{len(taken)} results came of {count} messages")
        return taken

    def rate_of_backlog(self, texts: list[str]) -> float:
        """Return the messages a second if all of them are published at the start."""
        publish(texts)
        taken = self.take(len(texts), START_SECONDS)
        return len(texts) / (max(arrived for _, arrived in taken) - min(published for published, _ in taken))

    def _pull(self) -> None:
        from pipeline.io.pubsub.clients import new_subscriber

        client = new_subscriber()
        while not self._over.is_set():
            received = client.pull(subscription=_RESULTS_SUBSCRIPTION, max_messages=1000, timeout=30).received_messages
            if received:
                client.acknowledge(subscription=_RESULTS_SUBSCRIPTION, ack_ids=[each.ack_id for each in received])
            taken = [
                (float(each.message.attributes["sent"]), each.message.publish_time.timestamp()) for each in received
            ]
            with self._changed:
                self._taken += taken
                self._changed.notify_all()

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextlib.contextmanager
def _broker() -> Iterator[None]:
    """A broker with the topics and subscriptions; clients of this process find it."""
    from pipeline.io.pubsub.clients import publisher, subscriber

    command = [sys.executable, "-m", "services.pubsub_broker"]
    with subprocess.Popen(command, cwd=REPOSITORY / "tests", stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            name, _, address = process.stdout.readline().strip().partition("=")
            os.environ[name] = address
            for topic in (_TOPIC, _RESULTS, _FAILURES):
                publisher().create_topic(name=topic)
            for subscription, topic in ((_SUBSCRIPTION, _TOPIC), (_RESULTS_SUBSCRIPTION, _RESULTS)):
                subscriber().create_subscription(name=subscription, topic=topic, ack_deadline_seconds=60)
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def _program(precision: str) -> Iterator[None]:
    """The program between the two topics."""
    command = [sys.executable, "-m", "pipeline", f"--input={_SUBSCRIPTION}", f"--output={_RESULTS}"]
    command += ["--aggregation_strategy=first", f"--precision={precision}"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
        try:
            yield
        except RuntimeError as error:
            log.seek(0)
            raise RuntimeError(f"{error}\n{log.read().decode(errors='replace')[-2000:]}") from error
        finally:
            process.terminate()
            process.wait()


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    kind = results["machine"]
    lines = [
        f"Messages of `benchmarks/texts.py`, {results['seconds']:g} s a rate, from a subscription to a topic; the"
        f" broker, the program and the measuring process share {kind['cores']} cores of {kind['processor']}. Where the"
        " results fall behind the messages, the program is at its limit, and latency grows with time.",
        "",
        "| precision | published a second | results a second | p50, ms | p99, ms | max, ms |",
        "|---|---|---|---|---|---|",
    ]
    for precision, found in results["precisions"].items():
        lines.append(f"| {precision} | a backlog | {found['capacity']:.0f} | | | |")
        for one in found["rates"]:
            figures = " | ".join(f"{one[name]:.0f}" for name in ("rate", "messages_s", "p50_ms", "p99_ms", "max_ms"))
            lines.append(f"| {precision} | {figures} |")
        lines.append(f"| {precision} | one, after {results['idle']:g} s of silence | | {found['idle_ms']:.0f} | | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
