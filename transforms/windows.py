"""Windows of a model's length that cover a text, and batches of windows of like length."""

from __future__ import annotations

from collections.abc import Sequence

LONG_TEXT = ("window", "truncate")


def window_bounds(num_tokens: int, capacity: int, stride: int, *, side: str = "right") -> list[tuple[int, int]]:
    """Half-open token ranges that cover a text, each `stride` tokens over the one before.

    They are those that `tokenizers` makes when it truncates with overflow: from `side` ``right`` the first window
    is the text's beginning and the last one ends with the text, whatever that leaves of it; from ``left`` the
    windows start at the text's end and come in that order.

    Args:
        num_tokens: Tokens of the text, without special tokens.
        capacity: Most tokens that a window takes beside the special tokens.
        stride: Tokens that two neighbouring windows share; less than `capacity`.
        side: The side on which the tokenizer truncates.

    Raises:
        ValueError: if `stride` leaves no room to go on.

    >>> window_bounds(10, 6, 2)
    [(0, 6), (4, 10)]
    >>> window_bounds(10, 6, 2, side="left")
    [(4, 10), (0, 6)]
    >>> window_bounds(0, 6, 2)
    [(0, 0)]
    """
    if not 0 <= stride < capacity:
        raise ValueError(f"stride={stride} must be at least 0 and below the {capacity} tokens that fit in a window")
    if num_tokens <= capacity:
        return [(0, num_tokens)]
    step = capacity - stride
    count = 1 + -(-(num_tokens - capacity) // step)
    bounds = [(number * step, min(number * step + capacity, num_tokens)) for number in range(count)]
    if side == "left":
        return [(num_tokens - stop, num_tokens - start) for start, stop in bounds]
    return bounds


def truncated_bounds(num_tokens: int, capacity: int, *, side: str = "right") -> list[tuple[int, int]]:
    """The one range that a truncating tokenizer keeps.

    >>> truncated_bounds(10, 6), truncated_bounds(10, 6, side="left"), truncated_bounds(3, 6)
    ([(0, 6)], [(4, 10)], [(0, 3)])
    """
    return window_bounds(num_tokens, capacity, 0, side=side)[:1]


def plan_batches(lengths: Sequence[int], max_tokens: int, *, same_length: bool = False) -> list[list[int]]:
    """Groups windows of like length so that no batch holds more than `max_tokens` tokens, padding counted.

    Args:
        lengths: Tokens of each window, special tokens counted.
        max_tokens: Bound on windows x longest window of a batch; a longer single window is a batch of its own.
        same_length: Whether a batch may hold only windows of one length, for models that see the padding.

    Returns:
        Positions in `lengths`, longest windows first, so that memory peaks at once.

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
