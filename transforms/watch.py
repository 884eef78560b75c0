"""A limit on the time of calls that nothing can interrupt.

A thread that computes in native code cannot be ended in Python, and neither can one that waits there for ever. So the
caller does not make such a call itself: a helper thread does, and a caller who has waited for long enough leaves the
helper alone with it. What that costs stays as long as the call does: a thread, a core if it computes, and all that
the call refers to. Hence the bound on calls that are left alone: beyond it, it is the process that must go. (A
child process could be killed, but then every batch and every score would have to travel between two processes.)
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from transforms.engines.errors import BatchTimeoutError, ModelHungError

DEFAULT_BATCH_TIMEOUT_SECONDS: float = 600
"""A batch takes a fraction of a second on most machines, and seconds on the slowest."""

MOST_STUCK = 8
"""Calls that may be left alone at a time. A document that hangs the model costs two: see `isolated`."""

T = TypeVar("T")


def check_timeout(seconds: float) -> None:
    """Looks whether a limit makes sense; 0 is none.

    Raises:
        ValueError: if it does not.
    """
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"batch_timeout_seconds={seconds} must be at least 0, which is no limit")


class Watch:
    """Makes calls on threads of its own, and waits for each no longer than a time; safe for concurrent use."""

    def __init__(self, seconds: float, *, most_stuck: int = MOST_STUCK) -> None:
        """Sets the limits.

        Args:
            seconds: How long a call may take.
            most_stuck: How many calls that took longer may go on at a time.
        """
        self._seconds = seconds
        self._most_stuck = most_stuck
        self._idle: list[_Helper] = []
        self._stuck: list[_Call] = []
        self._lock = threading.Lock()

    @property
    def stuck(self) -> int:
        """Calls that took too long and have not ended yet."""
        with self._lock:
            self._stuck = [call for call in self._stuck if not call.ended.is_set()]
            return len(self._stuck)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(*arguments)``, or what it raises.

        Raises:
            BatchTimeoutError: if it takes too long; it goes on then, and nobody will know its result.
            ModelHungError: if too many calls go on like that, without another try.
        """
        if self._stuck and self.stuck >= self._most_stuck:
            raise ModelHungError(f"{self._most_stuck} batches hang in this process, and there is no ending them")
        try:
            helper = self._idle.pop()
        except IndexError:
            helper = _Helper()
        call = _Call(function, arguments)
        helper.calls.put(call)
        if not call.ended.wait(self._seconds):
            with self._lock:
                self._stuck.append(call)
            raise BatchTimeoutError(f"the batch was not done after {self._seconds:g} seconds")
        self._idle.append(helper)
        if call.error is None:
            return call.result
        try:
            raise call.error
        finally:
            del call  # which the error's traceback would keep, and so the arguments


class _Call:
    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        self.ended = threading.Event()
        self.result: Any = None
        self.error: BaseException | None = None

    def make(self) -> None:
        try:
            self.result = self._function(*self._arguments)
        except BaseException as error:
            self.error = error
        self.ended.set()


class _Helper:
    """A thread that makes one call after the other, and ends when nobody will give it another."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # A daemon, for the process must be able to end while it hangs.
        threading.Thread(target=_serve, args=(self.calls,), name="watched-call", daemon=True).start()
        weakref.finalize(self, self.calls.put, None)


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while call := calls.get():
        call.make()
        del call  # its result is not kept while this thread waits
