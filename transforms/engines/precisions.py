"""The precisions that a processor has instructions for, and the one that an engine computes in where it has none."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

from transforms.engines.openvino_import import import_openvino

ACTIVATION_GROUP = 64
"""Activations that share a scale where they are rounded to 8 bits."""

_PROBE_ROWS, _PROBE_SIZE = 16, 128  # of a product, as a batch has them: whole groups of weights and of activations

_INSTRUCTIONS = {
    "bf16": ("amx_bf16", "avx512_bf16", "avx10_2", "avx_ne_convert", "bf16", "sve_bf16"),
    "fp16": ("amx_fp16", "avx512_fp16", "avx10_2", "avx_ne_convert", "fp16_arith"),
}
"""Names in ``torch.cpu.get_capabilities()``, of Intel, AMD and ARM; any of them will do."""


@functools.cache
def openvino_core() -> Any:
    """OpenVINO itself, once a process and for as long as that lives.

    Its first use gives the thread that makes it a stack for signal handlers, and its end takes that away on whatever
    thread it happens: the next signal would end the process.
    """
    return import_openvino().Core()


def openvino_precision(precision: str) -> str:
    """Return the precision for OpenVINO to compute in: the one that was asked for, or fp32 without instructions for it.

    OpenVINO, left alone, does something else and does not log it. It emulates bf16 with AVX-512, at a thirtieth of the
    speed of fp32, and computes in fp32 without. It computes fp16 in bf16 or fp32. For int8 it rounds the weights
    alone, which is no faster than fp32.

    Args:
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
    """
    if precision == "int8":
        return precision if _rounds_activations() else "fp32"
    native = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return precision if precision.upper() in native else "fp32"


@functools.cache
def _rounds_activations() -> bool:
    """Return whether OpenVINO multiplies 8 bits by 8 here.

    A product with the identity shows it. `OPTIMIZATION_CAPABILITIES` contains INT8 on every processor, and a compiled
    model's nodes are named i8 for their weights.
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
    # No even ramp, which 8 bits would hold exactly.
    given = np.cos(np.arange(_PROBE_ROWS * _PROBE_SIZE, dtype=np.float32)).reshape(_PROBE_ROWS, _PROBE_SIZE)
    product = openvino_core().compile_model(model, "CPU", settings)(given)[0]
    return bool(np.abs(product - given).max() > 1e-4)  # half a step of 8 bits is 4e-3


def torch_emulates(precision: str) -> bool:
    """Return whether PyTorch has to compute in a precision on the CPU without instructions for it.

    Numbers are rounded as with them, and it takes longer than in fp32. A PyTorch that cannot name a processor's
    instructions counts as having them.
    """
    import torch

    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    names = _INSTRUCTIONS.get(precision, ())
    return bool(capabilities) and bool(names) and not any(capabilities.get(name) for name in names)


def shortfall(asked: str, *, name: str, device: str, computed: str) -> str | None:
    """Return a sentence for a processor without a precision, or None for one that has it.

    >>> shortfall("bf16", name="openvino", device="cpu", computed="fp32")
    'precision=bf16: this processor has no bf16; openvino computes in fp32'

    Args:
        asked: The precision that was asked for.
        name: The engine's name.
        device: Its device.
        computed: The precision that it computes in.
    """
    lacks = f"precision={asked}: this processor has no {'fast int8' if asked == 'int8' else asked}"
    if computed != asked:
        return f"{lacks}; {name} computes in {computed}"
    if name == "torch" and device == "cpu" and torch_emulates(asked):
        return f"{lacks}; torch emulates it, which is slower than fp32"
    return None
