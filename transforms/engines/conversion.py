"""Converts a PyTorch checkpoint into a model for OpenVINO, and keeps the model in the cache folder."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from transforms.checkpoints.cache import cache_folder
from transforms.checkpoints.config import read_object
from transforms.checkpoints.files import Checkpoint
from transforms.engines.base import ConversionError, OutOfMemoryError, is_out_of_memory
from transforms.engines.openvino_import import import_openvino

_TOLERANCE = 1e-3  # relative to the largest logit; correct conversions differ by less than 1e-5
_NUMBERS_OF_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_FAILED = "failed.json"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def converted_model(checkpoint: Checkpoint, *, token_types: bool, allow_pickle_weights: bool) -> Path:
    """Return the converted model in the cache folder, after converting the checkpoint if the model is missing.

    Its folder is named after the checkpoint's revision and OpenVINO's version. A conversion that failed is remembered
    there, and not tried again with the same libraries.

    Args:
        checkpoint: The model.
        token_types: Whether the tokenizer makes token types. If not, the converted model takes none: for some models,
            no types are not the same as types of 0.
        allow_pickle_weights: Whether pickled weights may be loaded.

    Raises:
        ConversionError: if OpenVINO cannot convert it.
        ValueError: if the checkpoint cannot be loaded.
    """
    import torch
    from filelock import FileLock

    from transforms.engines.torch_engine import load_model

    version = import_openvino().__version__.split("-")[0]
    folder = cache_folder() / "openvino" / f"{checkpoint.revision}-{version}{'' if token_types else '-untyped'}"
    path = folder / "model.xml"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not path.exists():
            _raise_known_failure(folder)
            _check_experts(checkpoint)
            module = load_model(checkpoint, dtype=torch.float32, allow_pickle_weights=allow_pickle_weights)
            try:
                unchecked = _convert(module, folder / "unchecked.xml", token_types=token_types)
            except ConversionError as error:
                for name in ("unchecked.xml", "unchecked.bin"):
                    (folder / name).unlink(missing_ok=True)
                if error.is_lasting:
                    (folder / _FAILED).write_text(json.dumps({"libraries": _libraries(), "problem": str(error)}))
                raise
            # The weights are moved first: once model.xml exists, the model is complete.
            unchecked.with_suffix(".bin").replace(path.with_suffix(".bin"))
            unchecked.replace(path)
    return path


def _raise_known_failure(folder: Path) -> None:
    """Raises the error of an earlier conversion that failed with the same libraries."""
    try:
        failed = read_object(folder / _FAILED)
    except (OSError, ValueError):
        return
    if failed.get("libraries") == _libraries():
        raise ConversionError(failed["problem"])


def _libraries() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("openvino", "torch", "transformers")}


def _convert(module: Any, path: Path, *, token_types: bool) -> Path:
    """Converts a module, writes it, and compares the logits of the written model with the module's."""
    import torch

    from transforms.engines.openvino_engine import OpenVinoEngine
    from transforms.engines.torch_engine import TorchEngine

    openvino = import_openvino()
    reference = TorchEngine(module, device="cpu", precision="fp32")
    names = _INPUTS if token_types and reference.takes_token_types else _INPUTS[:2]
    config = module.config.get_text_config()
    vocabulary = getattr(config, "vocab_size", None) or 1000
    positions = getattr(config, "max_position_embeddings", None) or 512

    class Positional(torch.nn.Module):
        """A module with inputs by position and only the logits as output, as OpenVINO's tracing requires."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> Any:
            return self.module(**dict(zip(names, inputs, strict=True)), return_dict=True).logits

    example = _probe(vocabulary, 2, 8)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing warns about things that are checked below
            converted = openvino.convert_model(
                Positional().eval(), example_input=tuple(torch.from_numpy(example[name]) for name in names)
            )
        for port, name in zip(converted.inputs, names, strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        converted.validate_nodes_and_infer_types()
    except Exception as error:
        raise _conversion_error("convert", module, error) from error
    try:
        openvino.save_model(converted, path, compress_to_fp16=False)
    except Exception as error:  # no room on the disk, for example
        problem = f"the converted model cannot be written ({type(error).__name__})"
        raise ConversionError(problem, is_lasting=False) from error
    try:
        engine = OpenVinoEngine(path, precision="fp32")
        for batch, length in ((1, 5), (2, 17), (3, min(positions - 2, 300))):
            _compare(engine, reference, {name: _probe(vocabulary, batch, length)[name] for name in names})
    except ConversionError:
        raise
    except Exception as error:
        raise _conversion_error("run", module, error) from error
    return path


def _conversion_error(what: str, module: Any, error: Exception) -> ConversionError:
    return ConversionError(
        f"OpenVINO cannot {what} a {type(module).__name__} ({type(error).__name__})",
        is_lasting=not isinstance(error, OutOfMemoryError) and not is_out_of_memory(error),
    )


def _check_experts(checkpoint: Checkpoint) -> None:
    """Rejects a mixture of experts: tracing would fix the experts to those of the example's tokens.

    Raises:
        ConversionError: if the checkpoint is one.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(checkpoint.folder), local_files_only=True).get_text_config()
    numbers = [getattr(config, name, None) for name in _NUMBERS_OF_EXPERTS]
    if any(isinstance(number, int) and number > 1 for number in numbers):
        raise ConversionError(f"{config.model_type} chooses experts by the tokens, which OpenVINO cannot trace")


def _probe(vocab_size: int, batch: int, length: int) -> dict[str, np.ndarray]:
    """Return inputs of this shape; in all texts but the first, the last third is padding."""
    ids = np.random.default_rng(0).integers(0, vocab_size, (batch, length))
    mask = np.ones((batch, length), np.int64)
    mask[1:, length - length // 3 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def _compare(engine: Any, reference: Any, inputs: dict[str, np.ndarray]) -> None:
    expected, given = (each.logits(*map(inputs.get, _INPUTS)) for each in (reference, engine))
    difference = np.abs(given - expected)[inputs["attention_mask"] == 1].max()
    if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ConversionError(f"its logits in OpenVINO differ by {difference:.1e} from those in PyTorch")
