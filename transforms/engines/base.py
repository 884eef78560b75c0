"""The interface of an engine, and the errors that one raises."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Engine(Protocol):
    """A loaded model."""

    @property
    def name(self) -> str:
        """``torch`` or ``openvino``."""
        ...

    @property
    def device(self) -> str:
        """The device that it runs on, for example ``cpu`` or ``cuda:0``."""
        ...

    @property
    def precision(self) -> str:
        """The precision that it computes in: ``fp32``, ``bf16``, ``fp16`` or ``int8``."""
        ...

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
    """OpenVINO cannot convert a model, or the converted model returns other logits.

    Attributes:
        is_lasting: Whether another attempt with the same libraries would fail in the same way.
    """

    def __init__(self, message: str, *, is_lasting: bool = True) -> None:
        super().__init__(message)
        self.is_lasting = is_lasting


class OutOfMemoryError(RuntimeError):
    """A batch does not fit in the device's memory; a smaller batch may fit."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of PyTorch or OpenVINO on a CPU is one of the allocator.

    Neither library has a class for it on a CPU.
    """
    phrases = ("allocate memory", "not enough memory", "bad_alloc")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in phrases)
    )


def too_large(input_ids: np.ndarray, device: str) -> OutOfMemoryError:
    """Return the error for a batch that does not fit in the memory of a device."""
    batch, tokens = input_ids.shape
    return OutOfMemoryError(f"a batch of {batch} x {tokens} tokens does not fit in the memory of {device}")


class BatchTimeoutError(RuntimeError):
    """A batch timed out."""


class ModelHungError(RuntimeError):
    """Too many batches hang, or a new model cannot be loaded after one hung: this process cannot use the model."""
