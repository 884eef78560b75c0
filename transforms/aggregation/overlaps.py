"""The overlaps of windows: entities that overlap, and tokens that are in two windows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from transforms.pre_entities import PreEntities


def resolve_overlaps(spans: list[tuple[int, int, float]]) -> list[int]:
    """Return the spans that remain after overlapping spans are merged, as Hugging Face merges windows.

    Each span, in order of its start, is compared with the last kept span. If it starts inside that span, only the
    longer of the two is kept. If both are equally long, the one with the higher score is kept.

    Two oddities are Hugging Face's. A dropped span is not restored if the span that it overlapped is dropped later,
    so entities can be lost. A first span of zero width is kept twice.

    Args:
        spans: Half-open spans with scores: ``(start, end, score)``.

    Returns:
        The positions in `spans` of the kept spans, ordered by start.

    >>> resolve_overlaps([(0, 20, 0.9), (12, 40, 0.8), (41, 45, 0.7)])
    [1, 2]
    """
    # The example above, in order of start:
    #
    #   (0, 20)    |-------------------|                            dropped: the next one is longer
    #   (12, 40)               |---------------------------|        kept
    #   (41, 45)                                            |---|   kept: it starts after the last kept span
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
    """Return one row for each token. In an overlap, a token is taken from the window whose edge is further away.

    The rows change from one window to the next at a word's start: the one nearest to the middle of the overlap.

    Returns:
        Pre-entities of a single window, whose `index` counts through the whole document.
    """
    # Two windows with the tokens 4 to 7 in common; ## marks a subword:
    #
    #                                   overlap
    #                                |-----------|
    #   window 1     0   1   2   3   4   5 ##6   7
    #   window 2                     4   5 ##6   7   8   9  10  11
    #                                    |   ^ the middle, which is inside a word
    #                                    ^ the start of a word that is nearest to it; if two are, the first
    #
    #   taken from   1   1   1   1   1   2   2   2   2   2   2   2
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
    """Return the position from which tokens are taken from the next window.

    Args:
        pre_entities: The tokens of all windows.
        position: int64[n_tokens], the position of each row's token in the document.
        rows: The rows of the next window.
        overlap_end: The position after the last token of the window before.
    """
    middle = (position[rows[0]] + overlap_end + 1) // 2
    in_overlap = position[rows] <= overlap_end
    word_starts = position[rows][in_overlap & ~pre_entities.is_subword[rows]]
    if len(word_starts) == 0:
        return int(middle)
    return int(word_starts[np.argmin(np.abs(word_starts - middle))])
