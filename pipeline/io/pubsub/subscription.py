"""Messages of a subscription, held under leases until their results are written."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pipeline.io.outcomes import Receipt
from pipeline.io.pubsub.calls import LEAST_LEASE_SECONDS, SubscriptionCalls
from pipeline.io.pubsub.clients import new_subscriber
from pipeline.io.pubsub.leases import Leases
from pipeline.io.pubsub.messages import BadTimestampError, Message, event_time
from pipeline.io.pubsub.watermark import Watermark

BUNDLE_MESSAGES = 1000
BUNDLE_BYTES = 500_000
"""What a step takes at once: that is in work when the program is asked to stop, some seconds of work at most."""

_PULL_MESSAGES = 1000
_ACK_DELAY_SECONDS = 0.02  # acknowledgements wait so long for company

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubscriptionSettings:
    """How a subscription is read.

    Attributes:
        subscription: `projects/P/subscriptions/S`.
        id_attribute: The attribute by which deliveries of one message are known to be the same; None is the
            service's own message id.
        timestamp_attribute: The attribute with the event time; None is the time of publishing.
        max_waiting: Messages that are pulled ahead of those in work.
        max_waiting_bytes: Bytes of them.
        max_held: Messages in work, whose results are not written yet.
        max_held_bytes: Bytes of them.
        max_lease_seconds: For how long a message is kept from being delivered again.
        remember_seconds: For how long a message that was done is known when it is delivered again.
        topic: `projects/P/topics/T` where the subscription is to be made of it for as long as it is read; else None.
    """

    subscription: str
    id_attribute: str | None = None
    timestamp_attribute: str | None = None
    max_waiting: int = 4_000
    max_waiting_bytes: int = 64_000_000
    max_held: int = 100_000
    max_held_bytes: int = 512_000_000
    max_lease_seconds: float = 3600.0
    remember_seconds: float = 600.0
    topic: str | None = None


@dataclass(frozen=True)
class Taken:
    """A message handed on.

    Attributes:
        message: The message.
        timestamp: The event time to hand it on with; never behind the watermark.
    """

    message: Message
    timestamp: float


@dataclass(frozen=True)
class _Waiting:
    key: str
    message: Message
    event_time: float


class PulledSubscription:
    """Pulls a subscription in threads of its own, and acknowledges each message when it is told that it is done.

    What is pulled waits in memory, within bounds, until `take` hands it on; it stays leased until `done`, or until
    this process ends, after which the service delivers it again. A message that is delivered again meanwhile is not
    handed on twice. Errors that pass are waited out; any other ends the reading, and `take` raises it.

    Args:
        settings: What to read, and how.
        make_client: Makes a client; closing one breaks off its calls.
    """

    def __init__(self, settings: SubscriptionSettings, make_client: Callable[[], Any] = new_subscriber) -> None:
        self._settings = settings
        self._name = settings.subscription
        self._calls = SubscriptionCalls(settings.subscription, make_client)
        self._changed = threading.Condition()
        self._leases = Leases(settings.max_lease_seconds, settings.remember_seconds, time.monotonic)
        self._watermark = Watermark(time.time)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._to_ack: list[str] = []
        self._acking = False
        self._error: BaseException | None = None
        self._draining = False
        self._drain_thread: threading.Thread | None = None
        self._is_own = False  # the subscription is made here, and so deleted here
        self._closed = threading.Event()
        self._lease_seconds = LEAST_LEASE_SECONDS
        self._threads = [
            threading.Thread(target=loop, name=f"pubsub-{loop.__name__.strip('_')}", daemon=True)
            for loop in (self._pull_loop, self._lease_loop, self._ack_loop)
        ]

    def start(self) -> PulledSubscription:
        """Begins to pull."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def draining(self) -> bool:
        """Whether no more messages will be handed on."""
        return self._draining

    def take(self, max_messages: int, max_bytes: int, wait_seconds: float) -> list[Taken]:
        """Hands on messages in the order of their arrival; waits a while for the first.

        Args:
            max_messages: At most so many.
            max_bytes: Of their data together; a larger one is handed on alone.
            wait_seconds: How long to wait where there is none.

        Raises:
            GoogleAPICallError: If the subscription cannot be read (any more).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._draining or self._error, wait_seconds)
            if self._error is not None:
                raise self._error
            taken: list[Taken] = []
            size = 0
            while self._waiting and not self._draining and len(taken) < max_messages:
                size += len(self._waiting[0].message.data)
                if taken and size > max_bytes:
                    break
                taken.append(self._hand_on(self._waiting.popleft()))
            if taken:
                self._changed.notify_all()
            return taken

    def watermark(self) -> float:
        """The event time before which nothing more will be handed on, in seconds since the epoch."""
        with self._changed:
            oldest = min((waiting.event_time for waiting in self._waiting), default=None)
            return self._watermark.advance(oldest)

    def done(self, receipts: Iterable[Receipt]) -> None:
        """Acknowledges messages, soon, and until it has worked; those too that another process has pulled."""
        with self._changed:
            for receipt in receipts:
                self._to_ack.extend(self._leases.finish(receipt.key) or [receipt.ack_id])
            self._changed.notify_all()

    def held(self) -> int:
        """How many messages are neither acknowledged nor given back."""
        with self._changed:
            return len(self._leases)

    def drain(self) -> None:
        """Stops pulling, and gives back what was pulled but not handed on. Fit for a signal handler's thread."""
        self._draining = True  # first, and without the lock: whoever holds it may be the one that is interrupted
        thread = threading.Thread(target=self._stop_pulling, name="pubsub-drain", daemon=True)
        thread.start()
        self._drain_thread = thread

    def close(self, timeout_seconds: float) -> int:
        """Sends the acknowledgements that wait, gives back everything else that is held, and ends the threads.

        Returns:
            How many messages were given back that had been handed on.
        """
        self._draining = True
        end = time.monotonic() + timeout_seconds
        self._stop_pulling()
        with self._changed:
            self._changed.wait_for(lambda: not (self._to_ack or self._acking), timeout_seconds)
            keys = self._leases.keys()
            ack_ids = [ack_id for key in keys for ack_id in self._leases.give_up(key)]
            self._closed.set()
            self._changed.notify_all()
        self._calls.give_back(ack_ids)
        for thread in (self._drain_thread, self._threads[0]):  # which may be giving back too
            if thread is not None and thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))
        if self._is_own:
            self._calls.unsubscribe()
        self._calls.end()
        return len(keys)

    def _hand_on(self, waiting: _Waiting) -> Taken:
        self._waiting_bytes -= len(waiting.message.data)
        return Taken(waiting.message, self._watermark.stamp(waiting.event_time))

    def _stop_pulling(self) -> None:
        with self._changed:
            waiting, self._waiting = self._waiting, deque()
            self._waiting_bytes = 0
            ack_ids = [ack_id for each in waiting for ack_id in self._leases.give_up(each.key)]
            self._changed.notify_all()
        self._calls.end_pulling()
        self._calls.give_back(ack_ids)

    # Pulling.

    def _pull_loop(self) -> None:
        try:
            if self._settings.topic and not self._draining:
                self._calls.subscribe(self._settings.topic)
                self._is_own = True
                _logger.info("%s is read by %s, from now on", self._settings.topic, self._name)
            self._lease_seconds = self._calls.ack_deadline_seconds()
            while self._wait_for_room():
                self._pull()
        except Exception as error:
            if not self._draining:  # a client that is closed breaks off its calls with whatever error
                with self._changed:
                    self._error = error
                    self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Waits until more may be pulled; False if that is never."""
        with self._changed:
            while not self._draining and not self._has_room():
                if not self._waiting:
                    # All that may be held is held, and a window may be what holds it: event time must go on.
                    self._watermark.asked()
                self._changed.wait(1.0)
            return not self._draining

    def _has_room(self) -> bool:
        settings = self._settings
        return (
            len(self._waiting) < settings.max_waiting
            and self._waiting_bytes < settings.max_waiting_bytes
            and len(self._leases) < settings.max_held
            and self._leases.bytes < settings.max_held_bytes
        )

    def _pull(self) -> None:
        room = max(1, min(_PULL_MESSAGES, self._settings.max_waiting - len(self._waiting)))
        received = self._calls.pull(room)
        with self._changed:
            if not self._draining:
                self._watermark.asked()
                for delivery in received:
                    self._receive(delivery.ack_id, delivery.message)
                self._changed.notify_all()
                return
        self._calls.give_back([delivery.ack_id for delivery in received])

    def _receive(self, ack_id: str, wire: Any) -> None:
        """Takes in one delivery, given as its protocol buffer."""
        attributes = dict(wire.attributes)
        name = attributes.get(self._settings.id_attribute or "")
        # An id may look like the service's own for another message.
        key = f"id {name}" if name else f"message {wire.message_id}"
        state = self._leases.receive(key, ack_id, len(wire.data))
        if state == "done":
            self._to_ack.append(ack_id)
        if state != "new":
            return
        published = wire.publish_time.seconds + wire.publish_time.nanos / 1e9
        receipt = str(Receipt(self._name, key, ack_id))
        message = Message(wire.data, attributes, wire.message_id, published, receipt)
        try:
            happened = event_time(message, self._settings.timestamp_attribute) or published
        except BadTimestampError:
            happened = published
        self._watermark.received(happened)
        self._waiting.append(_Waiting(key, message, happened))
        self._waiting_bytes += len(message.data)

    # Keeping what is in work, and acknowledging what is done.

    def _lease_loop(self) -> None:
        while not self._closed.wait(self._lease_seconds / 3):
            with self._changed:
                ack_ids = self._leases.to_extend()
            self._calls.extend(ack_ids, self._lease_seconds)

    def _ack_loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._to_ack or self._closed.is_set())
                if not self._to_ack:
                    return
            self._closed.wait(_ACK_DELAY_SECONDS)
            with self._changed:
                ack_ids, self._to_ack, self._acking = self._to_ack, [], True
            self._calls.acknowledge(ack_ids)
            with self._changed:
                self._acking = False
                self._changed.notify_all()
