"""The OpenVINO engine, the fastest on a CPU. It reads ONNX files directly, and PyTorch checkpoints once converted."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import numpy as np

from transforms.engines.base import is_out_of_memory, too_large
from transforms.engines.precisions import ACTIVATION_GROUP, openvino_core, openvino_precision
from transforms.engines.weights import check_constants, round_weights, unpack_weights

_PRECISION_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_PRECISIONS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class OpenVinoEngine:
    """A token classifier in OpenVINO, on the CPU.

    Attributes:
        precision: The precision that it computes in: fp32 if the processor has no instructions for the requested one.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, path: Path, *, precision: str, threads: int | None = None) -> None:
        precision = openvino_precision(precision)
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _PRECISION_HINTS[precision],
            # With pinning, every process would pin its threads to the same first cores.
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(ACTIVATION_GROUP if precision == "int8" else 0),
        }
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        core = openvino_core()
        model = core.read_model(path)
        unpack_weights(model)
        check_constants(model)
        if precision == "int8":
            round_weights(model)
        self._takes = {port.get_any_name() for port in model.inputs}
        compiled = core.compile_model(model, "CPU", settings)
        hint = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self.precision = precision if precision == "int8" else _PRECISIONS[hint]
        self._request = compiled.create_infer_request()
        # One request uses all threads; two at the same time would only slow each other down.
        self._turn = threading.Lock()

    def logits(
        self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: np.ndarray | None
    ) -> np.ndarray:
        """Runs one batch; see `Engine.logits`."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._takes:
            inputs["token_type_ids"] = np.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        with self._turn:
            try:
                self._request.infer(inputs)
            except (RuntimeError, MemoryError) as error:
                self._forget(input_ids.shape)
                if is_out_of_memory(error):
                    raise too_large(input_ids, self.device) from error
                raise
            return self._request.get_output_tensor(0).data.astype(np.float32)

    def _forget(self, shape: tuple[int, ...]) -> None:
        """Runs a small batch of another shape after an exception.

        The compiled model keeps the shapes of its last batch. After an exception these are incomplete, so that every
        batch of the same shape would fail, in other requests too. A batch of another shape sets all of them.
        """
        small = (1, 8) if shape != (1, 8) else (1, 9)
        with contextlib.suppress(RuntimeError):
            self._request.infer({name: np.ones(small, np.int64) for name in self._takes})
