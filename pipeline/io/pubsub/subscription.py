"""Pulls the messages of a subscription, and keeps them leased until their results are written.

The client library's `SubscriberClient.subscribe` was tried in place of these threads (google-cloud-pubsub 2.44.0). It
saved 40 lines and lost guarantees, as measurements against the test broker showed:

- It has one limit for all leased messages, but this reader needs two. With the limit at 4,000, only 4,000 of 10,000
  messages were passed on before an acknowledgement. With the limit at `max_held`, 50,000 messages were pulled in
  advance.
- Its stream does not tell an empty subscription from an unavailable one. After an outage of 14 seconds at the start, a
  message one hour old was stamped 6 seconds old.
- Cancelling its stream drops answers that were not read yet. At 20,000 messages a second, each drain left 600 to 3,800
  messages leased.
- It passes on one message per ordering key at a time, and does not nack the others at the end. Of 100 messages with one
  key, 99 stayed leased.
- If the service is unavailable for about a minute, it ends the stream with `RetryError`.
- It took 8,500 to 9,500 messages a second, and this reader 11,500 to 12,400.
"""

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
"""The limits of one bundle.

When the program is asked to stop, at most this much is in work: some seconds of work.
"""

_PULL_MESSAGES = 1000
_ACK_DELAY_SECONDS = 0.02  # acknowledgements wait this long, so that one call sends several

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubscriptionSettings:
    """The settings for reading a subscription.

    Attributes:
        subscription: `projects/P/subscriptions/S`.
        id_attribute: The attribute that is the same in all deliveries of a message; None for the service's message id.
        timestamp_attribute: The attribute with the event time; None for the publish time.
        max_waiting: The most messages that are pulled but not passed on yet.
        max_waiting_bytes: The most bytes of those messages.
        max_held: The most messages whose results are not written yet, including those not passed on.
        max_held_bytes: The most bytes of those messages.
        max_lease_seconds: The time for which a message's lease is extended, in seconds.
        remember_seconds: The time for which a finished message is recognized when it is redelivered, in seconds.
        topic: `projects/P/topics/T` if the subscription is made for this topic, and deleted after reading; otherwise
            None.
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
    """A message that is passed on.

    Attributes:
        message: The message.
        timestamp: The timestamp of the element: the event time, but never before the watermark or in the future.
    """

    message: Message
    timestamp: float


@dataclass(frozen=True)
class _Waiting:
    key: str
    message: Message
    event_time: float


class PulledSubscription:
    """Pulls a subscription in its own threads, and acknowledges each message when `done` reports it.

    Pulled messages wait in memory, within limits, until `take` passes them on. A message stays leased until `done`, for
    at most `max_lease_seconds`. If this process ends before that, the service redelivers the message. A message that is
    redelivered while it is held is not passed on twice. Transient errors are retried. Any other error ends the reading,
    and `take` raises it.

    Args:
        settings: The settings for reading.
        make_client: A function that makes a client; closing a client stops its calls.
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
        self._is_own = False  # True if the subscription is made here, and so must be deleted here
        self._closed = threading.Event()
        self._lease_seconds = LEAST_LEASE_SECONDS
        self._threads = [
            threading.Thread(target=loop, name=f"pubsub-{loop.__name__.strip('_')}", daemon=True)
            for loop in (self._pull_loop, self._lease_loop, self._ack_loop)
        ]

    def start(self) -> PulledSubscription:
        """Starts the threads, and with them the pulling."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def draining(self) -> bool:
        """True if no more messages will be passed on."""
        return self._draining

    def take(self, max_messages: int, max_bytes: int, wait_seconds: float) -> list[Taken]:
        """Returns messages in the order of their arrival, after a limited wait for the first one.

        Args:
            max_messages: The most messages to return.
            max_bytes: The most bytes of their data; a larger message is returned alone.
            wait_seconds: The longest wait if there is no message.

        Raises:
            GoogleAPICallError: If the subscription cannot be read, or can no longer be read.
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
        """Return the event time before which no more messages will be passed on, in seconds since the epoch."""
        with self._changed:
            oldest = min((waiting.event_time for waiting in self._waiting), default=None)
            return self._watermark.advance(oldest)

    def done(self, receipts: Iterable[Receipt]) -> None:
        """Acknowledges messages soon, with retries; this includes messages that another process has pulled."""
        with self._changed:
            for receipt in receipts:
                self._to_ack.extend(self._leases.finish(receipt.key) or [receipt.ack_id])
            self._changed.notify_all()

    def held(self) -> int:
        """Return the number of messages that are neither acknowledged nor nacked."""
        with self._changed:
            return len(self._leases)

    def drain(self) -> None:
        """Stops pulling, and nacks the messages that were pulled but not passed on. Safe in a signal handler."""
        self._draining = True  # first and without the lock, which the interrupted thread may hold
        thread = threading.Thread(target=self._stop_pulling, name="pubsub-drain", daemon=True)
        thread.start()
        self._drain_thread = thread

    def close(self, timeout_seconds: float) -> int:
        """Sends the waiting acknowledgements, nacks all other messages that are held, and ends the threads.

        Returns:
            The number of messages that were passed on and are now nacked.
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
        for thread in (self._drain_thread, self._threads[0]):  # both may be nacking messages too
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
                _logger.info("%s is read by the new subscription %s", self._settings.topic, self._name)
            self._lease_seconds = self._calls.ack_deadline_seconds()
            while self._wait_for_room():
                self._pull()
        except Exception as error:
            if not self._draining:  # a call of a client that is closed may raise any error
                with self._changed:
                    self._error = error
                    self._changed.notify_all()

    def _wait_for_room(self) -> bool:
        """Waits until more messages may be pulled; returns False if the reader is draining."""
        with self._changed:
            while not self._draining and not self._has_room():
                if not self._waiting:
                    # The limit of held messages is reached. They may wait for a window to close, so event time
                    # must go on.
                    self._watermark.note_poll()
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
                self._watermark.note_poll()
                for delivery in received:
                    self._receive(delivery.ack_id, delivery.message)
                self._changed.notify_all()
                return
        self._calls.give_back([delivery.ack_id for delivery in received])

    def _receive(self, ack_id: str, wire: Any) -> None:
        """Adds one delivery, given as its protocol buffer."""
        attributes = dict(wire.attributes)
        name = attributes.get(self._settings.id_attribute or "")
        # An id in an attribute may equal the service's id of another message.
        key = f"id {name}" if name else f"message {wire.message_id}"
        state = self._leases.receive(key, ack_id, len(wire.data))
        if state == "done":
            self._to_ack.append(ack_id)
        if state != "new":
            return
        published = wire.publish_time.seconds + wire.publish_time.nanos / 1e9
        receipt = str(Receipt(self._name, key, ack_id))
        message = Message(wire.data, attributes, wire.message_id, published, receipt, wire.ordering_key)
        try:
            happened = event_time(message, self._settings.timestamp_attribute) or published
        except BadTimestampError:
            happened = published
        self._watermark.received(happened)
        self._waiting.append(_Waiting(key, message, happened))
        self._waiting_bytes += len(message.data)

    # Extending the leases of messages in work, and acknowledging finished messages.

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
