"""Constrained decoding: the most probable sequence of labels that a tagging scheme allows, by the Viterbi algorithm."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np

from transforms.aggregation.schemes import Role, TaggedLabels

_FORBIDDEN = -1e12
"""The log-score of a step that is not allowed. Sequences without one are preferred to any with one; if the labels allow
no sequence at all, the fewest such steps are taken. No sum of biases comes near it; see `calibration.LARGEST_BIAS`."""


@dataclass(frozen=True)
class TransitionBiases:
    """Numbers that are added to the log-scores of steps between labels; see the calibration of a checkpoint.

    Attributes:
        transition_bias_background_stay: Of O to O.
        transition_bias_background_to_start: Of O to B and S.
        transition_bias_inside_to_continue: Of B and I to I.
        transition_bias_inside_to_end: Of B and I to E.
        transition_bias_end_to_background: Of E and S to O.
        transition_bias_end_to_start: Of E and S to B and S.
    """

    transition_bias_background_stay: float = 0.0
    transition_bias_background_to_start: float = 0.0
    transition_bias_inside_to_continue: float = 0.0
    transition_bias_inside_to_end: float = 0.0
    transition_bias_end_to_background: float = 0.0
    transition_bias_end_to_start: float = 0.0


_OUTSIDE = (Role.OUTSIDE,)
_OPEN = (Role.BEGIN, Role.INSIDE)
_CLOSING = (Role.END, Role.SINGLE)
_STARTING = (Role.BEGIN, Role.SINGLE)
_STEPS: dict[str, tuple[tuple[Role, ...], tuple[Role, ...]]] = {
    "transition_bias_background_stay": (_OUTSIDE, _OUTSIDE),
    "transition_bias_background_to_start": (_OUTSIDE, _STARTING),
    "transition_bias_inside_to_continue": (_OPEN, (Role.INSIDE,)),
    "transition_bias_inside_to_end": (_OPEN, (Role.END,)),
    "transition_bias_end_to_background": (_CLOSING, _OUTSIDE),
    "transition_bias_end_to_start": (_CLOSING, _STARTING),
}


@functools.lru_cache(maxsize=16)
def transition_scores(tagged: TaggedLabels, biases: TransitionBiases) -> np.ndarray:
    """Return the log-score of each step between two labels: float64[n_labels, n_labels], from the first axis.

    The array is read-only, because it is computed once for the labels of a checkpoint.
    """
    scores = np.where(tagged.allowed_transitions(), 0.0, _FORBIDDEN)
    for each in fields(biases):
        before, after = (np.isin(tagged.role, roles) for roles in _STEPS[each.name])
        scores += getattr(biases, each.name) * (before[:, None] & after[None, :])
    scores.flags.writeable = False
    return scores


def viterbi(probabilities: np.ndarray, tagged: TaggedLabels, biases: TransitionBiases | None = None) -> np.ndarray:
    """Return the sequence of labels with the largest sum of log-probabilities and biases that the scheme allows.

    Of several such sequences, it is the one with the smallest class ids, compared from the last unit to the first. The
    cost is proportional to the number of units times the square of the number of labels.

    >>> tagged = TaggedLabels.of(["O", "B-PER", "I-PER", "E-PER", "S-PER"], "iobes")
    >>> viterbi(np.array([[0.1, 0.4, 0.0, 0.0, 0.5], [0.2, 0.0, 0.0, 0.8, 0.0]], np.float32), tagged).tolist()
    [1, 3]

    Args:
        probabilities: float[n_units, n_labels], of tokens or words.
        tagged: The labels, in a scheme.
        biases: The biases of steps; None is 0 for all.

    Returns:
        int64[n_units], class ids.
    """
    # unit       0     1     2        best[u, j] = log p[u, j] + max over i of (best[u-1, i] + transition[i, j])
    # label  O   o     o     o
    #        B   o--,  o     o        transition[i, j] is the bias of the step from i to j,
    #        I   o   '-o--,  o        and a large negative number if the scheme does not allow it.
    #        E   o     o   '-o        came_from[u, j] is the i that was best; the labels are read from the end.
    count, num_labels = probabilities.shape
    if not count:
        return np.zeros(0, np.int64)
    to_from = np.ascontiguousarray(transition_scores(tagged, biases or TransitionBiases()).T)
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
    best = logs[0] + np.where(tagged.allowed_starts(), 0.0, _FORBIDDEN)
    came_from = np.empty((count, num_labels), np.min_scalar_type(num_labels))
    candidates = np.empty_like(to_from)
    rows = np.arange(num_labels)
    for unit in range(1, count):
        np.add(to_from, best, out=candidates)
        source = candidates.argmax(axis=1)
        came_from[unit] = source
        best = candidates[rows, source]
        best += logs[unit]
    labels = np.empty(count, np.int64)
    labels[-1] = (best + np.where(tagged.allowed_ends(), 0.0, _FORBIDDEN)).argmax()
    for unit in range(count - 1, 0, -1):
        labels[unit - 1] = came_from[unit, labels[unit]]
    return labels
