"""Names of the counters that the steps keep, and counts on their way to them."""

from __future__ import annotations

import threading
from collections import Counter

NAMESPACE = "ner"


class Counts:
    """What happened, counted by any thread until a thread that may count with Beam takes it.

    Beam's counters belong to the bundle that a worker's thread is at; here even modules without Beam can count.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Counts one."""
        with self._lock:
            self._counts[name] += 1

    def take(self) -> dict[str, int]:
        """What was counted since the last call."""
        if not self._counts:
            return {}
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)
