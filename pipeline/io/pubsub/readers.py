"""The readers of this process, one a subscription: steps of a pipeline find them by its name."""

from __future__ import annotations

import threading

from pipeline.io.pubsub.subscription import PulledSubscription, SubscriptionSettings

_open: dict[str, PulledSubscription] = {}
_open_lock = threading.Lock()
_drained = threading.Event()  # also before the first reader is there


def open_subscription(settings: SubscriptionSettings) -> PulledSubscription:
    """This process's reader of a subscription, started when it is first asked for."""
    with _open_lock:
        if settings.subscription not in _open:
            reader = _open[settings.subscription] = PulledSubscription(settings).start()
            if _drained.is_set():  # only now: a signal between would find no reader yet
                reader.drain()
        return _open[settings.subscription]


def opened_subscription(name: str) -> PulledSubscription | None:
    """This process's reader of a subscription, if there is one."""
    return _open.get(name)


def drain_all() -> None:
    """Stops all pulling in this process, until `close_all`; what is in work goes on. Fit for a signal handler."""
    _drained.set()
    for reader in list(_open.values()):
        reader.drain()


def close_all(timeout_seconds: float) -> int:
    """Ends all reading in this process; gives how many messages were given back that had been handed on."""
    with _open_lock:
        readers = list(_open.values())
        _open.clear()
        _drained.clear()
    return sum(reader.close(timeout_seconds) for reader in readers)
