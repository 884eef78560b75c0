"""From tokens to entities: the aggregation strategies of Hugging Face's pipeline, over columns.

The rules are those of `transformers.TokenClassificationPipeline` 5.23, its oddities included. Where that class
walks over dicts, the functions here find the boundaries of words and groups in whole columns, and make Python
objects only for the entities that are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from transforms.documents import Entity
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities

ToString = Callable[[list[str]], str]
"""A tokenizer's `convert_tokens_to_string`."""

WINDOW_JOINS = ("entities", "tokens")


class AggregationStrategy(str, Enum):
    """How tokens become entities.

    ``none`` gives each token with its label. ``simple`` groups adjacent tokens of one tag. The others first
    give all tokens of a word one label, by its ``first`` token, by the ``average`` of its scores, or by the
    token with the ``max`` score, and then group words.
    """

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"

    @classmethod
    def parse(cls, value: str | AggregationStrategy) -> AggregationStrategy:
        """The strategy of this name, in any case; Hugging Face's own enum is understood too.

        Raises:
            ValueError: if there is none, naming those that there are.
        """
        name = value.value if isinstance(value, Enum) else value
        try:
            return cls(name.lower())
        except (ValueError, AttributeError):
            names = ", ".join(strategy.value for strategy in cls)
            raise ValueError(f"aggregation_strategy={name!r} is unknown; it is one of {names}") from None

    @property
    def by_word(self) -> bool:
        """Whether all tokens of a word get one label, which needs a fast tokenizer."""
        return self in (AggregationStrategy.FIRST, AggregationStrategy.AVERAGE, AggregationStrategy.MAX)


@dataclass(frozen=True, eq=False)
class Units:
    """Tokens or words, each with one label.

    Attributes:
        label: int64[n_units], class id.
        score: float[n_units], probability of the label.
        first: int64[n_units], the unit's first row in the pre-entities.
        stop: int64[n_units], the row after its last.
        opens_window: bool[n_units], true for the first unit of a window.
    """

    label: np.ndarray
    score: np.ndarray
    first: np.ndarray
    stop: np.ndarray
    opens_window: np.ndarray


def find_entities(
    pre_entities: PreEntities,
    strategy: AggregationStrategy,
    scheme: LabelScheme,
    to_string: ToString,
    *,
    ignore_labels: Collection[str] = (),
    window_join: str = "entities",
) -> list[Entity]:
    """The entities of one document.

    Args:
        pre_entities: The document's tokens.
        strategy: How tokens become entities.
        scheme: The labels of the model that scored the tokens.
        to_string: The tokenizer's way to render tokens as text.
        ignore_labels: Labels (``none``) or entity groups (else) that are dropped after grouping.
        window_join: What happens where windows overlap. ``entities``, as Hugging Face: each window is grouped
            alone, and of two overlapping entities the longer stays. ``tokens``: each token is taken from the
            window that sees more of its surroundings, and the document is grouped as a whole; this happens in
            any case for ``none`` and without offsets, where entities cannot be compared.

    Returns:
        Entities in order of their start (of their place among the tokens without offsets).
    """
    if pre_entities.num_windows > 1 and (
        window_join == "tokens" or strategy is AggregationStrategy.NONE or pre_entities.start is None
    ):
        pre_entities = join_windows(pre_entities)
    units = label_words(pre_entities, strategy) if strategy.by_word else label_tokens(pre_entities)
    ignore = frozenset(ignore_labels)
    if strategy is AggregationStrategy.NONE:
        return _token_entities(pre_entities, units, scheme, ignore)

    starts, stops = group_units(units, scheme)
    kept = ~scheme.ignored(ignore, grouped=True)[units.label[starts]]
    starts, stops = starts[kept], stops[kept]
    scores = group_scores(units, starts, stops)
    entities = [
        _entity(
            pre_entities,
            label=scheme.groups[units.label[start]],
            score=score,
            word=_word(pre_entities, units, start, stop, strategy, to_string),
            first=units.first[start],
            last=units.stop[stop - 1] - 1,
        )
        for start, stop, score in zip(starts.tolist(), stops.tolist(), scores.tolist(), strict=True)
    ]
    if pre_entities.num_windows > 1:
        survivors = resolve_overlaps([(entity.start or 0, entity.end or 0, entity.score) for entity in entities])
        return [entities[survivor] for survivor in survivors]
    return entities


def label_tokens(pre_entities: PreEntities) -> Units:
    """Each token with its best label."""
    rows = np.arange(len(pre_entities))
    label = _best(pre_entities.scores)
    return Units(
        label=label,
        score=pre_entities.scores[rows, label],
        first=rows,
        stop=rows + 1,
        opens_window=_opens_window(pre_entities),
    )


def label_words(pre_entities: PreEntities, strategy: AggregationStrategy) -> Units:
    """Each word with the label that the strategy gives it: ``first``, ``average`` or ``max``."""
    scores, total = pre_entities.scores, len(pre_entities)
    opens_window = _opens_window(pre_entities)
    first = (~pre_entities.is_subword | opens_window).nonzero()[0]
    stop = _stops(first, total)
    if strategy is AggregationStrategy.AVERAGE:
        word_scores = _segment_means(scores, first, stop)
    elif strategy is AggregationStrategy.MAX:
        word_scores = scores[_row_of_maximum(scores, first, stop)]
    else:
        word_scores = scores[first]
    label = _best(word_scores)
    return Units(
        label=label,
        score=word_scores[np.arange(len(first)), label],
        first=first,
        stop=stop,
        opens_window=opens_window[first],
    )


def group_units(units: Units, scheme: LabelScheme) -> tuple[np.ndarray, np.ndarray]:
    """Groups adjacent units of one tag; a unit that begins (``B-``) or opens a window starts a new group.

    Returns:
        First unit and unit after the last of each group: int64[n_groups] twice.
    """
    tag = scheme.tag[units.label]
    opens = scheme.begins[units.label] | units.opens_window
    opens[1:] |= tag[1:] != tag[:-1]
    opens[:1] = True
    starts = opens.nonzero()[0]
    return starts, _stops(starts, len(opens))


def group_scores(units: Units, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The score of each group of units, which is the mean of theirs: float[n_groups]."""
    return _segment_means(units.score, starts, stops)


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


def _stops(starts: np.ndarray, total: int) -> np.ndarray:
    """Where segments end that begin at these starts and cover everything up to `total`."""
    stops = np.empty_like(starts)
    stops[:-1] = starts[1:]
    stops[-1:] = total
    return stops


def _best(scores: np.ndarray) -> np.ndarray:
    return scores.argmax(axis=1) if scores.size else np.zeros(len(scores), np.int64)


def _opens_window(pre_entities: PreEntities) -> np.ndarray:
    opens = np.zeros(len(pre_entities), bool)
    if pre_entities.num_windows == 1:
        opens[:1] = True
    else:
        opens[pre_entities.window_starts[pre_entities.window_starts < len(pre_entities)]] = True
    return opens


def _segment_means(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Mean over axis 0 of each ``values[start:stop]``, NaN left out as `numpy.nanmean` does."""
    missing = np.isnan(values)
    if not missing.any():
        counts = (stops - starts).reshape(-1, *[1] * (values.ndim - 1))
        return (_segment_sums(values, starts, stops) / counts).astype(values.dtype, copy=False)
    sums = _segment_sums(np.where(missing, 0, values), starts, stops)
    present = _segment_sums((~missing).astype(np.int64), starts, stops)
    with np.errstate(invalid="ignore"):
        return (sums / present).astype(values.dtype, copy=False)


def _segment_sums(values: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Sum over axis 0 of each ``values[start:stop]``, in the order in which `numpy.sum` adds.

    Rounding decides between labels or spans of equal mean, so the order matters, and that of `reduceat` is another.
    """
    sums = values[starts]
    lengths = stops - starts
    if values.ndim == 1:
        pairs = (lengths == 2).nonzero()[0]
        sums[pairs] += values[starts[pairs] + 1]
        for segment in (lengths > 2).nonzero()[0].tolist():
            sums[segment] = values[starts[segment] : stops[segment]].sum()
        return sums
    longer = (lengths > 1).nonzero()[0]
    row = 1
    while len(longer):
        sums[longer] += values[starts[longer] + row]
        row += 1
        longer = longer[lengths[longer] > row]
    return sums


def _row_of_maximum(scores: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Row of the highest score in each ``scores[start:stop]``; the first of equals, as Python's `max` picks it."""
    if len(starts) == 0:
        return starts
    highest = scores.max(axis=1)
    missing = np.isnan(highest)
    if missing.any():  # to Python's max, nothing beats a NaN that comes first, and a later one beats nothing
        highest = np.where(missing, -np.inf, highest)
        highest[starts[missing[starts]]] = np.inf
    segment = np.repeat(np.arange(len(starts)), stops - starts)
    candidates = np.flatnonzero(highest == np.maximum.reduceat(highest, starts)[segment])
    return candidates[np.searchsorted(segment[candidates], np.arange(len(starts)))]


def _token_entities(
    pre_entities: PreEntities, units: Units, scheme: LabelScheme, ignore: frozenset[str]
) -> list[Entity]:
    dropped = scheme.ignored(ignore, grouped=False)[units.label]
    return [
        _entity(
            pre_entities,
            label=scheme.labels[units.label[row]],
            score=float(units.score[row]),
            word=pre_entities.words[row],
            first=row,
            last=row,
            index=int(pre_entities.index[row]),
        )
        for row in np.flatnonzero(~dropped).tolist()
    ]


def _word(
    pre_entities: PreEntities, units: Units, start: int, stop: int, strategy: AggregationStrategy, to_string: ToString
) -> str:
    """The group's word. Words are rendered one by one and then once more together, as Hugging Face does."""
    if not strategy.by_word:
        return to_string(pre_entities.words[units.first[start] : units.stop[stop - 1]].tolist())
    return to_string(
        [to_string(pre_entities.words[units.first[unit] : units.stop[unit]].tolist()) for unit in range(start, stop)]
    )


def _entity(
    pre_entities: PreEntities, *, label: str, score: float, word: str, first: int, last: int, index: int | None = None
) -> Entity:
    if pre_entities.start is None or pre_entities.end is None:
        return Entity(label, score, word, None, None, None, index)
    start, end = int(pre_entities.start[first]), int(pre_entities.end[last])
    return Entity(label, score, word, start, end, pre_entities.document.text[start:end], index)
