"""The single steps of transformers' `TokenClassificationPipeline`, as methods that can be called one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transforms.aggregation.grouping import Units, group_scores, group_units, label_words
from transforms.aggregation.overlaps import resolve_overlaps
from transforms.aggregation.rules import EntityRules
from transforms.aggregation.strategies import AggregationStrategy
from transforms.documents import Entity
from transforms.labels import LabelScheme, dense_labels, get_tag
from transforms.pre_entities import PreEntities
from transforms.tokenization.tokenizer import Tokenization


class PipelineSteps:
    """The methods of Hugging Face's pipeline. Their arguments and results are lists of dicts.

    Attributes:
        tokenization: The tokenizer.
        id2label: The label of each class id.
    """

    tokenization: Tokenization
    id2label: Mapping[int, str]
    _rules: EntityRules
    _calibration: str | None

    def gather_pre_entities(
        self,
        sentence: str,
        input_ids: Any,
        scores: Any,
        offset_mapping: Any,
        special_tokens_mask: Any,
        aggregation_strategy: str | AggregationStrategy = "none",
        word_ids: Sequence[int | None] | None = None,
        word_to_chars_map: Sequence[tuple[int, int]] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the tokens of one window as pre-entities, without special tokens.

        The columns in the arguments include special tokens.

        Args:
            sentence: The text.
            input_ids: [n_tokens], the ids.
            scores: [n_tokens, n_labels], the probability of each label.
            offset_mapping: [n_tokens, 2], the character range of each token; or None.
            special_tokens_mask: [n_tokens], true for special tokens.
            aggregation_strategy: Ignored; it does not affect the result.
            word_ids: [n_tokens], the number of each token's word, if the text was given as words.
            word_to_chars_map: The character range of each word, if the text was given as words. Its start is added to
                the offsets.
        """
        rows = np.flatnonzero(~np.asarray(special_tokens_mask).astype(bool)[: len(scores)])
        ids = np.asarray(input_ids, np.int64)[rows]
        start = end = None
        if offset_mapping is not None:
            offsets = np.array([[int(start), int(end)] for start, end in offset_mapping], np.int64).reshape(-1, 2)[rows]
            if word_ids is not None and word_to_chars_map is not None:
                words = [word_ids[row] for row in rows.tolist()]
                offsets += np.array([[0 if word is None else word_to_chars_map[word][0]] for word in words], np.int64)
            start, end = offsets[:, 0], offsets[:, 1]
        words_column, is_subword = self.tokenization.words_and_subwords(sentence, ids, start, end)
        return PreEntities(
            scores=np.asarray(scores)[rows],
            words=words_column,
            start=start,
            end=end,
            index=rows,
            is_subword=is_subword,
        ).to_dicts()

    def aggregate(
        self, pre_entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> list[dict[str, Any]]:
        """Return the entities of pre-entities. No label is left out, not even ``O``."""
        rules = self._rules.changed(aggregation_strategy=aggregation_strategy, ignore_labels=(), min_score=0.0)
        columns = PreEntities.from_dicts(pre_entities)
        return [as_dict(entity, rules.strategy) for entity in self._entities(columns, rules)]

    def aggregate_words(
        self, entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> list[dict[str, Any]]:
        """Return the words of pre-entities, with one label for each word.

        Raises:
            ValueError: if the strategy is ``none`` or ``simple``.
        """
        strategy = AggregationStrategy.parse(aggregation_strategy)
        if not strategy.by_word:
            raise ValueError("NONE and SIMPLE strategies are invalid for word aggregation")
        columns = PreEntities.from_dicts(entities)
        labels = dense_labels(self.id2label, columns.scores.shape[1])
        units = label_words(columns, strategy)
        return [
            {
                "entity": labels[label],
                "score": score,
                "word": self.tokenization.to_string(columns.words[first:stop].tolist()),
                "start": None if columns.start is None else int(columns.start[first]),
                "end": None if columns.end is None else int(columns.end[stop - 1]),
            }
            for label, score, first, stop in zip(
                units.label.tolist(), units.score.tolist(), units.first.tolist(), units.stop.tolist(), strict=True
            )
        ]

    def aggregate_word(
        self, entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> dict[str, Any]:
        """Return one word with one label, from the pre-entities of its tokens."""
        first, *others = entities
        tokens = [{**first, "is_subword": False}, *({**other, "is_subword": True} for other in others)]
        return self.aggregate_words(tokens, aggregation_strategy)[0]

    def group_entities(self, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups adjacent entities (``entity, score, word, start, end``) with the same tag."""
        labels = tuple(dict.fromkeys(entity["entity"] for entity in entities))
        scheme = LabelScheme.of(labels)
        rows = np.arange(len(entities))
        units = Units(
            label=np.array([labels.index(entity["entity"]) for entity in entities], np.int64),
            score=np.array([entity["score"] for entity in entities]),
            first=rows,
            stop=rows + 1,
            opens_window=np.zeros(len(entities), bool),
        )
        starts, stops = group_units(units, scheme)
        scores = group_scores(units, starts, stops)
        return [
            {
                "entity_group": scheme.groups[units.label[start]],
                "score": score,
                "word": self.tokenization.to_string([entity["word"] for entity in entities[start:stop]]),
                "start": entities[start]["start"],
                "end": entities[stop - 1]["end"],
            }
            for start, stop, score in zip(starts.tolist(), stops.tolist(), scores.tolist(), strict=True)
        ]

    def group_sub_entities(self, entities: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one group of all entities, named after the first."""
        label = entities[0]["entity"]
        same = [{**entity, "entity": f"I-{get_tag(label)[1]}"} for entity in entities]
        return {**self.group_entities(same)[0], "entity_group": LabelScheme.of([label]).groups[0]}

    def get_tag(self, entity_name: str) -> tuple[str, str]:
        """Return the prefix (``B`` or ``I``) and the tag of a label."""
        return get_tag(entity_name)

    def aggregate_overlapping_entities(self, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Merges the entities of overlapping windows; see `transforms.aggregation.overlaps.resolve_overlaps`."""
        spans = [(entity["start"], entity["end"], entity["score"]) for entity in entities]
        return [entities[survivor] for survivor in resolve_overlaps(spans)]

    def _entities(self, pre_entities: PreEntities, rules: EntityRules) -> list[Entity]:
        num_labels = pre_entities.scores.shape[1] if pre_entities.label is None else len(pre_entities.model.labels)
        labels = dense_labels(self.id2label, num_labels)
        return rules.entities(pre_entities, labels, self._calibration, self.tokenization.to_string)


def as_dict(entity: Entity, strategy: AggregationStrategy) -> dict[str, Any]:
    """Return an entity as Hugging Face's dict."""
    if strategy is AggregationStrategy.NONE:
        return {
            "entity": entity.label,
            "score": entity.score,
            "index": entity.index,
            "word": entity.word,
            "start": entity.start,
            "end": entity.end,
        }
    return {
        "entity_group": entity.label,
        "score": entity.score,
        "word": entity.word,
        "start": entity.start,
        "end": entity.end,
    }
