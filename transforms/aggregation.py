"""From tokens to entities: the aggregation strategies of Hugging Face's pipeline, over columns.

The rules are those of `transformers.TokenClassificationPipeline` 5.23, its oddities included. Where that class
walks over dicts, the functions here find the boundaries of words and groups in whole columns, and make Python
objects only for the entities that are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import numpy as np

from transforms.documents import Entity
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities, best_of
from transforms.segments import row_of_maximum, segment_means, stops_of

ToString = Callable[[list[str]], str]
"""A tokenizer's `convert_tokens_to_string`."""

WINDOW_JOINS = ("entities", "tokens")

_WORDS_AT_ONCE = 1 << 16  # whose scores are averaged together: of a large document's, there are no copies


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

    @property
    def scores(self) -> str:
        """Which scores of a token it looks at, one of `transforms.pre_entities.SCORES`."""
        return "all" if self is AggregationStrategy.AVERAGE else "best"


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
    if not len(pre_entities):
        return []
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
    entities = _group_entities(pre_entities, units, starts[kept], stops[kept], scheme, strategy, to_string)
    if pre_entities.num_windows > 1:
        survivors = resolve_overlaps([(entity.start or 0, entity.end or 0, entity.score) for entity in entities])
        return [entities[survivor] for survivor in survivors]
    return entities


def label_tokens(pre_entities: PreEntities) -> Units:
    """Each token with its best label."""
    rows = np.arange(len(pre_entities))
    label, score = pre_entities.best()
    return Units(label=label, score=score, first=rows, stop=rows + 1, opens_window=_opens_window(pre_entities))


def label_words(pre_entities: PreEntities, strategy: AggregationStrategy) -> Units:
    """Each word with the label that the strategy gives it: ``first``, ``average`` or ``max``.

    Raises:
        ValueError: if the strategy needs the scores of all labels, and they were not kept.
    """
    opens_window = _opens_window(pre_entities)
    first = (~pre_entities.is_subword | opens_window).nonzero()[0]
    stop = stops_of(first, len(pre_entities))
    if strategy.scores == "all" and pre_entities.label is not None:
        raise ValueError(
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
    """Groups adjacent units of one tag; a unit that begins (``B-``) or opens a window starts a new group.

    Returns:
        First unit and unit after the last of each group: int64[n_groups] twice.
    """
    tag = scheme.tag[units.label]
    opens = scheme.begins[units.label] | units.opens_window
    opens[1:] |= tag[1:] != tag[:-1]
    opens[:1] = True
    starts = opens.nonzero()[0]
    return starts, stops_of(starts, len(opens))


def group_scores(units: Units, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """The score of each group of units, which is the mean of theirs: float[n_groups]."""
    scores = units.score[starts]
    longer = (stops - starts > 1).nonzero()[0]
    scores[longer] = segment_means(units.score, starts[longer], stops[longer])
    return scores


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


def _opens_window(pre_entities: PreEntities) -> np.ndarray:
    opens = np.zeros(len(pre_entities), bool)
    if pre_entities.num_windows == 1:
        opens[:1] = True
    else:
        opens[pre_entities.window_starts[pre_entities.window_starts < len(pre_entities)]] = True
    return opens


def _token_entities(
    pre_entities: PreEntities, units: Units, scheme: LabelScheme, ignore: frozenset[str]
) -> list[Entity]:
    rows = np.flatnonzero(~scheme.ignored(ignore, grouped=False)[units.label])
    return _entities(
        pre_entities,
        labels=[scheme.labels[label] for label in units.label[rows].tolist()],
        scores=units.score[rows].tolist(),
        words=pre_entities.words[rows].tolist(),
        first=rows,
        last=rows,
        index=pre_entities.index[rows].tolist(),
    )


def _group_entities(
    pre_entities: PreEntities,
    units: Units,
    starts: np.ndarray,
    stops: np.ndarray,
    scheme: LabelScheme,
    strategy: AggregationStrategy,
    to_string: ToString,
) -> list[Entity]:
    if len(starts) == 0:
        return []
    return _entities(
        pre_entities,
        labels=[scheme.groups[label] for label in units.label[starts].tolist()],
        scores=group_scores(units, starts, stops).tolist(),
        words=_group_words(pre_entities, units, starts, stops, strategy, to_string),
        first=units.first[starts],
        last=units.stop[stops - 1] - 1,
    )


def _group_words(
    pre_entities: PreEntities,
    units: Units,
    starts: np.ndarray,
    stops: np.ndarray,
    strategy: AggregationStrategy,
    to_string: ToString,
) -> list[str]:
    """The word of each group. Words are rendered one by one and then once more together, as Hugging Face does."""
    groups = zip(starts.tolist(), stops.tolist(), strict=True)
    words, first, stop = pre_entities.words, units.first, units.stop
    if not strategy.by_word:
        return [to_string(words[first[begin] : stop[end - 1]].tolist()) for begin, end in groups]
    return [
        to_string(
            [
                to_string(words[start:end_of_word].tolist())
                for start, end_of_word in zip(first[begin:end].tolist(), stop[begin:end].tolist(), strict=True)
            ]
        )
        for begin, end in groups
    ]


def _entities(
    pre_entities: PreEntities,
    *,
    labels: list[str],
    scores: list[float],
    words: list[str],
    first: np.ndarray,
    last: np.ndarray,
    index: list[int] | None = None,
) -> list[Entity]:
    """Entities from columns; `first` and `last` are the rows of each one's first and last token."""
    indices: list[Any] = index or [None] * len(labels)
    if pre_entities.start is None or pre_entities.end is None:
        return [
            Entity(label, score, word, None, None, None, at)
            for label, score, word, at in zip(labels, scores, words, indices, strict=True)
        ]
    text = pre_entities.document.text
    starts, ends = pre_entities.start[first].tolist(), pre_entities.end[last].tolist()
    return [
        Entity(label, score, word, start, end, text[start:end], at)
        for label, score, word, start, end, at in zip(labels, scores, words, starts, ends, indices, strict=True)
    ]
