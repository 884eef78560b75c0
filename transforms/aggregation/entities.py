"""From tokens to entities: the aggregation strategies of Hugging Face's pipeline, over columns.

The rules are those of `transformers.TokenClassificationPipeline` 5.23, including its oddities. That class iterates
over dicts. The functions here find the boundaries of words and groups in whole columns, and create Python objects only
for the entities that are returned.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np

from transforms.aggregation.grouping import (
    Units,
    decode_units,
    follows_white_space,
    group_scores,
    group_units,
    label_tokens,
    label_words,
)
from transforms.aggregation.overlaps import join_windows, resolve_overlaps
from transforms.aggregation.strategies import AggregationStrategy
from transforms.documents import Entity
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities

ToString = Callable[[list[str]], str]
"""A tokenizer's `convert_tokens_to_string`."""


def find_entities(
    pre_entities: PreEntities,
    strategy: AggregationStrategy,
    scheme: LabelScheme,
    to_string: ToString,
    *,
    ignore_labels: Collection[str] = (),
    window_join: str = "entities",
    decode: Callable[[np.ndarray], np.ndarray] | None = None,
    join_adjacent: bool = False,
    split_lines: bool = False,
) -> list[Entity]:
    """Return the entities of one document.

    Args:
        pre_entities: The document's tokens.
        strategy: The aggregation strategy.
        scheme: The labels of the model that scored the tokens.
        to_string: The tokenizer's function that renders tokens as text.
        ignore_labels: Labels (``none``) or entity groups (other strategies) to drop after grouping.
        window_join: The rule for overlapping windows. ``entities``, as in Hugging Face: each window is grouped alone,
            and of two overlapping entities the longer is kept. ``tokens``: each token is taken from the window with
            more context around it, and the document is grouped as a whole. ``tokens`` always applies to the strategy
            ``none``, to tokens without offsets, because their entities cannot be compared, to decoded sequences, and
            to joined groups.
        decode: Chooses the labels of a sequence of units; see `transforms.aggregation.grouping.decode_units`. None
            leaves each unit its best label.
        join_adjacent: Whether neighbouring groups of one type become one, if only white space is between them. Not for
            ``none``.
        split_lines: Whether a group is split where a line ends. The parts have no white space around them. Not for
            ``none``.

    Returns:
        The entities in order of their start; without offsets, in order of their tokens.
    """
    if not len(pre_entities):
        return []
    if pre_entities.num_windows > 1 and (
        window_join == "tokens"
        or join_adjacent
        or strategy is AggregationStrategy.NONE
        or pre_entities.start is None
        or decode is not None
    ):
        pre_entities = join_windows(pre_entities)
    if decode is not None:
        units = decode_units(pre_entities, strategy, decode)
    else:
        units = label_words(pre_entities, strategy) if strategy.by_word else label_tokens(pre_entities)
    ignore = frozenset(ignore_labels)
    if strategy is AggregationStrategy.NONE:
        return _token_entities(pre_entities, units, scheme, ignore)

    starts, stops = group_units(units, scheme, follows_white_space(pre_entities, units) if join_adjacent else None)
    kept = ~scheme.ignored(ignore, grouped=True)[units.label[starts]]
    starts, stops = starts[kept], stops[kept]
    entities = _group_entities(pre_entities, units, starts, stops, scheme, strategy, to_string)
    if split_lines and pre_entities.start is not None:
        entities = [
            part
            for entity, begin, end in zip(entities, starts.tolist(), stops.tolist(), strict=True)
            for part in _lines(entity, pre_entities, units, slice(begin, end), strategy, to_string)
        ]
    if pre_entities.num_windows > 1:
        survivors = resolve_overlaps([(entity.start or 0, entity.end or 0, entity.score) for entity in entities])
        return [entities[survivor] for survivor in survivors]
    return entities


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


def _lines(
    entity: Entity,
    pre_entities: PreEntities,
    units: Units,
    group: slice,
    strategy: AggregationStrategy,
    to_string: ToString,
) -> list[Entity]:
    """Return the parts of an entity on each line of the text; the entity itself if no line ends in it.

    Args:
        entity: The entity.
        pre_entities: The document's tokens, with offsets.
        units: The units.
        group: The units of the entity.
        strategy: The aggregation strategy.
        to_string: The tokenizer's function that renders tokens as text.
    """
    text = entity.text or ""
    if text.splitlines() in ([], [text]):  # no text, or no end of a line in it
        return [entity]
    parts = []
    at = entity.start or 0
    for line in text.splitlines(keepends=True):
        start = at + len(line) - len(line.lstrip())
        end = start + len(line.strip())
        at += len(line)
        if start == end:
            continue
        words: list[str] = []
        scores: list[float] = []
        for first, stop, score in zip(
            units.first[group].tolist(), units.stop[group].tolist(), units.score[group].tolist(), strict=True
        ):
            starts, ends = pre_entities.start[first:stop], pre_entities.end[first:stop]  # type: ignore[index]
            tokens = pre_entities.words[first:stop][(starts < end) & (ends > start)].tolist()
            if tokens:
                scores.append(score)
                words.extend([to_string(tokens)] if strategy.by_word else tokens)
        parts.append(
            replace(
                entity,
                score=float(np.mean(scores)) if scores else entity.score,
                word=to_string(words),
                start=start,
                end=end,
                text=line.strip(),
            )
        )
    return parts


def _group_words(
    pre_entities: PreEntities,
    units: Units,
    starts: np.ndarray,
    stops: np.ndarray,
    strategy: AggregationStrategy,
    to_string: ToString,
) -> list[str]:
    """Return the word of each group.

    The strategies by word first render each word, and then render the results together, as Hugging Face does.
    """
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
    """Return entities from columns; `first` and `last` are the rows of each entity's first and last token."""
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
