"""Tokens to words, and words to groups, over columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.aggregation.segments import row_of_maximum, segment_means, stops_of
from transforms.aggregation.strategies import AggregationStrategy
from transforms.errors import ArgumentError
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities, best_of

_WORDS_AT_ONCE = 1 << 16  # words that are averaged at a time, so that a large document's scores are not all copied


@dataclass(frozen=True, eq=False)
class Units:
    """Tokens or words, each with one label.

    Attributes:
        label: int64[n_units], class id.
        score: float[n_units], probability of the label.
        first: int64[n_units], the unit's first row in the pre-entities.
        stop: int64[n_units], the row after the unit's last row.
        opens_window: bool[n_units], true for the first unit of a window.
    """

    label: np.ndarray
    score: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    opens_window: np.ndarray


def label_tokens(pre_entities: PreEntities) -> Units:
    """Return each token as a unit with its best label."""
    rows = np.arange(len(pre_entities))
    label, score = pre_entities.best()
    return Units(label=label, score=score, first=rows, stop=rows + 1, opens_window=window_openings(pre_entities))


def label_words(pre_entities: PreEntities, strategy: AggregationStrategy) -> Units:
    """Return each word as a unit with the label that the strategy selects: ``first``, ``average`` or ``max``.

    Raises:
        ValueError: if the strategy needs the scores of all labels, but only the best were kept.
    """
    opens_window = window_openings(pre_entities)
    first = (~pre_entities.is_subword | opens_window).nonzero()[0]
    stop = stops_of(first, len(pre_entities))
    if strategy.scores == "all" and pre_entities.label is not None:
        raise ArgumentError(
            f"aggregation_strategy={strategy.value!r} needs the scores of all labels, and scores='best' keeps one"
        )
    token_label, token_score = pre_entities.best()
    speaking = row_of_maximum(token_score, first, stop) if strategy is AggregationStrategy.MAX else first
    label, score = token_label[speaking], token_score[speaking]
    if strategy is AggregationStrategy.AVERAGE:
        longer = (stop - first > 1).nonzero()[0]
        for some in np.array_split(longer, 1 + len(longer) // _WORDS_AT_ONCE):
            label[some], score[some] = best_of(segment_means(pre_entities.scores, first[some], stop[some]))
    return Units(label=label, score=score, first=first, stop=stop, opens_window=opens_window[first])


def group_units(units: Units, scheme: LabelScheme) -> tuple[np.ndarray, np.ndarray]:
    """Groups adjacent units with the same tag.

    A group also starts at a label that begins one, after a label that ends one, and at the first unit of a window.

    Returns:
        The first unit of each group, and the unit after its last: int64[n_groups] each.
    """
    tag = scheme.tag[units.label]
    opens = scheme.begins[units.label] | units.opens_window
    opens[1:] |= (tag[1:] != tag[:-1]) | scheme.ends[units.label[:-1]]
    opens[:1] = True
    starts = opens.nonzero()[0]
    return starts, stops_of(starts, len(opens))


def group_scores(units: Units, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Return the score of each group, which is the mean of its units' scores: float[n_groups]."""
    scores = units.score[starts]
    longer = (stops - starts > 1).nonzero()[0]
    scores[longer] = segment_means(units.score, starts[longer], stops[longer])
    return scores


def window_openings(pre_entities: PreEntities) -> np.ndarray:
    """Return whether each token is the first of a window: bool[n_tokens]."""
    opens = np.zeros(len(pre_entities), bool)
    if pre_entities.num_windows == 1:
        opens[:1] = True
    else:
        opens[pre_entities.window_starts[pre_entities.window_starts < len(pre_entities)]] = True
    return opens
