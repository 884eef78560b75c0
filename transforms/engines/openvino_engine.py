"""OpenVINO: the fastest way on a CPU. It reads ONNX as it is, and PyTorch checkpoints after a conversion."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from transforms.checkpoints import Checkpoint, cache_folder

_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_TOLERANCE = 1e-3  # of the largest logit; conversions that work differ by less than 1e-5
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class ConversionError(ValueError):
    """OpenVINO cannot convert a model, or the converted one gives other logits."""


class OpenVinoEngine:
    """A token classifier in OpenVINO, on the CPU."""

    name = "openvino"
    device = "cpu"

    def __init__(self, model: Any, *, precision: str, threads: int | None = None) -> None:
        import openvino

        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
        }
        if precision == "fp32":
            # Weights of 4 or 8 bits would otherwise have the activations rounded to 8 bits too.
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self.precision = precision
        self._takes = {port.get_any_name() for port in model.inputs}
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
        # One request at a time uses all threads; two at once would only get in each other's way.
        self._turn = threading.Lock()

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, *, precision: str, threads: int | None = None, allow_pickle_weights: bool = False
    ) -> OpenVinoEngine:
        """Loads a checkpoint: its weights for PyTorch, converted, or else its ONNX model.

        A converted model is kept in the cache folder under a hash of the checkpoint's content.

        Raises:
            ConversionError: if OpenVINO cannot convert it.
            ValueError: if it cannot be loaded.
        """
        import openvino

        if checkpoint.safetensors or (checkpoint.pickles and allow_pickle_weights):
            path = _converted(checkpoint, allow_pickle_weights=allow_pickle_weights)
        else:
            path = checkpoint.onnx or checkpoint.folder / "model.onnx"
        try:
            return cls(openvino.Core().read_model(path), precision=precision, threads=threads)
        except RuntimeError as error:
            raise ValueError(f"model={checkpoint.name!r} has a {path.name} that OpenVINO cannot read") from error

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; see `Engine.logits`."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._takes:
            inputs["token_type_ids"] = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        with self._turn:
            self._request.infer(inputs)
            return self._request.get_output_tensor(0).data.astype(np.float32)


def _converted(checkpoint: Checkpoint, *, allow_pickle_weights: bool) -> Path:
    import openvino
    from filelock import FileLock

    version = openvino.__version__.split("-")[0]
    folder = cache_folder() / "openvino" / f"{checkpoint.revision}-{version}"
    path = folder / "model.xml"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not path.exists():
            model = _convert(checkpoint, allow_pickle_weights=allow_pickle_weights)
            openvino.save_model(model, folder / "unchecked.xml", compress_to_fp16=False)
            (folder / "unchecked.bin").replace(folder / "model.bin")
            (folder / "unchecked.xml").replace(path)
    return path


def _convert(checkpoint: Checkpoint, *, allow_pickle_weights: bool) -> Any:
    import openvino
    import torch

    from transforms.engines.torch_engine import TorchEngine, load_model

    module = load_model(checkpoint, dtype=torch.float32, allow_pickle_weights=allow_pickle_weights)
    reference = TorchEngine(module, device="cpu", precision="fp32")
    vocabulary = getattr(module.config, "vocab_size", None) or 1000
    names = _INPUTS if reference._takes_token_types else _INPUTS[:2]

    class Positional(torch.nn.Module):
        """Inputs by position and logits alone, which is what OpenVINO's tracing wants."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: Any) -> Any:
            return self.module(**dict(zip(names, inputs, strict=True))).logits

    example = _probe(vocabulary, 2, 8)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
            warnings.simplefilter("ignore")  # of tracing, on what is checked below
            converted = openvino.convert_model(
                Positional().eval(), example_input=tuple(torch.from_numpy(example[name]) for name in names)
            )
        for port, name in zip(converted.inputs, names, strict=True):
            port.get_tensor().set_names({name})
            port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        converted.validate_nodes_and_infer_types()
        engine = OpenVinoEngine(converted, precision="fp32")
        limit = getattr(module.config, "max_position_embeddings", None) or 512
        for batch, length in ((1, 5), (3, min(limit - 2, 300))):
            _compare(engine, reference, _probe(vocabulary, batch, length))
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"OpenVINO cannot convert a {type(module).__name__} ({type(error).__name__})") from error
    return converted


def _probe(vocab_size: int, batch: int, length: int) -> dict[str, np.ndarray]:
    """Inputs of this shape; in all but the first text, the last third is padding."""
    ids = np.random.default_rng(0).integers(0, vocab_size, (batch, length))
    mask = np.ones((batch, length), np.int64)
    mask[1:, length - length // 3 :] = 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def _compare(engine: Any, reference: Any, inputs: dict[str, np.ndarray]) -> None:
    expected = reference.logits(*(inputs[name] for name in _INPUTS))
    given = engine.logits(*(inputs[name] for name in _INPUTS))
    difference = np.abs(given - expected)[inputs["attention_mask"] == 1].max()
    if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ConversionError(f"its logits in OpenVINO differ by {difference:.1e} from those in PyTorch")
