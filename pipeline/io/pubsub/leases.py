"""The messages in work with their ack ids, and the messages that were done lately. It makes no network calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

_MAX_REMEMBERED = 1_000_000
_MAX_ACK_IDS = 20  # of one message; the oldest ones have expired


@dataclass
class _Held:
    """A message in work.

    Attributes:
        ack_ids: The ack ids of its deliveries so far, the newest last.
        size: The message's size in bytes.
        since: The time of the first delivery, by the clock.
    """

    ack_ids: list[str]
    size: int
    since: float


class Leases:
    """The messages in work by key, and the keys of finished messages. Not thread-safe.

    Args:
        max_lease_seconds: The time for which a message's lease is extended, in seconds.
        remember_seconds: The time for which the key of a finished message is remembered, in seconds.
        clock: A function that returns monotonic seconds.
    """

    def __init__(self, max_lease_seconds: float, remember_seconds: float, clock: Callable[[], float]) -> None:
        self._max_lease_seconds = max_lease_seconds
        self._remember_seconds = remember_seconds
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._done: OrderedDict[str, float] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def receive(self, key: str, ack_id: str, size: int) -> str:
        """Records a delivery.

        Returns:
            `new`, `in work` or `done`. Only a `new` message is to be processed. A `done` one is to be acknowledged at
            once.
        """
        self._forget()
        if key in self._done:
            return "done"
        if held := self._held.get(key):
            held.ack_ids = [*held.ack_ids[1 - _MAX_ACK_IDS :], ack_id]
            return "in work"
        self._held[key] = _Held([ack_id], size, self._clock())
        self.bytes += size
        return "new"

    def finish(self, key: str) -> list[str]:
        """Records that a message's result is written.

        Returns:
            All ack ids of the message's deliveries, since only the service can determine which of them are valid.
        """
        self._done[key] = self._clock()
        self._done.move_to_end(key)
        return self.give_up(key)

    def give_up(self, key: str) -> list[str]:
        """Removes a message from those in work, and returns its ack ids."""
        held = self._held.pop(key, None)
        if held is None:
            return []
        self.bytes -= held.size
        return held.ack_ids

    def keys(self) -> list[str]:
        """Return the keys of the messages in work."""
        return list(self._held)

    def to_extend(self) -> list[str]:
        """Return the newest ack id of each message that is in work for at most `max_lease_seconds`."""
        oldest = self._clock() - self._max_lease_seconds
        return [held.ack_ids[-1] for held in self._held.values() if held.since >= oldest]

    def _forget(self) -> None:
        oldest = self._clock() - self._remember_seconds
        while self._done and (len(self._done) > _MAX_REMEMBERED or next(iter(self._done.values())) < oldest):
            self._done.popitem(last=False)


def chunks(items: Iterable[str], most: int = 1000) -> Iterator[list[str]]:
    """Yield lists of at most `most` items: a request may have 512 KB, and an ack id has about 200 bytes.

    >>> list(chunks(["a", "b", "c"], 2))
    [['a', 'b'], ['c']]
    """
    rest = list(items)
    for begin in range(0, len(rest), most):
        yield rest[begin : begin + most]
