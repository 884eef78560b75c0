"""The readers of this process, one per subscription; a pipeline's steps look them up by the subscription's name."""

from __future__ import annotations

import threading

from pipeline.io.pubsub.subscription import PulledSubscription, SubscriptionSettings

_open: dict[str, PulledSubscription] = {}
_open_lock = threading.Lock()
_drained = threading.Event()  # may be set before the first reader exists


def open_subscription(settings: SubscriptionSettings) -> PulledSubscription:
    """Return this process's reader of a subscription; the first call makes and starts it."""
    with _open_lock:
        if settings.subscription not in _open:
            reader = _open[settings.subscription] = PulledSubscription(settings).start()
            if _drained.is_set():  # checked last: a signal before this line may not have seen the reader
                reader.drain()
        return _open[settings.subscription]


def opened_subscription(name: str) -> PulledSubscription | None:
    """Return this process's reader of a subscription, or None if there is none."""
    return _open.get(name)


def drain_all() -> None:
    """Stops all pulling in this process until `close_all`; messages in work continue. Safe in a signal handler."""
    _drained.set()
    for reader in list(_open.values()):
        reader.drain()


def close_all(timeout_seconds: float) -> int:
    """Ends all reading in this process.

    Returns:
        The number of messages that were passed to the pipeline and are now nacked.
    """
    with _open_lock:
        readers = list(_open.values())
        _open.clear()
        _drained.clear()
    return sum(reader.close(timeout_seconds) for reader in readers)
