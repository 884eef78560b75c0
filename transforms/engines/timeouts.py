"""A time limit for calls that nothing can interrupt.

Python cannot end a thread that computes or waits in native code. So a worker thread makes such a call, and the caller
waits for it. When the call times out, the caller continues, and the call is stuck in its worker thread:

    caller    |--- waits ---| BatchTimeoutError, then continues
    worker    |--- call -------------------------------- ...

A stuck call keeps its resources until it ends: a thread, a core if it computes, and all objects that it refers to. So
the number of stuck calls is limited; beyond the limit, the process must end. A child process could be killed instead,
but then every batch and every score would have to be copied between two processes.
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
"""The largest number of stuck calls at a time.

A document that hangs the model causes two: see `run_isolating_failures`.
"""

T = TypeVar("T")


class CallTimeout:
    """Makes calls in its own threads, with a time limit for each call; safe for concurrent use."""

    def __init__(self, seconds: float, *, most_stuck: int = MOST_STUCK) -> None:
        """Sets the limits.

        Args:
            seconds: The time limit of a call.
            most_stuck: The largest number of stuck calls at a time.
        """
        self._seconds = seconds
        self._most_stuck = most_stuck
        self._idle: list[_Worker] = []
        self._stuck: list[_Call] = []
        self._lock = threading.Lock()

    @property
    def stuck(self) -> int:
        """The number of calls that timed out and have not ended yet."""
        with self._lock:
            self._stuck = [call for call in self._stuck if not call.ended.is_set()]
            return len(self._stuck)

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return ``function(*arguments)``, or raise the exception of the function.

        Raises:
            BatchTimeoutError: if the call times out. It continues in its thread, and its result is dropped.
            ModelHungError: if too many calls are stuck. The function is then not called.
        """
        if self._stuck and self.stuck >= self._most_stuck:
            raise ModelHungError(f"{self._most_stuck} batches hang in this process, and cannot be ended")
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = _Worker()
        call = _Call(function, arguments)
        worker.calls.put(call)
        if not call.ended.wait(self._seconds):
            with self._lock:
                self._stuck.append(call)
            raise BatchTimeoutError(f"the batch was not done after {self._seconds:g} seconds")
        self._idle.append(worker)
        if call.error is None:
            return call.result
        try:
            raise call.error
        finally:
            del call  # otherwise the error's traceback would keep the call and its arguments in memory


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


class _Worker:
    """A thread that makes one call after the other, and ends when this object is garbage-collected."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        # A daemon thread, so that the process can end while the thread hangs.
        threading.Thread(target=_serve, args=(self.calls,), name="watched-call", daemon=True).start()
        weakref.finalize(self, self.calls.put, None)


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while call := calls.get():
        call.make()
        del call  # its result is not kept while this thread waits


_logger = logging.getLogger(__name__)


class WatchedEngine:
    """Runs the batches of an engine with a time limit, and replaces the engine after a batch has hung.

    The engine that hung is not used again: its batch may keep locks for ever, and memory until it ends.
    """

    def __init__(self, load: Callable[[], Engine], watch: CallTimeout) -> None:
        """Loads the engine.

        Args:
            load: Function that returns a new engine at each call.
            watch: The time limit, which makes the calls.
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
            BatchTimeoutError: if the batch times out.
            ModelHungError: if too many batches are stuck, or a new engine cannot be loaded.
        """
        while True:
            current = engine, turn = self._current
            with turn:
                if current is not self._current:
                    continue  # the engine hung while this batch waited for its turn
                try:
                    return self._watch.call(engine.logits, input_ids, attention_mask, token_type_ids)
                except BatchTimeoutError:
                    self._replace(current)
                    raise

    def _new_turn(self) -> AbstractContextManager[Any]:
        """Return a lock for batches on a CPU, which run one after the other; it is without effect on other devices.

        The time limit of a batch starts when its turn comes, so waiting for other batches does not count.
        """
        return threading.Lock() if self.device == "cpu" else nullcontext()

    def _replace(self, hung: tuple[Engine, AbstractContextManager[Any]]) -> None:
        with self._replacing:
            if self._current is not hung:
                return
            _logger.error("a batch hangs on %s; the model is loaded again", self.device)
            try:
                self._current = self._load(), self._new_turn()
            except Exception as error:
                raise ModelHungError(f"the model hung, and loading it again failed: {type(error).__name__}") from error
