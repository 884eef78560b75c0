"""Files with biases for constrained decoding."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from transforms.aggregation.calibration import biases_of, read_calibration
from transforms.aggregation.decoding import TransitionBiases
from transforms.errors import ArgumentError

BIASES = {each.name: number / 4 for number, each in enumerate(fields(TransitionBiases))}


def written(folder: Path, content: Any) -> Path:
    path = folder / "viterbi_calibration.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_operating_points(tmp_path: Path) -> None:
    points = {
        "default": {"biases": BIASES},
        "careful": {"biases": dict.fromkeys(BIASES, 1), "note": "whole numbers"},
    }
    calibration = read_calibration(written(tmp_path, {"operating_points": points, "version": 1}))
    assert biases_of(calibration) == TransitionBiases(**BIASES)
    assert biases_of(calibration, "careful") == TransitionBiases(1, 1, 1, 1, 1, 1)
    with pytest.raises(ArgumentError, match=r"^operating_point='fast': unknown; expected one of careful, default$"):
        biases_of(calibration, "fast")


def test_without_a_calibration_all_biases_are_zero() -> None:
    assert biases_of(None) == TransitionBiases(0, 0, 0, 0, 0, 0)
    with pytest.raises(ArgumentError, match=r"^operating_point='fast': the model has no calibration"):
        biases_of(None, "fast")


@pytest.mark.parametrize(("content", "problem"), [
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('"\ud800"', "not JSON"),
    ([], "contains no operating_points"),
    ({}, "contains no operating_points"),
    ({"operating_points": {}}, "contains no operating_points"),
    ({"operating_points": {"default": 1}}, "operating point 'default' contains no biases"),
    ({"operating_points": {"default": {"biases": {}}}}, "has no number transition_bias_background_stay"),
    ({"operating_points": {"a": {"biases": {**BIASES, "transition_bias_end_to_start": "1"}}}}, "has no number transition_bias_end_to_start"),
    ({"operating_points": {"a": {"biases": {**BIASES, "transition_bias_end_to_start": True}}}}, "has no number"),
    ({"operating_points": {"a": {"biases": {**BIASES, "transition_bias_end_to_start": 2e9}}}}, "is out of range; expected a number between -1000 and 1000"),
    ({"operating_points": {"a": {"biases": {**BIASES, "transition_bias_end_to_start": 10**400}}}}, "is out of range"),
    ('{"operating_points": {"a": {"biases": {"transition_bias_background_stay": NaN}}}}', "transition_bias_background_stay is out of range"),
    ({"operating_points": {"a": {"biases": {**BIASES, "transition_bias_x": 0}}}}, "has the unknown bias 'transition_bias_x'"),
    (" " * (1 << 20) + "{}", "larger than 1,048,576 bytes"),
])  # fmt: skip
def test_a_broken_file_is_an_error(content: Any, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "viterbi_calibration.json"
    if isinstance(content, str):
        path.write_bytes(content.encode("utf-8", "surrogatepass"))
    else:
        written(tmp_path, content)
    with pytest.raises(ArgumentError) as raised:
        read_calibration(path)
    assert str(raised.value).startswith(f"viterbi_calibration={str(path)!r}: ")
    assert problem in str(raised.value)
    assert "; expected " in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read: No such file"):
        read_calibration(tmp_path / "gone.json")
    with pytest.raises(ArgumentError, match="cannot be read: Is a directory"):
        read_calibration(tmp_path)
