"""The choice of an engine for a checkpoint and a machine."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Callable
from dataclasses import replace

from transforms.checkpoints.files import Checkpoint, check_weights
from transforms.engines.base import ConversionError, Engine
from transforms.engines.fallback import FallbackEngine
from transforms.engines.precisions import shortfall, stored_precision
from transforms.errors import ArgumentError
from transforms.settings import ModelSettings

_logger = logging.getLogger(__name__)


def load_engine(checkpoint: Checkpoint, settings: ModelSettings | None = None, *, token_types: bool = True) -> Engine:
    """Loads a checkpoint into the engine that fits it and this machine.

    The engine `auto` is PyTorch on a GPU and OpenVINO on a CPU. On a CPU too it is PyTorch if OpenVINO is not
    installed, cannot convert the model, or fails for a batch. For fp16 it is PyTorch if the checkpoint has weights
    for it.

    If the processor has no instructions for the precision, a warning is logged about what the engine does instead. The
    engine's attribute `precision` is the one that it computes in.

    Args:
        checkpoint: The model.
        settings: The engine, the device (``auto`` is a GPU if there is one), the precision (``auto`` is fp32,
            ``checkpoint`` the stored one), the threads on a CPU, and whether pickled weights may be loaded.
        token_types: Whether the tokenizer makes token types, so that batches have them.

    Raises:
        ArgumentError: if the checkpoint, engine, device and precision cannot be combined.
    """
    settings = settings or ModelSettings()
    engine, device = settings.engine, settings.device
    precision: str = settings.precision
    check_weights(checkpoint, allow_pickle_weights=settings.allow_pickle_weights)
    only_onnx = not checkpoint.safetensors and not (checkpoint.pickles and settings.allow_pickle_weights)
    if precision == "auto":
        precision = "fp32"
    elif precision == "checkpoint":
        precision = "fp32" if only_onnx else stored_precision(checkpoint)
        if engine == "auto" and precision != "fp32":
            engine = "torch"  # as transformers; OpenVINO rounds in other places
    if precision == "int8" and engine == "auto":
        engine = "openvino"
    place = "cpu" if device == "auto" and (only_onnx or engine == "openvino") else _place(device)

    if only_onnx and engine == "torch":
        raise ArgumentError(
            f"engine='torch': cannot read the ONNX weights of model={checkpoint.name!r}; expected openvino"
        )
    if precision == "int8" and engine == "torch":
        raise ArgumentError(
            "precision='int8': only for engine='openvino'; expected fp32, bf16 or fp16 with engine='torch'"
        )
    if place != "cpu" and (only_onnx or engine == "openvino"):
        what = f"model={checkpoint.name!r} with ONNX weights alone" if only_onnx else "engine='openvino'"
        raise ArgumentError(f"device={device!r}: not for {what}; expected cpu")
    load: Callable[[Checkpoint, ModelSettings], Engine] = _torch
    if engine == "openvino" or (engine == "auto" and place == "cpu" and only_onnx):
        load = functools.partial(_openvino, token_types=token_types)
    elif engine == "auto" and place == "cpu" and precision != "fp16":
        load = functools.partial(_openvino_or_torch, token_types=token_types)
    chosen = replace(settings, device=place, precision=precision)  # type: ignore[arg-type]  # it is one of them
    loaded = load(checkpoint, chosen)
    problem = shortfall(precision, name=loaded.name, device=loaded.device, computed=loaded.precision)
    if problem:
        _logger.warning("%s", problem)
    return loaded


def _place(device: str) -> str:
    from transforms.engines.torch_engine import resolve_device

    return "cpu" if device == "cpu" else resolve_device(device)


def _torch(checkpoint: Checkpoint, settings: ModelSettings) -> Engine:
    from transforms.engines.torch_engine import TorchEngine

    return TorchEngine.load(checkpoint, settings)


def _openvino(checkpoint: Checkpoint, settings: ModelSettings, *, token_types: bool) -> Engine:
    """Loads a checkpoint into OpenVINO: its converted weights for PyTorch, or its ONNX model if there are none.

    Raises:
        ConversionError: if OpenVINO cannot convert it.
        ArgumentError: if it cannot be loaded.
    """
    from transforms.engines.conversion import converted_model
    from transforms.engines.openvino_engine import OpenVinoEngine

    if checkpoint.safetensors or (checkpoint.pickles and settings.allow_pickle_weights):
        path = converted_model(checkpoint, token_types=token_types, allow_pickle_weights=settings.allow_pickle_weights)
    else:
        path = checkpoint.onnx or checkpoint.folder / "model.onnx"
    try:
        return OpenVinoEngine(path, precision=settings.precision, threads=settings.threads)
    except RuntimeError as error:
        raise ArgumentError(f"model={checkpoint.name!r}: OpenVINO cannot read {path.name}") from error
    except ValueError as error:
        raise ArgumentError(f"model={checkpoint.name!r}: {error} in {path.name}") from error


def _openvino_or_torch(checkpoint: Checkpoint, settings: ModelSettings, *, token_types: bool) -> Engine:
    if importlib.util.find_spec("openvino") is None:
        _logger.info("engine=auto: torch for model=%r, since openvino is not installed", checkpoint.name)
        return _torch(checkpoint, settings)
    try:
        engine = _openvino(checkpoint, settings, token_types=token_types)
    except ConversionError as error:
        _logger.info("engine=auto: torch for model=%r, since %s", checkpoint.name, error)
        return _torch(checkpoint, settings)
    instead = replace(settings, precision="fp32") if settings.precision == "int8" else settings
    return FallbackEngine(engine, functools.partial(_torch, checkpoint, instead), checkpoint.name)
