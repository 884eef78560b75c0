"""Estimates the memory of processes with a model, before the model is loaded."""

from __future__ import annotations

from typing import Any

_PROCESS_BYTES = 0.6e9
"""The memory of a process without a model: Python, Beam, transformers, PyTorch, and batches of 2,048 tokens."""

_COPIES = {"torch": 1.5, "openvino": 3.5}
"""The peak memory of a process as a multiple of the fp32 weight size, by engine.

Measured on a BERT with 104 million parameters (0.42 GB): with PyTorch the peak was 1.18 GB. With OpenVINO it was 2.0 GB
if the process converted the model first, and 1.35 GB if not. Other precisions need less.
"""

_OWN_COPIES = {"torch": 1.5, "openvino": 0.4}
"""The same multiple for each further process on a machine; docs/runners.md lists the measurements.

With OpenVINO, processes share most of the memory, and only one of them converts the model.
"""


def machine_bytes(parameters: int, engine: str, processes: int = 1) -> int:
    """Return the bytes of memory that all worker processes of a machine need at their peak, on a CPU.

    Args:
        parameters: Number of the model's parameters.
        engine: One of `transforms.settings.ENGINES`.
        processes: Number of processes on the machine, each with the model.
    """
    kind, weights = "torch" if engine == "torch" else "openvino", 4 * parameters
    first, further = (_PROCESS_BYTES + weights * copies[kind] for copies in (_COPIES, _OWN_COPIES))
    return round(first + further * (processes - 1))


def count_parameters(config: Any) -> int | None:
    """Return the number of a model's parameters from its configuration; None if that fails.

    The size of the weight files would mislead: packed weights are decompressed in memory. The files may also not be
    on this machine.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    try:
        with torch.device("meta"):
            model = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except Exception:  # transformers may raise anything for an odd configuration; only the estimate is lost
        return None
    return sum(parameter.numel() for parameter in model.parameters())
