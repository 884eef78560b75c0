"""The interface of an engine, and the errors that one raises."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded model.

    Attributes:
        name: ``torch`` or ``openvino``.
        device: Where it runs, for example ``cpu`` or ``cuda:0``.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``: the one that it computes in.
    """

    name: str
    device: str
    precision: str

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; safe to call from several threads.

        Args:
            input_ids: int64[batch, tokens], padded on the right.
            attention_mask: int64[batch, tokens], 0 where padded.
            token_type_ids: int64[batch, tokens], or None if the tokenizer makes none.

        Returns:
            float32[batch, tokens, labels].

        Raises:
            OutOfMemoryError: if the batch is too large for the device.
        """
        ...


class ConversionError(ValueError):
    """OpenVINO cannot convert a model, or the converted one gives other logits."""


class OutOfMemoryError(RuntimeError):
    """A batch does not fit in the device's memory; a smaller one may."""


class BatchTimeoutError(RuntimeError):
    """A batch took longer than it may."""


class ModelHungError(RuntimeError):
    """The model hung so often, or so badly, that this process must not go on with it."""
