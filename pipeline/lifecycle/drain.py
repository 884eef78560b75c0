"""Drains a stream after a signal: reading stops, and the messages in work are finished."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.command_line import PROGRAM
from pipeline.io.pubsub.readers import close_all, drain_all
from pipeline.process.output import report
from pipeline.process.signals import end_at_once

DRAIN_SECONDS = 25.0
"""The time limit of a drain, after which messages in work are nacked.

Orchestrators kill a process after about 30 seconds.
"""

_ACK_SECONDS = 10.0

_logger = logging.getLogger(__name__)


@contextmanager
def drained_by_signals() -> Iterator[None]:
    """Drains the stream if SIGTERM or SIGINT arrives within this context; a second signal ends the process at once."""
    before = {number: signal.signal(number, _drain) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        given_back = close_all(_ACK_SECONDS)
        if given_back:
            _logger.warning("%d messages in work were nacked", given_back)
        for number, handler in before.items():
            signal.signal(number, handler)


def _drain(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end_at_once)
    drain_all()
    name = signal.Signals(number).name
    report(f"{PROGRAM}: {name}: no more messages are read; finishing those in work")
    timer = threading.Timer(DRAIN_SECONDS, _give_up)
    timer.daemon = True
    timer.start()


def _give_up() -> None:
    """Ends the process although steps are still running; their messages will be redelivered."""
    given_back = close_all(timeout_seconds=1.0)
    _logger.warning("after %.0f s %d messages in work were nacked", DRAIN_SECONDS, given_back)
    os._exit(0)
