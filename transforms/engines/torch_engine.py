"""The PyTorch engine, on CPUs, CUDA and Apple's GPUs."""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np

from transforms.checkpoints.files import Checkpoint
from transforms.engines.base import is_out_of_memory, too_large
from transforms.engines.weights import check_parameters
from transforms.errors import ArgumentError, first_line
from transforms.settings import ModelSettings

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def resolve_device(device: str) -> str:
    """Return the device of this name on this machine; ``auto`` is the first GPU, or the CPU.

    Raises:
        ValueError: if PyTorch does not know the name or this machine has no such device.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
        if kind in ("cuda", "mps"):
            torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ArgumentError(
            f"device={device!r}: not on this machine ({first_line(error)}); expected auto or cpu"
        ) from None
    return str(torch.device(device))


def load_model(checkpoint: Checkpoint, *, dtype: Any, allow_pickle_weights: bool = False) -> Any:
    """Return the checkpoint as a PyTorch module in evaluation mode, on the CPU.

    Raises:
        ValueError: if it cannot be loaded, or has weights that are missing or corrupt.
    """
    from transformers import AutoModelForTokenClassification

    try:
        with _no_progress_bar():
            model, report = AutoModelForTokenClassification.from_pretrained(
                str(checkpoint.folder),
                dtype=dtype,
                use_safetensors=bool(checkpoint.safetensors) or not allow_pickle_weights,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        raise ArgumentError(
            f"model={checkpoint.name!r}: cannot be loaded: {type(error).__name__}: {first_line(error)}"
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ArgumentError(
            f"model={checkpoint.name!r}: {len(missing)} of its weights are missing ({missing[0]}, …),"
            " so its results would be random"
        )
    check_parameters(checkpoint.name, model)
    model.config.get_text_config().use_cache = False  # for the next token, which is never asked for
    return model.eval()


def _unmap(model: Any) -> None:
    """Copies the weights into memory of this process; safetensors maps them from their file.

    With mapped weights, a change of the file would change the model, and truncating it would end the process.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        tensor.data = tensor.data.clone()


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class TorchEngine:
    """A token classifier of transformers in PyTorch.

    Attributes:
        takes_token_types: Whether the model accepts `token_type_ids`.
    """

    name = "torch"

    def __init__(self, model: Any, *, device: str, precision: str) -> None:
        self.device = device
        self.precision = precision
        self._model = model.to(device)
        self.takes_token_types = "token_type_ids" in inspect.signature(model.forward).parameters
        # On a CPU one batch uses all threads; two at the same time would only slow each other down.
        self._turn: AbstractContextManager[Any] = threading.Lock() if device == "cpu" else nullcontext()

    @classmethod
    def load(cls, checkpoint: Checkpoint, settings: ModelSettings) -> TorchEngine:
        """Loads a checkpoint onto a device of this machine.

        Args:
            checkpoint: The model.
            settings: The device, the precision (not ``auto``), the threads, and whether pickled weights may be loaded.
        """
        import torch

        if settings.threads:
            torch.set_num_threads(settings.threads)
        dtype = getattr(torch, _DTYPES[settings.precision])
        model = load_model(checkpoint, dtype=dtype, allow_pickle_weights=settings.allow_pickle_weights)
        if settings.device == "cpu":  # another device has its own copy anyway
            _unmap(model)
        return cls(model, device=settings.device, precision=settings.precision)

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; see `Engine.logits`."""
        import torch

        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None and self.takes_token_types:
            inputs["token_type_ids"] = token_type_ids
        with self._turn, torch.inference_mode():
            try:
                tensors = {name: torch.from_numpy(values).to(self.device) for name, values in inputs.items()}
                return self._model(**tensors, return_dict=True).logits.float().cpu().numpy()
            except (RuntimeError, MemoryError) as error:
                if isinstance(error, torch.OutOfMemoryError) or is_out_of_memory(error):
                    raise too_large(input_ids, self.device) from error
                raise
