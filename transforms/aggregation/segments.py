"""Arithmetic over the segments of a column: their ends, their means and the rows of their maxima."""

from __future__ import annotations

import functools
import operator

import numpy as np

_IN_ORDER = 7
"""The most numbers that `numpy.sum` adds one after the other; with more, it adds up several partial sums."""


def stops_of(starts: np.ndarray, total: int) -> np.ndarray:
    """Return the ends of segments that begin at `starts` and cover everything up to `total`."""
    stops = np.empty_like(starts)
    stops[:-1] = starts[1:]
    stops[-1:] = total
    return stops


def segment_means(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the mean over axis 0 of each ``values[start:stop]``, without NaN, as `numpy.nanmean` does.

    Each segment must have two or more rows.
    """
    add = _sums_of_numbers if values.ndim == 1 else _sums_of_rows
    lengths = stops - starts
    sums = add(values, starts, lengths)
    if not np.isnan(sums).any():
        return (sums.T / lengths).T.astype(values.dtype, copy=False)
    missing = np.isnan(values)
    sums = add(np.where(missing, 0, values), starts, lengths)
    present = add((~missing).astype(np.int64), starts, lengths)
    with np.errstate(invalid="ignore"):
        return (sums / present).astype(values.dtype, copy=False)


# Rounding can decide between labels or spans with equal means. So the order of additions must be that of `numpy.sum`:
# row by row, and number by number if there are few. `reduceat` adds in another order.


def _sums_of_rows(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the sum of each ``values[start : start + length]`` of two or more rows: [n_segments, n_columns]."""
    sums = values[starts] + values[starts + 1]
    row = 2
    while len(longer := (lengths > row).nonzero()[0]):
        sums[longer] += values[starts[longer] + row]
        row += 1
    return sums


def _sums_of_numbers(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the sum of each ``values[start : start + length]``: [n_segments]."""
    sums = []
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        numbers = values[start : start + length]
        sums.append(numbers.sum() if length > _IN_ORDER else functools.reduce(operator.add, numbers))
    return np.array(sums, values.dtype)


def row_of_maximum(scores: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the row of the maximum of each ``scores[start:stop]``; the first of equals, as with Python's `max`."""
    if len(starts) == len(scores):
        return starts
    missing = np.isnan(scores)
    if missing.any():  # with Python's `max`, a NaN wins if it is the first value, and otherwise never
        scores = np.where(missing, -np.inf, scores)
        scores[starts[missing[starts]]] = np.inf
    of_segment = np.repeat(np.maximum.reduceat(scores, starts), stops - starts)
    rows = np.where(scores == of_segment, np.arange(len(scores)), len(scores))
    return np.minimum.reduceat(rows, starts)
