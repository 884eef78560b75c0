"""The progress of a stream's event time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

IDLE_SECONDS = 10.0
"""After so long without a message a subscription counts as empty, and event time goes on with the clock."""


class Watermark:
    """The time before which no message is expected any more. Not thread-safe.

    While messages come, it is the oldest event time among those of the last seconds, so that a backlog is on time
    though it is hours old; when none have come for that long, it is now. It never goes back: what comes behind it
    is handed on as if it happened at the watermark, so that no window takes it for late.

    Args:
        clock: Gives seconds since the epoch.
        idle_seconds: See `IDLE_SECONDS`.
    """

    def __init__(self, clock: Callable[[], float], idle_seconds: float = IDLE_SECONDS) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._recent: deque[tuple[float, float]] = deque()  # arrival and event time; each event time below the next
        self._asked = -math.inf  # until a first answer, nobody knows of a backlog
        self._value = 0.0

    def received(self, event_time: float) -> None:
        """Notes a message's event time."""
        now = self._clock()
        while self._recent and self._recent[-1][1] >= event_time:
            self._recent.pop()
        self._recent.append((now, event_time))

    def asked(self) -> None:
        """Notes that the service could be asked for messages just now, whatever came."""
        self._asked = self._clock()

    def stamp(self, event_time: float) -> float:
        """The time to hand a message on with: its own, unless that is behind the watermark or ahead of the clock."""
        return max(self._value, min(event_time, self._clock()))

    def advance(self, oldest_waiting: float | None) -> float:
        """The watermark now.

        Args:
            oldest_waiting: The oldest event time among the messages that are not handed on yet.
        """
        now = self._clock()
        while self._recent and self._recent[0][0] < now - self._idle_seconds:
            self._recent.popleft()
        if self._recent:
            candidate = self._recent[0][1]
        else:
            # Not heard from for long: whether the subscription is empty, nobody knows.
            candidate = now if self._asked >= now - self._idle_seconds else self._value
        if oldest_waiting is not None:
            candidate = min(candidate, oldest_waiting)
        self._value = max(self._value, min(candidate, now))
        return self._value
