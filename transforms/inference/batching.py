"""Batches of windows of similar length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CALL_TOKENS = 25
"""The cost of a call of the model on a CPU, as the number of tokens that it could read in the same time."""


def plan_batches(
    lengths: Sequence[int], max_tokens: int, *, call_tokens: int = CALL_TOKENS, same_length: bool = False
) -> list[list[int]]:
    """Groups windows of similar length into the batches of at most `max_tokens` tokens that cost least.

    The cost of a batch is the number of its tokens, padding counted, and that of its call. The windows are sorted by
    length, and the best places to cut are found from the end on: the best plan for the windows from one on is its
    first batch and the best plan for the rest.

    Args:
        lengths: The number of tokens of each window, special tokens counted.
        max_tokens: The limit on the number of windows times the longest window. A single window above the limit is a
            batch of its own.
        call_tokens: The cost of a call, in tokens.
        same_length: Whether to put only windows of one length in a batch, for models whose scores depend on padding.

    Returns:
        Positions in `lengths`, longest windows first, so that memory peaks in the first batch.

    >>> plan_batches([3, 9, 4, 8], 18, call_tokens=6)
    [[1, 3], [2, 0]]
    """
    # lengths  90 88 86 | 12 10 9 9
    # costs    3 x 90 + 25 and 4 x 12 + 25, instead of 7 x 90 + 25
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    sizes = [lengths[position] for position in order]
    counts = np.arange(len(order) + 1)
    costs = np.zeros(len(order) + 1)  # of the best plan for the windows from each on
    stops = [0] * len(order)  # where the first batch of that plan ends
    run_stop = len(order)
    for start in range(len(order) - 1, -1, -1):
        if start + 1 < len(order) and sizes[start] != sizes[start + 1]:
            run_stop = start + 1
        room = max(1, max_tokens // max(1, sizes[start]))
        stop = min(start + room, run_stop if same_length else len(order))
        plans = counts[1 : stop - start + 1] * sizes[start] + costs[start + 1 : stop + 1]
        best = int(plans.argmin())
        costs[start], stops[start] = plans[best] + call_tokens, start + 1 + best
    batches, start = [], 0
    while start < len(order):
        batches.append(order[start : stops[start]])
        start = stops[start]
    return batches


def padded_length(length: int) -> int:
    """Return a length rounded up, by some 3 % for most lengths.

    This leaves few different lengths. An engine prepares and keeps code for each shape.

    >>> [padded_length(length) for length in (5, 64, 65, 300)]
    [8, 64, 72, 304]
    """
    step = 4 if length <= 64 else 8 if length <= 256 else 16
    return -(-length // step) * step
