"""The overlaps of windows: entities that overlap, and tokens that two windows hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transforms.pre_entities import PreEntities


def resolve_overlaps(spans: list[tuple[int, int, float]]) -> list[int]:
    """Which of these spans stay when overlapping ones are merged as Hugging Face merges windows.

    In order of their start, each span is held against the one kept last: if it starts inside that one, the longer
    of the two stays, of equally long ones that with the higher score. A span that only the loser overlapped
    comes back in no other form, so text can be lost: that is Hugging Face's rule. So is it that a first span
    without any width stays twice.

    Args:
        spans: Half-open ``(start, end, score)``.

    Returns:
        Positions in `spans` of those that stay, ordered by start.

    >>> resolve_overlaps([(0, 20, 0.9), (12, 40, 0.8), (41, 45, 0.7)])
    [1, 2]
    """
    if not spans:
        return []
    order = sorted(range(len(spans)), key=lambda position: spans[position][0])
    kept: list[int] = []
    last = order[0]
    for position in order:
        start, end, score = spans[position]
        last_start, last_end, last_score = spans[last]
        if last_start <= start < last_end:
            if (end - start, score) > (last_end - last_start, last_score):
                last = position
        else:
            kept.append(last)
            last = position
    return [*kept, last]


def join_windows(pre_entities: PreEntities) -> PreEntities:
    """One row a token: in each overlap, a token is taken from the window whose edge is further away.

    Two windows change over at the start of the word that is nearest to the middle of their overlap.

    Returns:
        Pre-entities of a single window, whose `index` counts through the whole document.
    """
    bounds = np.append(pre_entities.window_starts, len(pre_entities))
    rows_of = [
        np.arange(bounds[window], bounds[window + 1])
        for window in np.argsort(pre_entities.window_offsets, kind="stable")
        if bounds[window] < bounds[window + 1]
    ]
    row_offsets = np.repeat(pre_entities.window_offsets, np.diff(bounds))
    position = pre_entities.index + row_offsets
    kept, begin = [], -1
    for number, rows in enumerate(rows_of):
        end = position[rows[-1]] + 1
        if number + 1 < len(rows_of):
            end = _changeover(pre_entities, position, rows_of[number + 1], end)
        kept.append(rows[(position[rows] >= begin) & (position[rows] < end)])
        begin = end
    rows = np.concatenate(kept) if kept else np.zeros(0, np.int64)
    return replace(pre_entities.take(rows), index=position[rows])


def _changeover(pre_entities: PreEntities, position: np.ndarray, rows: np.ndarray, overlap_end: int) -> int:
    """Position from which the window of these rows speaks, where the window before reaches `overlap_end`."""
    middle = (position[rows[0]] + overlap_end + 1) // 2
    in_overlap = position[rows] <= overlap_end
    word_starts = position[rows][in_overlap & ~pre_entities.is_subword[rows]]
    if len(word_starts) == 0:
        return int(middle)
    return int(word_starts[np.argmin(np.abs(word_starts - middle))])
