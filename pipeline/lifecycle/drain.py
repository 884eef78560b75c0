"""Drains a stream after a signal: reading stops, and the messages in work are finished."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

from pipeline.command_line import PROGRAM
from pipeline.io.pubsub.readers import close_all, drain_all
from pipeline.process.output import report
from pipeline.process.signals import end_at_once, owns_process

DRAIN_SECONDS = 25.0
"""The time limit of a drain, after which messages in work are nacked.

Orchestrators kill a process after about 30 seconds.
"""

_ACK_SECONDS = 10.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_logger = logging.getLogger(__name__)


def drain() -> None:
    """Ends the stream of this process: no more messages are read, and those in work are finished.

    This is for a program that calls `pipeline.run.main` in a thread, where no signal arrives. `main` then returns 0.
    If no stream runs yet, the next one ends at its start.
    """
    drain_all()


@contextmanager
def drained_by_signals() -> Iterator[None]:
    """Drains the stream if SIGTERM or SIGINT arrives within this context; a second signal ends the process at once.

    In a process that has not called `end_on_signals`, such as a notebook, the second signal goes to the handler that
    was set before. In a thread that is not the main one, Python can set no handlers, and `drain` ends the stream.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before: dict[int, Any] = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS if in_main}
    for number in before:
        signal.signal(number, partial(_drain, {} if owns_process() else before))
    try:
        yield
    finally:
        given_back = close_all(_ACK_SECONDS)
        if given_back:
            _logger.warning("%d messages in work were nacked", given_back)
        for number, handler in before.items():
            signal.signal(number, handler)


def _drain(before: Mapping[int, Any], number: int, frame: FrameType | None) -> None:
    for each in _SIGNALS:
        signal.signal(each, before.get(each, end_at_once))
    drain_all()
    name = signal.Signals(number).name
    report(f"{PROGRAM}: {name}: no more messages are read; finishing those in work")
    if owns_process():
        timer = threading.Timer(DRAIN_SECONDS, _give_up)
        timer.daemon = True
        timer.start()


def _give_up() -> None:
    """Ends the process although steps are still running; their messages will be redelivered."""
    given_back = close_all(timeout_seconds=1.0)
    _logger.warning("after %.0f s %d messages in work were nacked", DRAIN_SECONDS, given_back)
    os._exit(0)
