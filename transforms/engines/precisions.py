"""The precisions that a processor has instructions for, and the precision that an engine uses without them."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from transforms.checkpoints.config import read_config
from transforms.checkpoints.files import Checkpoint
from transforms.engines.openvino_import import import_openvino
from transforms.errors import ArgumentError

ACTIVATION_GROUP = 64
"""The number of activations that share a scale when they are rounded to 8 bits."""

_PROBE_ROWS, _PROBE_SIZE = 16, 128  # shape of a product, like a batch's: whole groups of weights and of activations

_INSTRUCTIONS = {
    "bf16": ("amx_bf16", "avx512_bf16", "avx10_2", "avx_ne_convert", "bf16", "sve_bf16"),
    "fp16": ("amx_fp16", "avx512_fp16", "avx10_2", "avx_ne_convert", "fp16_arith"),
}
"""Names in ``torch.cpu.get_capabilities()``, of Intel, AMD and ARM; one of them is enough."""


_STORED = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "F32": "fp32",
    "BF16": "bf16",
    "F16": "fp16",
}
"""The precisions by their names in a configuration and in safetensors."""


def stored_precision(checkpoint: Checkpoint) -> str:
    """Return the precision in which a checkpoint is stored, by the rule of transformers 5.

    It is the type in the configuration, or else that of the first weight with a fraction. For ONNX weights it is fp32.

    Raises:
        ArgumentError: if it is none that an engine computes in.
    """
    from safetensors import safe_open

    config = read_config(checkpoint)
    name = config.get("dtype") or config.get("torch_dtype")
    if name is None and checkpoint.safetensors:
        with safe_open(str(checkpoint.safetensors[0]), "np") as file:
            types = [file.get_slice(key).get_dtype() for key in file.keys()]  # noqa: SIM118  (it is no dictionary)
        name = next((kind for kind in types if "F" in kind), None)
    if name is None:
        return "fp32"
    precision = _STORED.get(str(name).removeprefix("torch."))
    if precision is None:
        raise ArgumentError(
            f"precision='checkpoint': model={checkpoint.name!r} is stored in {name}; expected fp32, bf16 or fp16"
        )
    return precision


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's `Core`, which is created once, and kept until the process ends.

    Its first use sets a stack for signal handlers in the calling thread. Its end would remove such a stack in whichever
    thread that happens, and the next signal would end the process.
    """
    return import_openvino().Core()


def openvino_precision(precision: str) -> str:
    """Return the precision for OpenVINO: the requested one, or fp32 if the processor has no instructions for it.

    Without this function OpenVINO would do something else, and not log it. With AVX-512 it emulates bf16 at a thirtieth
    of the speed of fp32, and without AVX-512 it computes in fp32. It computes fp16 in bf16 or fp32. For int8 it rounds
    only the weights, which is no faster than fp32.

    Args:
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
    """
    if precision == "int8":
        return precision if _rounds_activations() else "fp32"
    native = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision if precision.upper() in native else "fp32"


@functools.cache
def _rounds_activations() -> bool:
    """Return whether OpenVINO multiplies 8-bit activations by 8-bit weights on this processor.

    The test is a product with the identity matrix, which shows whether the input was rounded. OpenVINO does not report
    it: `OPTIMIZATION_CAPABILITIES` contains INT8 on every processor, and nodes are named i8 if only weights are.
    """
    from transforms.engines.weights import round_weights

    openvino = import_openvino()
    ops = importlib.import_module("openvino.opset13")

    data = ops.parameter([-1, _PROBE_SIZE], np.float32)
    identity = ops.constant(np.eye(_PROBE_SIZE, dtype=np.float32))
    model = openvino.Model([ops.matmul(data, identity, False, True)], [data])
    round_weights(model)
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": str(ACTIVATION_GROUP),
        "INFERENCE_NUM_THREADS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    # Not an even ramp, which 8 bits could represent exactly.
    given = np.cos(np.arange(_PROBE_ROWS * _PROBE_SIZE, dtype=np.float32)).reshape(_PROBE_ROWS, _PROBE_SIZE)
    product = openvino_core().compile_model(model, "CPU", settings)(given)[0]
    return bool(np.abs(product - given).max() > 1e-4)  # half a step of 8 bits is 4e-3


def torch_emulates(precision: str) -> bool:
    """Return whether PyTorch emulates a precision on the CPU, since the processor has no instructions for it.

    An emulation rounds in the same way, but is slower than fp32. If PyTorch cannot list the processor's instructions,
    they are assumed to exist.
    """
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    names = _INSTRUCTIONS.get(precision, ())
    return bool(capabilities) and bool(names) and not any(capabilities.get(name) for name in names)


def shortfall(asked: str, *, name: str, device: str, computed: str) -> str | None:
    """Return a sentence about a processor without instructions for a precision, or None if it has them.

    >>> shortfall("bf16", name="openvino", device="cpu", computed="fp32")
    'precision=bf16: this processor has no bf16; openvino computes in fp32'

    Args:
        asked: The requested precision.
        name: The engine's name.
        device: The engine's device.
        computed: The precision that the engine computes in.
    """
    lacks = f"precision={asked}: this processor has no {'fast int8' if asked == 'int8' else asked}"
    if computed != asked:
        return f"{lacks}; {name} computes in {computed}"
    if name == "torch" and device == "cpu" and torch_emulates(asked):
        return f"{lacks}; torch emulates it, which is slower than fp32"
    return None
