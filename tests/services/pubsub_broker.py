"""A Pub/Sub server in memory, over gRPC, for tests of at-least-once delivery.

    with Broker() as broker:                       # in this process, in threads of its own
        broker.create_topic("projects/p/topics/t")
        broker.create_subscription("projects/p/subscriptions/s", "projects/p/topics/t", ack_deadline_seconds=1)
        broker.publish("projects/p/topics/t", [b"one", Message(b"two", publish_time=time.time() - 3600)])
        ...                                        # clients find it by PUBSUB_EMULATOR_HOST=broker.address

or as a process of its own, `python -m services.pubsub_broker --port 0` (from `tests/`). What it does not know (push,
filters, dead-letter and retry policies, exactly-once, seek) it refuses with UNIMPLEMENTED.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.pubsub_v1 import types

from services.pubsub_calls import handlers
from services.pubsub_limits import Refused, find, require_new
from services.pubsub_queue import Counts, Message, Queue

THREADS = 64  # a StreamingPull and a waiting Pull each occupy one
PATIENCE_SECONDS = 120.0
"""How long a test waits for what must come; the Google library's own retries sleep for up to 60 s at a time."""
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


@dataclasses.dataclass
class Subscription:
    """A subscription; `topic` is its definition's until that topic is deleted."""

    definition: Any
    topic: str
    queue: Queue


class Broker:
    """The server, and a handle on it for the test that started it. Every method may be called from any thread.

    Args:
        port: 0 takes a free one.
        deliver_times: Every message is delivered at least so many times, acknowledged or not.
        hold_seconds: How long a Pull without messages waits for one before it answers with none.
        deadline_scale: All ack deadlines that clients ask for are multiplied by it; 0.1 makes a minute six seconds.
        clock: Gives the seconds by which ack deadlines pass; a test's own clock moves only when the test moves it.

    Attributes:
        refusals: How often each call was refused while the broker played dead, by the names in `pubsub_calls`.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        deliver_times: int = 1,
        hold_seconds: float = 5.0,
        deadline_scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._port = port
        self._deliver_times = deliver_times
        self.hold_seconds = hold_seconds
        self.deadline_scale = deadline_scale
        self.clock = clock
        self.refusals: Counter[str] = Counter()
        self.changed = threading.Condition(threading.RLock())
        self._ids = itertools.count(1)
        self.topics: dict[str, list[Message]] = {}
        self.known_subscriptions: dict[str, Subscription] = {}
        self._down_until = 0.0
        self._stopping = False
        self._server: grpc.Server | None = None

    # The server's life.

    def start(self) -> Broker:
        """Serves; a broker that was stopped serves the same messages again, on the same port."""
        self._stopping = False
        self._server = grpc.server(ThreadPoolExecutor(THREADS, "pubsub"), options=_OPTIONS)
        self._server.add_generic_rpc_handlers(handlers(self))
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        return self

    def stop(self) -> None:
        """Ends all calls and closes the port. Messages and subscriptions stay."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`host:port`, the value for PUBSUB_EMULATOR_HOST."""
        return f"127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which clients find it."""
        return {"PUBSUB_EMULATOR_HOST": self.address}

    # For tests: what lies here, and trouble on demand.

    def create_topic(self, name: str) -> str:
        """Makes a topic. Raises Refused where there is one."""
        with self.changed:
            require_new(name, self.topics)
            self.topics[name] = []
            return name

    def create_subscription(
        self, name: str, topic: str, *, ack_deadline_seconds: float = 10, ordered: bool = False
    ) -> str:
        """Makes a subscription; unlike a client, a test may choose a deadline below 10 seconds (it is not scaled)."""
        definition = types.Subscription.pb()(
            name=name, topic=topic, ack_deadline_seconds=int(ack_deadline_seconds), enable_message_ordering=ordered
        )
        self.add_subscription(definition, ack_deadline_seconds)
        return name

    def publish(self, topic: str, messages: Iterable[Message | bytes | str]) -> list[str]:
        """Publishes, by this handle's own way: no limits on size, and any publish time. Gives the message ids."""
        with self.changed:
            log = find(topic, self.topics)
            stored = [self._stamp(message) for message in messages]
            log.extend(stored)
            for subscription in self.known_subscriptions.values():
                if subscription.topic == topic:
                    for message in stored:
                        subscription.queue.add(message)
            self.changed.notify_all()
            return [message.message_id for message in stored]

    def messages(self, topic: str) -> list[Message]:
        """All that was ever published to a topic, in order."""
        with self.changed:
            return list(find(topic, self.topics))

    def outstanding(self, subscription: str) -> int:
        """How many messages consumers hold now."""
        with self.changed:
            return self.queue(subscription).outstanding()

    def unacknowledged(self, subscription: str) -> int:
        """How many messages (with `deliver_times`: copies) are not acknowledged yet, held or not."""
        with self.changed:
            return self.queue(subscription).unacknowledged()

    def counts(self, subscription: str) -> Counts:
        """What has happened on a subscription so far."""
        with self.changed:
            return dataclasses.replace(self.queue(subscription).counts)

    def subscriptions(self, topic: str) -> list[str]:
        """The names of a topic's subscriptions."""
        with self.changed:
            return [name for name, subscription in self.known_subscriptions.items() if subscription.topic == topic]

    def set_unavailable(self, seconds: float = math.inf) -> None:
        """Answers every call with UNAVAILABLE for a time from now, and ends the streams that are open; 0 ends that."""
        with self.changed:
            self._down_until = time.monotonic() + seconds
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout: float = PATIENCE_SECONDS) -> bool:
        """Waits until a condition on this broker holds; gives whether it did in time."""
        end = time.monotonic() + timeout
        with self.changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(min(left, 0.1))
            return True

    # For the calls that come over gRPC (pubsub_calls).

    def refuse_when_down(self, call: str) -> None:
        """Raises Refused while the broker plays dead, and counts that."""
        if self._stopping or time.monotonic() < self._down_until:
            with self.changed:
                self.refusals[call] += 1
            raise Refused(grpc.StatusCode.UNAVAILABLE, "unavailable on demand")

    def _stamp(self, message: Message | bytes | str) -> Message:
        if isinstance(message, str):
            message = message.encode()
        if isinstance(message, bytes):
            message = Message(message)
        published = time.time() if message.publish_time is None else message.publish_time
        return dataclasses.replace(message, publish_time=published, message_id=str(next(self._ids)))

    def add_subscription(self, definition: Any, deadline_seconds: float) -> None:
        """Makes a subscription as its definition says, but for the deadline."""
        with self.changed:
            require_new(definition.name, self.known_subscriptions)
            find(definition.topic, self.topics)
            queue = Queue(
                deadline_seconds,
                ordered=definition.enable_message_ordering,
                deliver_times=self._deliver_times,
                clock=self.clock,
            )
            self.known_subscriptions[definition.name] = Subscription(definition, definition.topic, queue)

    def queue(self, name: str) -> Queue:
        """A subscription's messages; to be used while `changed` is held."""
        return find(name, self.known_subscriptions).queue


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; prints the variable that points clients here."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--deliver_times", type=int, default=1, help="how often every message is delivered at least")
    parser.add_argument("--deadline_scale", type=float, default=1.0, help="what ack deadlines are multiplied by")
    flags = parser.parse_args(argv)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Broker(flags.port, deliver_times=flags.deliver_times, deadline_scale=flags.deadline_scale) as broker:
        print(f"PUBSUB_EMULATOR_HOST={broker.address}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
