"""The memory that a process takes with a model, known before the model is loaded."""

from __future__ import annotations

from typing import Any

_PROCESS_BYTES = 0.6e9
"""Of a process without a model: Python, Beam, transformers and PyTorch, and batches of 2,048 tokens."""

_COPIES = {"torch": 1.5, "openvino": 3.5}
"""How often a process holds the model's weights, as 32-bit numbers, at its peak.

Measured on a BERT of 104 million numbers (0.42 GB), at the peak of the process: 1.18 GB with PyTorch, and with OpenVINO
2.0 GB where it has to convert the model first, 1.35 GB where it was converted before. In other precisions it is less.
"""


def process_bytes(config: Any, engine: str) -> int | None:
    """Bytes of memory that a worker process takes at its peak on a CPU; None if the model's size is not known.

    Args:
        config: The model's `PretrainedConfig`.
        engine: One of `transforms.engines.ENGINES`.
    """
    parameters = count_parameters(config)
    copies = _COPIES["torch" if engine == "torch" else "openvino"]
    return None if parameters is None else round(_PROCESS_BYTES + parameters * 4 * copies)


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
