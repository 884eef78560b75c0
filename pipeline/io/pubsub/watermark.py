"""The progress of a stream's event time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

IDLE_SECONDS = 10.0
"""The time without messages after which a subscription counts as empty, and event time follows the clock."""


class Watermark:
    """The time before which no message is expected any more. Not thread-safe.

    While messages arrive, the watermark is the oldest event time among those of the last `idle_seconds`. So a backlog
    is on time, even if it is hours old. If no message arrived for that long, the watermark is the current time.

    The watermark never goes back. A message with an earlier event time is passed on with the watermark as its
    timestamp, so that no window treats it as late.

    Args:
        clock: A function that returns seconds since the epoch.
        idle_seconds: See `IDLE_SECONDS`.
    """

    def __init__(self, clock: Callable[[], float], idle_seconds: float = IDLE_SECONDS) -> None:
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._recent: deque[tuple[float, float]] = deque()  # arrival time and event time; the event times ascend
        self._asked = -math.inf  # before the first answer, there may be a backlog
        self._value = 0.0

    def received(self, event_time: float) -> None:
        """Records a message's event time."""
        now = self._clock()
        while self._recent and self._recent[-1][1] >= event_time:
            self._recent.pop()
        self._recent.append((now, event_time))

    def note_poll(self) -> None:
        """Records that messages could have arrived just now, whether or not any did."""
        self._asked = self._clock()

    def stamp(self, event_time: float) -> float:
        """Return the timestamp for passing on a message: its event time, but not before the watermark or after now."""
        return max(self._value, min(event_time, self._clock()))

    def advance(self, oldest_waiting: float | None) -> float:
        """Moves the watermark forward, and returns it.

        Args:
            oldest_waiting: The oldest event time among the messages that are not passed on yet; None if there are none.
        """
        now = self._clock()
        while self._recent and self._recent[0][0] < now - self._idle_seconds:
            self._recent.popleft()
        if self._recent:
            candidate = self._recent[0][1]
        else:
            # Without a recent poll, the subscription may have a backlog, so the watermark stays.
            candidate = now if self._asked >= now - self._idle_seconds else self._value
        if oldest_waiting is not None:
            candidate = min(candidate, oldest_waiting)
        self._value = max(self._value, min(candidate, now))
        return self._value
