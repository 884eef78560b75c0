"""The calibration of constrained decoding: biases of steps between labels, as a checkpoint's file has them.

{"operating_points": {"default": {"biases": {"transition_bias_background_stay": 0.5, ...}}}}
"""

from __future__ import annotations

import functools
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from transforms.aggregation.decoding import TransitionBiases
from transforms.errors import ArgumentError

# {"operating_points": {"default": {"biases": {"transition_bias_background_stay": 0.5, ...}}}}
CALIBRATION_FILE = "viterbi_calibration.json"
"""The name of the file in a checkpoint's folder."""

DEFAULT_OPERATING_POINT = "default"
LARGEST_BIAS = 1000
"""The bound for a bias, far above any log-probability."""

_LARGEST = 1 << 20  # bytes
_NAMES = tuple(each.name for each in fields(TransitionBiases))


def read_calibration(path: Path) -> str:
    """Return the content of a calibration file, as one line of JSON.

    Raises:
        ArgumentError: if it cannot be read, or is no calibration.
    """
    problem = f"viterbi_calibration={str(path)!r}"
    try:
        if path.stat().st_size > _LARGEST:
            raise ArgumentError(f"{problem}: larger than {_LARGEST:,} bytes; expected a calibration of some biases")
        content = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ArgumentError(f"{problem}: cannot be read: {error.strerror or type(error).__name__}") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError(f"{problem}: not JSON in UTF-8; expected an object with operating_points") from error
    points = content.get("operating_points") if isinstance(content, dict) else None
    if not isinstance(points, dict) or not points:
        raise ArgumentError(f"{problem}: contains no operating_points; expected an object of them by their names")
    for name, point in points.items():
        _check_point(f"{problem}: operating point {name!r}", point)
    return json.dumps(content, sort_keys=True)


def _check_point(place: str, point: Any) -> None:
    biases = point.get("biases") if isinstance(point, dict) else None
    if not isinstance(biases, dict):
        raise ArgumentError(f"{place} contains no biases; expected an object with {', '.join(_NAMES)}")
    for name in _NAMES:
        value = biases.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ArgumentError(f"{place} has no number {name}; expected all of {', '.join(_NAMES)}")
        if not -LARGEST_BIAS <= value <= LARGEST_BIAS:
            raise ArgumentError(
                f"{place}: {name} is out of range; expected a number between -{LARGEST_BIAS} and {LARGEST_BIAS}"
            )
    if unknown := sorted(set(biases) - set(_NAMES)):
        raise ArgumentError(f"{place} has the unknown bias {unknown[0]!r}; expected only {', '.join(_NAMES)}")


@functools.lru_cache(maxsize=16)
def biases_of(calibration: str | None, operating_point: str | None = None) -> TransitionBiases:
    """Return the biases of an operating point; those of no calibration are 0.

    >>> biases_of(None).transition_bias_end_to_start
    0.0

    Args:
        calibration: The result of `read_calibration`, or None.
        operating_point: The name of the operating point; None is ``default``.

    Raises:
        ArgumentError: if there is no such operating point.
    """
    if calibration is None:
        if operating_point is not None:
            raise ArgumentError(
                f"operating_point={operating_point!r}: the model has no calibration; expected viterbi_calibration=FILE"
            )
        return TransitionBiases()
    points = json.loads(calibration)["operating_points"]
    name = DEFAULT_OPERATING_POINT if operating_point is None else operating_point
    if name not in points:
        raise ArgumentError(f"operating_point={name!r}: unknown; expected one of {', '.join(sorted(points))}")
    return TransitionBiases(**points[name]["biases"])
