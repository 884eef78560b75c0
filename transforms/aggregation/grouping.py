"""Tokens to words, and words to groups, over columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    first, stop = _word_rows(pre_entities, opens_window)
    if strategy.scores == "all" and pre_entities.label is not None:
        raise ArgumentError(
            f"aggregation_strategy={strategy.value!r}: requires the scores of all labels; expected scores='all', not"
            " 'best'"
        )
    token_label, token_score = pre_entities.best()
    rows = row_of_maximum(token_score, first, stop) if strategy is AggregationStrategy.MAX else first
    label, score = token_label[rows], token_score[rows]
    if strategy is AggregationStrategy.AVERAGE:
        for words, means in _means_of_longer_words(pre_entities.scores, first, stop):
            label[words], score[words] = best_of(means)
    return Units(label=label, score=score, first=first, stop=stop, opens_window=opens_window[first])


def decode_units(
    pre_entities: PreEntities, strategy: AggregationStrategy, decode: Callable[[np.ndarray], np.ndarray]
) -> Units:
    """Return tokens, or words for the strategies by word, as units with the labels of one decoded sequence.

    A word's probabilities are those that the strategy looks at: of its ``first`` token, the ``average`` of its tokens,
    or of its token with the ``max`` score. A unit's score is the probability of its decoded label.

    Args:
        pre_entities: The tokens of a single window, with the scores of all labels.
        strategy: The aggregation strategy.
        decode: Returns class ids for float[n_units, n_labels].

    Raises:
        ArgumentError: if only the best scores were kept.
    """
    if pre_entities.label is not None:
        raise ArgumentError("decoding='viterbi': requires the scores of all labels; expected scores='all'")
    opens_window = window_openings(pre_entities)
    scores = pre_entities.scores
    if strategy.by_word:
        first, stop = _word_rows(pre_entities, opens_window)
        is_max = strategy is AggregationStrategy.MAX
        probabilities = scores[row_of_maximum(pre_entities.best()[1], first, stop) if is_max else first]
        if strategy is AggregationStrategy.AVERAGE:
            for words, means in _means_of_longer_words(scores, first, stop):
                probabilities[words] = means
    else:
        first = np.arange(len(pre_entities))
        stop, probabilities = first + 1, scores
    label = decode(probabilities)
    score = probabilities[np.arange(len(label)), label]
    return Units(label=label, score=score, first=first, stop=stop, opens_window=opens_window[first])


def _word_rows(pre_entities: PreEntities, opens_window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each word, and the row after its last: int64[n_words] each."""
    first = (~pre_entities.is_subword | opens_window).nonzero()[0]
    return first, stops_of(first, len(pre_entities))


def _means_of_longer_words(
    scores: np.ndarray, first: np.ndarray, stop: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the numbers of words of several tokens, a part of them at a time, with their mean scores."""
    longer = (stop - first > 1).nonzero()[0]
    for words in np.array_split(longer, 1 + len(longer) // _WORDS_AT_ONCE):
        yield words, segment_means(scores, first[words], stop[words])


def group_units(units: Units, scheme: LabelScheme, joined: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Groups adjacent units with the same tag.

    A group also starts at a label that begins one, after a label that ends one, and at the first unit of a window.

    Args:
        units: The units.
        scheme: The columns of their labels.
        joined: bool[n_units], true for units that continue a group of the same tag even if their label begins one, or
            the label before ends one. None is false for all.

    Returns:
        The first unit of each group, and the unit after its last: int64[n_groups] each.
    """
    tag = scheme.tag[units.label]
    opens = scheme.begins[units.label].copy()
    opens[1:] |= scheme.ends[units.label[:-1]]
    if joined is not None:
        opens &= ~joined
    opens[1:] |= tag[1:] != tag[:-1]
    opens |= units.opens_window
    opens[:1] = True
    starts = opens.nonzero()[0]
    return starts, stops_of(starts, len(opens))


def follows_white_space(pre_entities: PreEntities, units: Units) -> np.ndarray:
    """Return whether only white space, or nothing, is between each unit and the one before: bool[n_units].

    Without offsets, this is true for all units.
    """
    joined = np.ones(len(units.label), bool)
    if pre_entities.start is None or pre_entities.end is None:
        return joined
    text = pre_entities.document.text
    ends = pre_entities.end[units.stop[:-1] - 1]
    starts = pre_entities.start[units.first[1:]]
    for row in np.flatnonzero(starts > ends).tolist():
        joined[row + 1] = not text[ends[row] : starts[row]].strip()
    return joined


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
