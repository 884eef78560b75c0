"""The memory that processes take with a model, known before the model is loaded."""

from __future__ import annotations

from typing import Any

_PROCESS_BYTES = 0.6e9
"""Of a process without a model: Python, Beam, transformers and PyTorch, and batches of 2,048 tokens."""

_COPIES = {"torch": 1.5, "openvino": 3.5}
"""How often a process holds the model's weights, as 32-bit numbers, at its peak.

Measured on a BERT of 104 million numbers (0.42 GB), at the peak of the process: 1.18 GB with PyTorch, and with OpenVINO
2.0 GB where it has to convert the model first, 1.35 GB where it was converted before. In other precisions it is less.
"""

_OWN_COPIES = {"torch": 1.5, "openvino": 0.4}
"""How often each further process of a machine holds them: with OpenVINO most is shared, and one converts for all.

(docs/runners.md has the measurements.)
"""


def machine_bytes(parameters: int, engine: str, processes: int = 1) -> int:
    """Bytes of memory that worker processes take together at their peak on a CPU.

    Args:
        parameters: Numbers in the model's weights.
        engine: One of `transforms.settings.ENGINES`.
        processes: How many there are on a machine, each with the model.
    """
    kind, weights = "torch" if engine == "torch" else "openvino", 4 * parameters
    first, further = (_PROCESS_BYTES + weights * copies[kind] for copies in (_COPIES, _OWN_COPIES))
    return round(first + further * (processes - 1))


def count_parameters(config: Any) -> int | None:
    """Numbers in a model's weights, from its configuration alone; None if that does not tell.

    Weights that are packed on the disk are unpacked in memory, so the size of the files would mislead; and they may
    not be on this machine.
    """
    import torch
    from transformers import AutoModelForTokenClassification

    try:
        with torch.device("meta"):
            model = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    except Exception:  # whatever an odd configuration makes transformers raise: an estimate is missing, no more
        return None
    return sum(parameter.numel() for parameter in model.parameters())
