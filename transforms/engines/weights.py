"""Checks a model for corrupt weights; in OpenVINO, decompresses packed weights or rounds weights to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.errors import ArgumentError

LARGEST_WEIGHT = 1e5
"""The bound for a weight: trained weights are far below it, and random bytes in a float are likely far above it."""


def check_parameters(name: str, model: Any) -> None:
    """Checks all weights of a PyTorch module.

    Raises:
        ValueError: if a weight is not a number, or larger than `LARGEST_WEIGHT` in magnitude.
    """
    for parameter, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.numel():
            least, most = (bound.item() for bound in tensor.detach().aminmax())
            if not -LARGEST_WEIGHT <= least <= most <= LARGEST_WEIGHT:
                worst = least if not least >= -LARGEST_WEIGHT else most
                raise ArgumentError(f"model={name!r}: corrupt weights of {worst:.3g} in {parameter}")


_GROUP = 128
"""The number of weights that share a scale; larger groups are hardly faster, and change some labels."""

_FLOATS = ("f16", "f32", "f64")  # types that numpy supports

_LARGE = 16
"""The number of values from which a constant is more likely a weight than a setting."""


def unpack_weights(model: Any) -> None:
    """Replaces packed weights by their decompressed values, once instead of in every call.

    A model with quantised activations is not changed: its arithmetic requires the weights to be quantised too.
    """
    from openvino.passes import ConstantFolding, Manager

    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def check_constants(model: Any) -> None:
    """Checks all weights of a model in OpenVINO.

    Small constants and negative values are not checked. They may mask scores, with the lowest value that the exporter
    could write for minus infinity.

    Raises:
        ValueError: if a weight is not a number, or larger than `LARGEST_WEIGHT`.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in _FLOATS:
            continue
        values = node.data
        if values.size >= _LARGE and not values.max() <= LARGEST_WEIGHT:
            raise ValueError(f"corrupt weights of {values.max():.3g}")


def round_weights(model: Any) -> None:
    """Rounds the weight matrices to 8 bits, in groups of `_GROUP` weights (or a row) with one scale each.

    With `DYNAMIC_QUANTIZATION_GROUP_SIZE`, OpenVINO also rounds the activations, and multiplies 8-bit numbers.
    """
    import openvino.opset13 as ops

    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not node.get_attributes()["transpose_b"]:
            continue
        weights = node.input_value(1).get_node()
        if weights.get_type_name() != "Constant" or len(weights.get_output_shape(0)) != 2:
            continue
        rounded, scales = round_groups(weights.get_data().astype(np.float32))
        grouped = ops.multiply(ops.convert(ops.constant(rounded), "f32"), ops.constant(scales))
        shape = ops.constant(np.array(weights.get_output_shape(0), np.int64))
        node.input(1).replace_source_output(ops.reshape(grouped, shape, False).output(0))


def round_groups(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a matrix rounded to 8 bits, with its scales.

    Args:
        weights: The matrix: float32[n_rows, n_columns].

    Returns:
        The rounded weights: int8[n_rows, n_groups, size], and the scales: float32[n_rows, n_groups, 1]. Their product
        is nearly the matrix.
    """
    rows, columns = weights.shape
    groups = weights.reshape(rows, -1, _GROUP if columns % _GROUP == 0 else columns)
    scales = np.abs(groups).max(axis=2, keepdims=True) / 127
    scales[scales == 0] = 1
    return np.round(groups / scales).astype(np.int8), scales
