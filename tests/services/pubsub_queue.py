"""What a Pub/Sub subscription does with its messages: leases, deadlines, redelivery, order. No network in here.

A message is *waiting* until it is pulled, then *leased* under an ack id until it is acknowledged or its deadline
passes; then it waits again, and its old ack id means nothing any more. That is what Google documents, taken strictly:
the service may be kinder to a late acknowledgement, and may redeliver for no reason (see `deliver_times`).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

# Of data in one answer; a larger message goes alone. The client library takes 4 MiB from an emulator unless it is given a
# channel with a higher `grpc.max_receive_message_length` (from the real service it takes all).
PULL_BYTES = 3_500_000


@dataclass(frozen=True)
class Message:
    """A message as it is published, and as it lies in a topic.

    Attributes:
        publish_time: Seconds since the epoch; the broker's clock where it is None at publishing.
        message_id: The broker's; empty until it is published.
    """

    data: bytes = b""
    attributes: dict[str, str] = field(default_factory=dict)
    ordering_key: str = ""
    publish_time: float | None = None
    message_id: str = ""


@dataclass
class Counts:
    """What has happened to a subscription's messages so far."""

    deliveries: int = 0
    acknowledged: int = 0
    stale: int = 0  # acknowledgements and extensions of an ack id that is no longer valid
    nacks: int = 0
    extensions: int = 0
    expired: int = 0


@dataclass(order=True)
class _Copy:
    """One copy of a message that has still to be acknowledged, in the order of delivery."""

    turn: int
    message: Message = field(compare=False)
    deliver_again: int = field(compare=False)
    attempts: int = field(compare=False, default=0)


@dataclass(frozen=True)
class _Lease:
    copy: _Copy
    deadline: float
    holder: object


@dataclass(frozen=True)
class Delivery:
    """A message in a consumer's hands."""

    ack_id: str
    message: Message
    attempt: int


class Queue:
    """The messages of one subscription. Not thread-safe: the broker holds its lock around every call.

    Args:
        deadline_seconds: Of a lease that a Pull gives.
        ordered: Whether a key's next message is held back until the one before is acknowledged.
        deliver_times: How often every message is delivered at least, acknowledged or not.
        clock: Gives monotonic seconds.
    """

    def __init__(
        self, deadline_seconds: float, *, ordered: bool, deliver_times: int, clock: Callable[[], float]
    ) -> None:
        self.deadline_seconds = deadline_seconds
        self.counts = Counts()
        self._ordered = ordered
        self._deliver_times = deliver_times
        self._clock = clock
        self._turns = itertools.count()
        self._ack_numbers = itertools.count(1)
        self._waiting: list[_Copy] = []  # a heap
        self._held_back: dict[str, list[_Copy]] = {}  # by ordering key
        self._busy_keys: set[str] = set()
        self._leases: dict[str, _Lease] = {}
        self._deadlines: list[tuple[float, str]] = []  # a heap; entries of ended or extended leases are passed over

    def add(self, message: Message) -> None:
        """Puts a newly published message last."""
        heapq.heappush(self._waiting, _Copy(next(self._turns), message, self._deliver_times - 1))

    def outstanding(self, holder: object = None) -> int:
        """How many messages are leased, to one holder or to all."""
        self._expire()
        return sum(holder is None or lease.holder is holder for lease in self._leases.values())

    def unacknowledged(self) -> int:
        """How many copies of messages have still to be acknowledged, leased or waiting."""
        held_back = sum(map(len, self._held_back.values()))
        return len(self._waiting) + held_back + len(self._leases)

    def next_expiry(self) -> float | None:
        """When the next lease may end, in the clock's seconds."""
        return self._deadlines[0][0] if self._deadlines else None

    def lease(self, limit: int, *, deadline_seconds: float | None = None, holder: object = None) -> list[Delivery]:
        """Hands out up to `limit` waiting messages, oldest first."""
        self._expire()
        seconds = self.deadline_seconds if deadline_seconds is None else deadline_seconds
        deliveries: list[Delivery] = []
        size = 0
        while len(deliveries) < limit and size < PULL_BYTES and (copy := self._next_copy()):
            size += len(copy.message.data)
            if size > PULL_BYTES and deliveries:
                heapq.heappush(self._waiting, copy)
                break
            deliveries.append(self._hand_out(copy, seconds, holder))
        return deliveries

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Ends messages for good; an ack id that is not valid (any more) does nothing."""
        self._expire()
        for ack_id in ack_ids:
            lease = self._leases.pop(ack_id, None)
            if lease is None:
                self.counts.stale += 1
                continue
            self.counts.acknowledged += 1
            self._free_key(lease.copy)

    def modify_deadline(self, ack_ids: Iterable[str], seconds: float) -> None:
        """Counts leases anew from now; 0 seconds gives the message back at once."""
        self._expire()
        for ack_id in ack_ids:
            lease = self._leases.get(ack_id)
            if lease is None:
                self.counts.stale += 1
            elif seconds > 0:
                self.counts.extensions += 1
                self._set_deadline(ack_id, _Lease(lease.copy, self._clock() + seconds, lease.holder))
            else:
                self.counts.nacks += 1
                self._give_back(ack_id)

    def _next_copy(self) -> _Copy | None:
        while self._waiting:
            copy = heapq.heappop(self._waiting)
            key = copy.message.ordering_key if self._ordered else ""
            if key not in self._busy_keys:
                return copy
            self._held_back.setdefault(key, []).append(copy)
        return None

    def _hand_out(self, copy: _Copy, seconds: float, holder: object) -> Delivery:
        copy.attempts += 1
        self.counts.deliveries += 1
        ack_id = f"{copy.message.message_id}.{next(self._ack_numbers)}"
        self._set_deadline(ack_id, _Lease(copy, self._clock() + seconds, holder))
        key = copy.message.ordering_key if self._ordered else ""
        if key:
            self._busy_keys.add(key)
        if copy.deliver_again:
            turn = copy.turn if key else next(self._turns)  # a key's duplicates must not overtake its later messages
            again = _Copy(turn, copy.message, copy.deliver_again - 1, copy.attempts)
            copy.deliver_again = 0
            heapq.heappush(self._waiting, again)
        return Delivery(ack_id, copy.message, copy.attempts)

    def _set_deadline(self, ack_id: str, lease: _Lease) -> None:
        self._leases[ack_id] = lease
        heapq.heappush(self._deadlines, (lease.deadline, ack_id))

    def _expire(self) -> None:
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, ack_id = heapq.heappop(self._deadlines)
            lease = self._leases.get(ack_id)
            if lease is not None and lease.deadline == deadline:
                self.counts.expired += 1
                self._give_back(ack_id)

    def _give_back(self, ack_id: str) -> None:
        copy = self._leases.pop(ack_id).copy
        heapq.heappush(self._waiting, copy)
        self._free_key(copy)

    def _free_key(self, copy: _Copy) -> None:
        key = copy.message.ordering_key
        self._busy_keys.discard(key)
        for held in self._held_back.pop(key, []):
            heapq.heappush(self._waiting, held)
