"""The embedded model as a PyTorch checkpoint, for programs that cannot read its ONNX file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers

from transforms.checkpoints.resolve import resolve


def rampart_torch(folder: Path) -> Path:
    """Writes the embedded model as a checkpoint for PyTorch, its int4 blocks unpacked into float32.

    Args:
        folder: The folder to write to; created if it is missing.

    Returns:
        The folder.

    Raises:
        RuntimeError: if the ONNX file does not contain the model's weights.
    """
    source = resolve("rampart").folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(source / name, folder / name)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["model_max_length"] = 512  # it names none, and transformers would crash on long texts
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    model = transformers.AutoModelForTokenClassification.from_config(transformers.AutoConfig.from_pretrained(folder))
    missing, unexpected = model.load_state_dict(unpacked(source / "onnx" / "model_q4.onnx"), strict=False)
    if unexpected or [name for name in missing if not name.endswith("position_ids")]:
        raise RuntimeError(f"the ONNX weights do not fit: missing {missing[:3]}, unexpected {unexpected[:3]}")
    model.save_pretrained(folder)
    return folder


def unpacked(path: Path) -> dict[str, torch.Tensor]:
    """A state dict of an ONNX file with MatMulNBits nodes (4 bits, the low nibble first) and int8 embeddings."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    consumers = {name: node for node in graph.node for name in node.input}
    state: dict[str, torch.Tensor] = {}
    for node in graph.node:
        if node.op_type != "MatMulNBits":
            continue
        sizes = {item.name: item.i for item in node.attribute}
        packed, scale = arrays[node.input[1]], arrays[node.input[2]].reshape(sizes["N"], -1, 1)
        codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(sizes["N"], -1, sizes["block_size"])
        weight = ((codes.astype(np.float32) - 8) * scale).reshape(sizes["N"], -1)[:, : sizes["K"]]
        # Nothing in the node names its layer, but the bias that is added to its result does.
        bias = next(name for name in consumers[node.output[0]].input if name.endswith(".bias"))
        state[bias.replace(".bias", ".weight")] = torch.from_numpy(weight)
    for name, array in arrays.items():
        if name.endswith((".bias", ".weight")) and array.dtype == np.float32:
            state[name] = torch.from_numpy(array.copy())
        elif name.endswith("_quantized"):
            base = name.removesuffix("_quantized")
            zero, scale = arrays[f"{base}_zero_point"].astype(np.float32), arrays[f"{base}_scale"]
            state[base] = torch.from_numpy(((array.astype(np.float32) - zero) * scale).astype(np.float32))
    return state
