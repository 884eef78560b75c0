"""An engine that gives way to another one when it fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np

from transforms.engines.base import Engine, OutOfMemoryError

_logger = logging.getLogger(__name__)


class FallbackEngine:
    """Runs batches in one engine, until that engine fails for a batch that another one can run.

    The second engine is loaded when the first one fails. If it runs the batch, it takes the place of the first one, and
    a warning is logged. If it fails too, the batch is the cause, and the first engine stays.
    """

    def __init__(self, engine: Engine, load_other: Callable[[], Engine], model: str) -> None:
        """Sets the engines.

        Args:
            engine: The first engine.
            load_other: Function that loads the second engine.
            model: The model's name, for the log.
        """
        self._engine = engine
        self._load_other = load_other
        self._other: Engine | None = None
        self._model = model
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The name of the current engine."""
        return self._engine.name

    @property
    def device(self) -> str:
        """The device of the current engine."""
        return self._engine.device

    @property
    def precision(self) -> str:
        """The precision of the current engine."""
        return self._engine.precision

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; see `Engine.logits`."""
        engine = self._engine
        try:
            return engine.logits(input_ids, attention_mask, token_type_ids)
        except OutOfMemoryError:
            raise
        except RuntimeError as error:
            if engine is self._other:
                raise
            other = self._loaded_other()
            logits = other.logits(input_ids, attention_mask, token_type_ids)
            self._switch(other, error, input_ids.shape)
            return logits

    def _loaded_other(self) -> Engine:
        with self._lock:
            if self._other is None:
                self._other = self._load_other()
            return self._other

    def _switch(self, other: Engine, error: Exception, shape: tuple[int, ...]) -> None:
        with self._lock:
            if self._engine is other:
                return
            failed, self._engine = self._engine.name, other
        _logger.warning(
            "engine=auto: %s for model=%r from now on, since %s failed for a batch of %d x %d tokens (%s)",
            other.name,
            self._model,
            failed,
            *shape,
            type(error).__name__,
        )
