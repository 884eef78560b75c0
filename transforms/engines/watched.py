"""An engine whose batches have a limit of time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from transforms.engines import Engine
from transforms.engines.errors import BatchTimeoutError, ModelHungError
from transforms.watch import Watch

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
