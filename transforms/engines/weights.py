"""The weights of a model: corrupt ones found, packed ones in OpenVINO unpacked or rounded to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.errors import ArgumentError

LARGEST_WEIGHT = 1e5
"""No trained weight is near to it; a few random bytes in a float are likely to be far above."""


def check_parameters(name: str, model: Any) -> None:
    """Looks at all weights of a PyTorch module.

    Raises:
        ValueError: if one is not finite or beyond all bounds.
    """
    for parameter, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.numel():
            least, most = (bound.item() for bound in tensor.detach().aminmax())
            if not -LARGEST_WEIGHT <= least <= most <= LARGEST_WEIGHT:
                worst = least if not least >= -LARGEST_WEIGHT else most
                raise ArgumentError(f"model={name!r} has weights of {worst:.3g} in {parameter}: they are corrupt")


_GROUP = 128
"""Weights that share a scale; larger groups are hardly faster, and lose labels."""

_FLOATS = ("f16", "f32", "f64")  # those that numpy knows

_LARGE = 16
"""Numbers of a constant that is more likely a weight than a setting."""


def unpack_weights(model: Any) -> None:
    """Replaces weights that are kept in few bits by what they stand for, once instead of in every call.

    A model that was quantised with its activations is left alone: its arithmetic needs both.
    """
    from openvino.passes import ConstantFolding, Manager

    if any(node.get_type_name() == "FakeQuantize" for node in model.get_ops()):
        return
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)


def check_constants(model: Any) -> None:
    """Looks at all weights of a model in OpenVINO.

    Small constants and negative ones are let be: they may be what masks scores, which is as near to minus infinity as
    the exporter could get.

    Raises:
        ValueError: if there are weights that are not numbers or beyond all bounds.
    """
    for node in model.get_ops():
        if node.get_type_name() != "Constant" or node.get_element_type().get_type_name() not in _FLOATS:
            continue
        values = node.data
        if values.size >= _LARGE and not values.max() <= LARGEST_WEIGHT:
            raise ValueError(f"weights of {values.max():.3g}: they are corrupt")


def round_weights(model: Any) -> None:
    """Rounds the matrices to 8 bits, in groups of `_GROUP` weights (or a row) with a scale each.

    With `DYNAMIC_QUANTIZATION_GROUP_SIZE`, OpenVINO rounds the activations as well, and multiplies 8 bits by 8.
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
    """A matrix in 8 bits.

    Args:
        weights: float32[n_rows, n_columns].

    Returns:
        int8[n_rows, n_groups, size] and float32[n_rows, n_groups, 1], whose product is nearly the matrix.
    """
    rows, columns = weights.shape
    groups = weights.reshape(rows, -1, _GROUP if columns % _GROUP == 0 else columns)
    scales = np.abs(groups).max(axis=2, keepdims=True) / 127
    scales[scales == 0] = 1
    return np.round(groups / scales).astype(np.int8), scales
