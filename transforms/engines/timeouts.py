"""A limit on the time of calls that nothing can interrupt.

A thread that computes in native code cannot be ended in Python, and neither can one that waits there for ever. So the
caller does not make such a call itself: a helper thread does, and a caller who has waited for long enough leaves the
helper alone with it. What that costs stays as long as the call does: a thread, a core if it computes, and all that
the call refers to. Hence the bound on calls that are left alone: beyond it, it is the process that must go. (A
child process could be killed, but then every batch and every score would have to travel between two processes.)
"""

from __future__ import annotations

import logging
import queue
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from transforms.engines.base import BatchTimeoutError, Engine, ModelHungError

MOST_STUCK = 8
"""Calls that may be left alone at a time. A document that hangs the model costs two: see `isolated`."""

T = TypeVar("T")


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


_logger = logging.getLogger(__name__)


class WatchedEngine:
    """Runs the batches of an engine, and takes a fresh one after a batch that has hung.

    The engine that hung is left to its batch: it may hold locks for ever, and memory until its batch ends.
    """

    def __init__(self, load: Callable[[], Engine], watch: Watch) -> None:
        """Loads the engine.

        Args:
            load: Gives an engine, each time a fresh one.
            watch: Makes the calls.
        """
        self._load = load
        self._watch = watch
        self._replacing = threading.Lock()
        engine = load()
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self._current = engine, self._new_turn()

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; see `Engine.logits`.

        Raises:
            BatchTimeoutError: if it takes too long.
            ModelHungError: if there is no going on after that.
        """
        while True:
            current = engine, turn = self._current
            with turn:
                if current is not self._current:
                    continue  # it hung while this batch waited for its turn
                try:
                    return self._watch.call(engine.logits, input_ids, attention_mask, token_type_ids)
                except BatchTimeoutError:
                    self._replace(current)
                    raise

    def _new_turn(self) -> AbstractContextManager[Any]:
        """On a CPU batches take turns, so that none is blamed for the time that it waited for another."""
        return threading.Lock() if self.device == "cpu" else nullcontext()

    def _replace(self, hung: tuple[Engine, AbstractContextManager[Any]]) -> None:
        with self._replacing:
            if self._current is not hung:
                return
            _logger.error("a batch hangs on %s; the model is loaded anew", self.device)
            try:
                self._current = self._load(), self._new_turn()
            except Exception as error:
                raise ModelHungError(f"the model hung, and loading it anew failed: {type(error).__name__}") from error
