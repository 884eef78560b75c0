"""Batches of windows of similar length."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], max_tokens: int, *, same_length: bool = False) -> list[list[int]]:
    """Groups windows of similar length into batches of at most `max_tokens` tokens, padding counted.

    Args:
        lengths: The number of tokens of each window, special tokens counted.
        max_tokens: The limit on the number of windows times the longest window. A single window above the limit is a
            batch of its own.
        same_length: Whether to put only windows of one length in a batch, for models whose scores depend on padding.

    Returns:
        Positions in `lengths`, longest windows first, so that memory peaks in the first batch.

    >>> plan_batches([3, 9, 4, 8], 18)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    room = 0
    for position in sorted(range(len(lengths)), key=lambda position: -lengths[position]):
        if not batches or len(batches[-1]) >= room or (same_length and lengths[position] != lengths[batches[-1][0]]):
            batches.append([])
            room = max(1, max_tokens // max(1, lengths[position]))
        batches[-1].append(position)
    return batches


def padded_length(length: int) -> int:
    """Return a length rounded up, by some 3 % for most lengths.

    This leaves few different lengths. An engine prepares and keeps code for each shape.

    >>> [padded_length(length) for length in (5, 64, 65, 300)]
    [8, 64, 72, 304]
    """
    step = 4 if length <= 64 else 8 if length <= 256 else 16
    return -(-length // step) * step
