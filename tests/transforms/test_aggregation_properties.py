"""What holds for any tokens: the entities of transformers' own pipeline, in order, in the text."""

from __future__ import annotations

import itertools
import math
import types
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import TokenClassificationPipeline
from transformers.pipelines import token_classification

from transforms.aggregation.entities import find_entities
from transforms.aggregation.grouping import label_words
from transforms.aggregation.overlaps import join_windows, resolve_overlaps
from transforms.aggregation.settings import WindowJoin
from transforms.aggregation.strategies import AggregationStrategy
from transforms.documents import Document, Entity
from transforms.inference.windows import window_bounds
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities, best_of, object_column

SCHEMES = [
    ("O", "PER"),
    ("O", "B-PER", "I-PER"),
    ("B-PER", "I-PER", "PER", "O"),
    ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-air-port", "I-air-port"),
    ("O", "NOUN", "VERB", "ADP", "noun"),
    ("O", "B-PER", "I-PER", "E-PER", "S-PER", "I-E-PER", "per", "-x", "B-"),
    ("LABEL_0", "LABEL_1", "LABEL_2"),
    ("", "-", "B-", "I-", "B--", "x-y-z"),
    ("O", "B-per", "I-PER", "B-PER", "I-per", "Per", "o"),
    ("O", "B-PER", "I-PER", "E-PER", "S-PER", "B-LOC", "I-LOC", "E-LOC", "S-LOC"),  # BIOES, or IOBES
    ("O", "B-PER", "I-PER", "L-PER", "U-PER"),  # BILOU
    ("O", "LABEL_1", "B-PER", "LABEL_3", "I-PER"),  # gaps in id2label
]
DYADIC = [number / 16 for number in range(17)]
"""Scores whose sums are exact, so that equal means are equal however they are added up."""
TENTHS = [number / 10 for number in range(11)]
"""Scores whose sums are not."""

PROPERTY = settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.too_slow])
STRATEGIES = st.sampled_from(list(AggregationStrategy))
GROUPING = st.sampled_from([strategy for strategy in AggregationStrategy if strategy is not AggregationStrategy.NONE])
BY_WORD = st.sampled_from([strategy for strategy in AggregationStrategy if strategy.by_word])

Dicts = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="invalid value encountered", category=RuntimeWarning)
        yield


def to_string(tokens: list[str]) -> str:
    return " ".join(tokens).replace(" ##", "")


def hugging_face(labels: Sequence[str]) -> TokenClassificationPipeline:
    """Transformers' pipeline with nothing in it but its methods and these labels."""
    pipeline = object.__new__(TokenClassificationPipeline)
    pipeline.tokenizer = types.SimpleNamespace(convert_tokens_to_string=to_string)
    config = types.SimpleNamespace(id2label=dict(enumerate(labels)))
    pipeline.model = types.SimpleNamespace(config=config)
    return pipeline


def their_entities(windows: list[Dicts], labels: Sequence[str], strategy: str, ignore: Sequence[str]) -> Dicts:
    """What `postprocess` makes of windows of pre-entities."""
    pipeline = hugging_face(labels)
    gathered = iter(windows)
    pipeline.gather_pre_entities = lambda *_, **__: next(gathered)
    nothing = torch.zeros(1, 1, 1)
    output = {
        "logits": nothing, "sentence": "", "input_ids": [0], "offset_mapping": None, "special_tokens_mask": nothing,
    }  # fmt: skip
    strategy = token_classification.AggregationStrategy(strategy)
    return pipeline.postprocess([output] * len(windows), strategy, list(ignore))


def as_dict(entity: Entity, strategy: AggregationStrategy) -> dict[str, Any]:
    row = {"score": entity.score, "word": entity.word, "start": entity.start, "end": entity.end}
    if strategy is AggregationStrategy.NONE:
        return {**row, "entity": entity.label, "index": entity.index}
    assert entity.index is None
    return {**row, "entity_group": entity.label}


def assert_same(ours: list[Entity], theirs: Dicts, strategy: AggregationStrategy) -> None:
    expected = [{**entity, "score": pytest.approx(float(entity["score"]), abs=1e-6, nan_ok=True)} for entity in theirs]
    assert [as_dict(entity, strategy) for entity in ours] == expected


@dataclass(frozen=True)
class Case:
    """A text's tokens and the labels that they were scored for."""

    labels: tuple[str, ...]
    rows: Dicts
    text: str

    @property
    def columns(self) -> PreEntities:
        return replace(PreEntities.from_dicts(self.rows), document=Document("doc", self.text))

    @property
    def scheme(self) -> LabelScheme:
        return LabelScheme.of(self.labels)


@st.composite
def score_rows(
    draw: st.DrawFn, num_tokens: int, num_labels: int, ties: list[list[float]], with_nan: bool
) -> np.ndarray:
    """float32[num_tokens, num_labels]: full of ties, or with none at all; some may be NaN or infinite."""
    shape = (num_tokens, num_labels)
    if draw(st.booleans()):
        scores = draw(arrays(np.float32, shape, elements=st.sampled_from(draw(st.sampled_from(ties)))))
    else:
        logits = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).normal(0, 3, shape)
        scores = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    if with_nan and draw(st.booleans()):
        scores[draw(arrays(bool, num_tokens))] = np.nan
        for value in draw(st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), max_size=2)):
            scores[draw(arrays(bool, shape))] = value
    return scores


@st.composite
def cases(draw: st.DrawFn, min_tokens: int = 1, max_tokens: int = 40, with_nan: bool = True) -> Case:
    labels = draw(st.sampled_from(SCHEMES))
    num_tokens = draw(st.integers(min_tokens, max_tokens))
    per_token = {"min_size": num_tokens, "max_size": num_tokens}
    scores = draw(score_rows(num_tokens, len(labels), [DYADIC, TENTHS], with_nan))
    words = draw(st.lists(st.sampled_from(["an", "##n", "Zoë", "[UNK]", "##", " ", ""]), **per_token))
    is_subword = draw(st.lists(st.booleans(), **per_token))
    gaps = draw(st.lists(st.integers(0, 2), **per_token))
    widths = draw(st.lists(st.integers(0, 3), **per_token))
    rows, start = [], 0
    for index, (gap, width) in enumerate(zip(gaps, widths, strict=True)):
        start += gap
        rows.append(
            {
                "word": words[index],
                "scores": scores[index],
                "start": start,
                "end": start + width,
                "index": index + 1,
                "is_subword": is_subword[index],
            }
        )
        start += width
    text = "".join(itertools.islice(itertools.cycle("an Zoë\u0301 👍🏽."), start + draw(st.integers(0, 2))))
    return Case(labels, rows, text)


def names(case: Case) -> st.SearchStrategy[list[str]]:
    """Labels and groups of the case, and some that are not."""
    return st.lists(st.sampled_from([*case.labels, *case.scheme.groups, "MISC", "B-PER"]), max_size=3)


@PROPERTY
@given(st.data(), cases(), STRATEGIES)
def test_entities_are_those_of_transformers(data: st.DataObject, case: Case, strategy: AggregationStrategy) -> None:
    ignore = data.draw(names(case))
    ours = find_entities(case.columns, strategy, case.scheme, to_string, ignore_labels=ignore)
    assert_same(ours, their_entities([case.rows], case.labels, strategy.value, ignore), strategy)


@PROPERTY
@given(cases(), STRATEGIES)
def test_entities_without_offsets_are_those_of_transformers(case: Case, strategy: AggregationStrategy) -> None:
    rows = [{**row, "start": None, "end": None} for row in case.rows]
    ours = find_entities(PreEntities.from_dicts(rows), strategy, case.scheme, to_string)
    assert_same(ours, their_entities([rows], case.labels, strategy.value, []), strategy)


@PROPERTY
@given(st.data(), cases(with_nan=False), STRATEGIES, st.sampled_from(get_args(WindowJoin)))
def test_but_for_averages_the_best_scores_are_enough(
    data: st.DataObject, case: Case, strategy: AggregationStrategy, window_join: str
) -> None:
    window_starts = np.array(sorted({0, *data.draw(st.lists(st.integers(0, len(case.rows) - 1), max_size=2))}))
    columns = replace(case.columns, window_starts=window_starts, window_offsets=window_starts // 2)
    label, score = best_of(columns.scores)
    best = replace(columns, scores=score[:, None], label=label.astype(np.uint8))
    arguments: Any = (strategy, case.scheme, to_string)
    if strategy.scores == "best":
        expected = find_entities(columns, *arguments, window_join=window_join)
        assert find_entities(best, *arguments, window_join=window_join) == expected
    else:
        with pytest.raises(ValueError, match="'average': requires the scores of all labels"):
            find_entities(best, *arguments, window_join=window_join)


@pytest.mark.parametrize("num_tokens", [3, 9, 33])
def test_averages_are_rounded_as_those_of_transformers(num_tokens: int) -> None:
    """Two labels whose means are equal but for the order of their summands: rounding names the word."""
    generator = np.random.default_rng(0)
    pipeline = hugging_face(["B-PER", "I-LOC"])
    strategy = token_classification.AggregationStrategy.AVERAGE
    for _ in range(200):
        column = generator.integers(0, 6, num_tokens) / 10
        scores = np.stack([column, generator.permutation(column)], axis=1).astype(np.float32)
        rows = [
            {"word": "a", "scores": row, "start": 0, "end": 1, "index": index, "is_subword": index > 0}
            for index, row in enumerate(scores)
        ]
        (theirs,) = pipeline.aggregate_words(rows, strategy)
        units = label_words(PreEntities.from_dicts(rows), AggregationStrategy.AVERAGE)
        assert ["B-PER", "I-LOC"][units.label[0]] == theirs["entity"], scores.tolist()


@pytest.mark.parametrize("num_tokens", [3, 9, 33])
def test_means_of_groups_are_rounded_as_those_of_transformers(num_tokens: int) -> None:
    """Two windows give one span two labels of equal mean score: rounding says which stays."""
    generator = np.random.default_rng(0)
    labels, strategy = ("PER", "LOC"), AggregationStrategy.SIMPLE
    for _ in range(100):
        column = generator.integers(5, 10, num_tokens) / 10
        scores = np.zeros((2, num_tokens, 2), np.float32)
        scores[0, :, 0], scores[1, :, 1] = column, generator.permutation(column)
        windows = [
            [
                {"word": "a", "scores": row, "start": index, "end": index + 1, "index": index, "is_subword": False}
                for index, row in enumerate(of_window)
            ]
            for of_window in scores
        ]
        columns = replace(
            PreEntities.from_dicts(windows[0] + windows[1]),
            window_starts=np.array([0, num_tokens]),
            window_offsets=np.array([0, 0]),
        )
        ours = find_entities(columns, strategy, LabelScheme.of(labels), to_string)
        (theirs,) = their_entities(windows, labels, strategy.value, [])
        assert [entity.label for entity in ours] == [theirs["entity_group"]], scores.tolist()


@PROPERTY
@given(cases(), STRATEGIES)
def test_entities_are_in_order_and_in_the_text(case: Case, strategy: AggregationStrategy) -> None:
    entities = find_entities(case.columns, strategy, case.scheme, to_string)
    bounds = [bound for entity in entities for bound in (entity.start, entity.end)]
    assert bounds == sorted(bounds)
    assert bounds[0] >= 0
    assert bounds[-1] <= len(case.text)
    assert [entity.text for entity in entities] == [case.text[entity.start : entity.end] for entity in entities]


@PROPERTY
@given(cases(min_tokens=0))
def test_columns_become_the_dicts_they_were_made_of(case: Case) -> None:
    rows = PreEntities.from_dicts(case.rows).to_dicts()
    assert [{**row, "scores": None} for row in rows] == [{**row, "scores": None} for row in case.rows]
    for row, original in zip(rows, case.rows, strict=True):
        assert row["scores"].dtype == np.float32
        assert np.array_equal(row["scores"], original["scores"], equal_nan=True)


@PROPERTY
@given(cases(), BY_WORD, st.data())
def test_each_word_of_a_window_is_one_unit(case: Case, strategy: AggregationStrategy, data: st.DataObject) -> None:
    total = len(case.rows)
    window_starts = sorted({0, *data.draw(st.lists(st.integers(0, total - 1), max_size=3))})
    columns = replace(case.columns, window_starts=np.array(window_starts))
    units = label_words(columns, strategy)
    opens = [row in window_starts or not case.rows[row]["is_subword"] for row in range(total)]
    assert units.first.tolist() == [row for row in range(total) if opens[row]]
    assert [row for first, stop in zip(units.first, units.stop, strict=True) for row in range(first, stop)] == list(
        range(total)
    )
    assert units.opens_window.tolist() == [first in window_starts for first in units.first.tolist()]
    assert len(units.label) == len(units.score) == len(units.first)


@PROPERTY
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 5), st.sampled_from([0.25, 0.5, 0.75, math.nan])), max_size=12
    )
)
def test_overlaps_are_resolved_as_by_transformers(spans: list[tuple[int, int, float]]) -> None:
    entities = [
        {"start": start, "end": start + width, "score": score, "position": position}
        for position, (start, width, score) in enumerate(spans)
    ]
    theirs = hugging_face([]).aggregate_overlapping_entities(entities)
    ours = resolve_overlaps([(start, start + width, score) for start, width, score in spans])
    assert ours == [entity["position"] for entity in theirs]


@st.composite
def cuts(draw: st.DrawFn, num_tokens: int) -> list[tuple[int, int]]:
    """Windows over this many tokens, with any capacity, stride and side."""
    capacity = draw(st.integers(1, 12))
    stride = draw(st.integers(0, capacity - 1))
    return window_bounds(num_tokens, capacity, stride, side=draw(st.sampled_from(["right", "left"])))


@PROPERTY
@given(st.data(), cases(max_tokens=25, with_nan=False), GROUPING)
def test_windows_are_merged_as_by_transformers(data: st.DataObject, case: Case, strategy: AggregationStrategy) -> None:
    bounds = data.draw(cuts(len(case.rows)))
    lengths = [stop - start for start, stop in bounds]
    # Each window has its own opinion of the tokens that it shares.
    scores = iter(data.draw(score_rows(sum(lengths), len(case.labels), [DYADIC], with_nan=True)))
    windows = [[{**row, "scores": next(scores)} for row in case.rows[start:stop]] for start, stop in bounds]
    ignore = data.draw(names(case))
    columns = replace(
        PreEntities.from_dicts([row for window in windows for row in window]),
        document=Document("doc", case.text),
        window_starts=np.cumsum([0, *lengths[:-1]]),
        window_offsets=np.array([start for start, _ in bounds]),
    )
    ours = find_entities(columns, strategy, case.scheme, to_string, ignore_labels=ignore)
    assert_same(ours, their_entities(windows, case.labels, strategy.value, ignore), strategy)
    assert [entity.text for entity in ours] == [case.text[entity.start : entity.end] for entity in ours]


@dataclass(frozen=True)
class Cut:
    """A text cut into windows; of each row, its window and its token."""

    bounds: list[tuple[int, int]]
    is_subword: list[bool]
    dropped: set[int]
    num_prefix: int

    @property
    def rows(self) -> list[list[tuple[int, int]]]:
        return [
            [(number, token) for token in range(start, stop) if token not in self.dropped]
            for number, (start, stop) in enumerate(self.bounds)
        ]

    @property
    def columns(self) -> PreEntities:
        rows = [row for window in self.rows for row in window]
        return PreEntities(
            scores=np.array([number for number, _ in rows], np.float32).reshape(-1, 1),
            words=object_column([str(token) for _, token in rows]),
            start=None,
            end=None,
            index=np.array([token - self.bounds[number][0] + self.num_prefix for number, token in rows], np.int64),
            is_subword=np.array([self.is_subword[token] for _, token in rows], bool),
            window_starts=np.cumsum([0, *(len(window) for window in self.rows[:-1])]),
            window_offsets=np.array([start for start, _ in self.bounds], np.int64),
            num_tokens=len(self.is_subword),
        )


@st.composite
def cut_texts(draw: st.DrawFn, with_dropped: bool) -> Cut:
    is_subword = draw(st.lists(st.booleans(), max_size=60))
    tokens = st.integers(0, max(0, len(is_subword) - 1))
    dropped = draw(st.sets(tokens)) if with_dropped else set()
    return Cut(draw(cuts(len(is_subword))), is_subword, dropped, draw(st.integers(0, 2)))


@PROPERTY
@given(st.booleans().flatmap(cut_texts))
def test_joined_windows_have_each_token_once_and_in_order(cut: Cut) -> None:
    """Also where tokens of the text are left out as special tokens."""
    joined = join_windows(cut.columns)
    tokens = [token for token in range(len(cut.is_subword)) if token not in cut.dropped]
    assert [int(word) for word in joined.words] == tokens
    assert joined.index.tolist() == [token + cut.num_prefix for token in tokens]
    assert joined.is_subword.tolist() == [cut.is_subword[token] for token in tokens]
    assert joined.num_windows == 1


@PROPERTY
@given(cut_texts(with_dropped=False))
def test_windows_change_over_at_the_word_nearest_to_the_middle(cut: Cut) -> None:
    numbers = join_windows(cut.columns).scores[:, 0].astype(int).tolist()
    order = sorted(range(len(cut.bounds)), key=lambda number: cut.bounds[number])
    for before, after in itertools.pairwise(order):
        first, end = cut.bounds[after][0], cut.bounds[before][1]
        middle = (first + end + 1) // 2
        changeover = min(
            (token for token in range(first, end + 1) if not cut.is_subword[token]),
            key=lambda token: abs(token - middle),
            default=middle,
        )
        # No later window speaks before the changeover, no earlier one behind it.
        ranks = [order.index(number) for number in numbers]
        assert all(rank <= order.index(before) for rank in ranks[:changeover])
        assert all(rank >= order.index(after) for rank in ranks[changeover:])
