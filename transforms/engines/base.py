"""The interface of an engine, and the errors that one raises."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded model.

    Attributes:
        name: ``torch`` or ``openvino``.
        device: The device that it runs on, for example ``cpu`` or ``cuda:0``.
        precision: The precision that it computes in: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
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
            attention_mask: int64[batch, tokens], 0 for padding.
            token_type_ids: int64[batch, tokens], or None if the tokenizer makes none.

        Returns:
            The logits: float32[batch, tokens, labels].

        Raises:
            OutOfMemoryError: if the batch is too large for the device.
        """
        ...


class ConversionError(ValueError):
    """OpenVINO cannot convert a model, or the converted model returns other logits."""


class OutOfMemoryError(RuntimeError):
    """A batch does not fit in the device's memory; a smaller batch may fit."""


class BatchTimeoutError(RuntimeError):
    """A batch timed out."""


class ModelHungError(RuntimeError):
    """Too many batches hang, or a new model cannot be loaded after one hung: this process cannot use the model."""
