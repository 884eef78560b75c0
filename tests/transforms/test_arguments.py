"""What a call may be given, and which strategy it asks for."""

from __future__ import annotations

import warnings
from enum import Enum
from typing import Any

import pytest
from transformers.pipelines import token_classification
from transformers.pipelines.pt_utils import KeyDataset

from transforms.aggregation.strategies import AggregationStrategy
from transforms.classifier.arguments import TokenClassificationArgumentHandler, resolve_strategy

OFFSETS = [(0, 3), (4, 9)]
STRATEGIES = ["none", "simple", "first", "average", "max"]

# inputs, keywords, what comes back
CALLS = [
    ("Ann", {}, (["Ann"], False, None, None)),
    ("", {}, ([""], False, None, None)),  # an empty text is a text
    (["Ann"], {}, (["Ann"], False, None, None)),
    (["Ann", ""], {}, (["Ann", ""], False, None, None)),
    (("Ann", "Lee"), {}, (["Ann", "Lee"], False, None, None)),
    (["Ann", "Lee"], {"is_split_into_words": True}, (["Ann", "Lee"], True, None, None)),
    (["Ann", "Lee"], {"is_split_into_words": True, "delimiter": ""}, (["Ann", "Lee"], True, None, "")),
    (["Ann", "Lee"], {"delimiter": "-"}, (["Ann", "Lee"], False, None, "-")),
    ([["Ann"], ["Lee", "Roy"]], {"is_split_into_words": True}, ([["Ann"], ["Lee", "Roy"]], True, None, None)),
    ("Ann", {"offset_mapping": None}, (["Ann"], False, None, None)),
    ("Ann", {"offset_mapping": OFFSETS}, (["Ann"], False, [OFFSETS], None)),
    ("Ann", {"offset_mapping": [OFFSETS]}, (["Ann"], False, [OFFSETS], None)),
    (["Ann", "Lee"], {"offset_mapping": [OFFSETS, OFFSETS]}, (["Ann", "Lee"], False, [OFFSETS, OFFSETS], None)),
    ("Ann", {"aggregation_strategy": "first", "stride": 3}, (["Ann"], False, None, None)),  # for someone else
]

# inputs, keywords, part of the message
BAD_CALLS = [
    ([], {}, "At least one input"),
    ((), {}, "At least one input"),
    (None, {}, "At least one input"),
    (7, {}, "At least one input"),
    ({"Ann"}, {}, "At least one input"),
    (b"Ann", {}, "At least one input"),
    (["Ann", "Lee"], {"offset_mapping": OFFSETS}, "same batch size"),
    (["Ann", "Lee"], {"offset_mapping": [OFFSETS]}, "same batch size"),
    ("Ann", {"offset_mapping": [OFFSETS, OFFSETS]}, "same batch size"),
    (["Ann"], {"offset_mapping": [OFFSETS] * 3}, "same batch size"),
]


@pytest.mark.parametrize(("inputs", "keywords", "expected"), CALLS)
def test_inputs_become_a_list(inputs: Any, keywords: dict[str, Any], expected: tuple[Any, ...]) -> None:
    assert TokenClassificationArgumentHandler()(inputs, **keywords) == expected
    assert token_classification.TokenClassificationArgumentHandler()(inputs, **keywords) == expected


@pytest.mark.parametrize(("inputs", "keywords", "message"), BAD_CALLS)
def test_bad_inputs_are_refused(inputs: Any, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenClassificationArgumentHandler()(inputs, **keywords)
    with pytest.raises(ValueError, match=message):
        token_classification.TokenClassificationArgumentHandler()(inputs, **keywords)


HANDLERS = [TokenClassificationArgumentHandler, token_classification.TokenClassificationArgumentHandler]


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_data_set_stays_one(handler: Any) -> None:
    texts = KeyDataset([{"text": "Ann"}, {"text": "Lee"}], "text")
    inputs, *others = handler()(texts)
    assert inputs is texts
    assert others == [False, None, None]


def test_any_iterator_is_taken() -> None:
    texts = map(str, [1, 2])
    assert TokenClassificationArgumentHandler()(texts)[0] is texts
    assert list(texts) == ["1", "2"]


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_generator_is_not_consumed(handler: Any) -> None:
    texts = (text for text in ["Ann", "Lee"])
    inputs, *others = handler()(texts, is_split_into_words=True, delimiter=" ", offset_mapping=[OFFSETS])
    assert inputs is texts
    assert others == [True, None, " "]
    assert list(texts) == ["Ann", "Lee"]


def test_the_callers_list_stays_the_callers() -> None:
    texts = ["Ann"]
    inputs, *_ = TokenClassificationArgumentHandler()(texts)
    inputs.append("Lee")
    assert texts == ["Ann"]


@pytest.mark.parametrize("name", STRATEGIES)
def test_strategies_are_known_by_name(name: str) -> None:
    strategy = AggregationStrategy[name.upper()]
    assert strategy.value == name
    for value in (name, name.upper(), name.title(), strategy, token_classification.AggregationStrategy(name)):
        assert AggregationStrategy.parse(value) is strategy


class Number(Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("mean", "'mean'"),
        ("", "''"),
        ("simple ", "'simple '"),
        (None, "None"),
        (3, "3"),
        (Number.ONE, "1"),
        ([], r"\[\]"),
    ],
)
def test_an_unknown_strategy_is_told_which_there_are(value: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=f"aggregation_strategy={shown}: .*none, simple, first, average, max"):
        AggregationStrategy.parse(value)


# aggregation_strategy, grouped_entities, ignore_subwords, the strategy
DEPRECATED = [
    ("max", True, True, "first"),
    ("max", True, False, "simple"),
    ("max", True, None, "simple"),
    ("max", False, True, "none"),
    ("max", False, False, "none"),
    ("max", False, None, "none"),
    ("max", None, True, "none"),
    ("max", None, False, "none"),
]


@pytest.mark.parametrize(("strategy", "grouped_entities", "ignore_subwords", "expected"), DEPRECATED)
def test_deprecated_arguments_take_precedence_and_warn(
    strategy: str, grouped_entities: bool | None, ignore_subwords: bool | None, expected: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resolve_strategy(strategy, grouped_entities, ignore_subwords).value == expected
    given = {"grouped_entities": grouped_entities, "ignore_subwords": ignore_subwords}
    named = [name for name, value in given.items() if value is not None]
    assert [warning.category for warning in caught] == [FutureWarning] * len(named)
    for name, warning in zip(named, caught, strict=True):
        assert f"`{name}` is deprecated" in str(warning.message)
        assert f"aggregation_strategy={expected!r}" in str(warning.message)


@pytest.mark.parametrize("name", [*STRATEGIES, "MAX"])
def test_a_strategy_alone_does_not_warn(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert resolve_strategy(name).value == name.lower()


def test_an_unknown_strategy_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="aggregation_strategy='mean'"):
        resolve_strategy("mean")
