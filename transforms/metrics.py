"""The namespace of the steps' Beam counters, and counts that are added to them later."""

from __future__ import annotations

import threading
from collections import Counter

NAMESPACE = "ner"


class Counts:
    """Counts events from any thread, until a thread with a bundle adds the counts to Beam's counters.

    Beam's counters belong to the bundle that a worker's thread processes. With this class, other threads and modules
    without Beam can count too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def add(self, name: str) -> None:
        """Adds one to the count of a name."""
        with self._lock:
            self._counts[name] += 1

    def take(self) -> dict[str, int]:
        """Return the counts since the last call, and reset them."""
        if not self._counts:
            return {}
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)
