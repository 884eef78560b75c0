"""What holds for any text, window and stride: every token once, every offset right, every document answered."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from texts import PIECES, TEXTS

from transforms import Document, Failure, PreEntities, TokenClassifier
from transforms.aggregation.strategies import AggregationStrategy
from transforms.labels import LabelScheme, dense_labels
from transforms.tokenization.special_tokens import special_ids

CHECKPOINTS = ["bert_cased", "roberta", "xlm_roberta", "deberta"]
BROKEN_TEXTS = st.lists(st.one_of(PIECES, st.sampled_from(["\ud800", "\udc00"])), max_size=6).map("".join)
PROPERTY = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Table:
    """An engine for which a token means the same wherever it stands."""

    name, device, precision = "table", "cpu", "fp32"

    def __init__(self, num_tokens: int, num_labels: int) -> None:
        self.logits_of = np.random.default_rng(0).normal(0, 3, (num_tokens, num_labels)).astype(np.float32)

    def logits(self, input_ids: np.ndarray, *_: Any) -> np.ndarray:
        return self.logits_of[input_ids]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tokenizer does not support real words")
        yield


@pytest.fixture(scope="module")
def classifier(checkpoint: Callable[[str], Path]) -> Callable[[str], TokenClassifier]:
    made: dict[str, TokenClassifier] = {}

    def make(name: str) -> TokenClassifier:
        if name not in made:
            classify = TokenClassifier(
                checkpoint(name), engine="torch", special_tokens="text", window_join="tokens", ignore_labels=()
            )
            classify.scorer.engine = Table(len(classify.tokenization.tokenizer), len(classify.id2label))
            made[name] = classify
        return made[name]

    return make


@pytest.mark.parametrize("name", CHECKPOINTS)
@PROPERTY
@given(data=st.data(), text=TEXTS)
def test_windows_change_nothing_where_the_surroundings_do_not_count(
    classifier: Callable[[str], TokenClassifier], name: str, data: st.DataObject, text: str
) -> None:
    classify = classifier(name)
    setup, special = classify._setup, classify.tokenization.template.num_special
    (encoded,) = classify.tokenization.encode([text])
    window = data.draw(st.integers(special + 1, special + 24), label="window")
    stride = data.draw(st.integers(0, window - special - 1), label="stride")
    strategy = data.draw(st.sampled_from([strategy.value for strategy in AggregationStrategy]), label="strategy")
    answers = []
    for size, overlap in ((len(encoded.ids) + special + 1, 0), (window, stride)):
        classify._setup = classify.scorer._setup = replace(setup, window=size)
        try:
            answers.append(classify(text, stride=overlap, aggregation_strategy=strategy))
        finally:
            classify._setup = classify.scorer._setup = setup
    whole, windowed = answers
    assert [{**entity, "score": None} for entity in windowed] == [{**entity, "score": None} for entity in whole]
    np.testing.assert_allclose([e["score"] for e in windowed], [e["score"] for e in whole], rtol=1e-5)


@pytest.mark.parametrize("name", CHECKPOINTS)
@PROPERTY
@given(texts=st.lists(BROKEN_TEXTS, max_size=5))
def test_every_document_is_answered_in_its_place(
    classifier: Callable[[str], TokenClassifier], name: str, texts: list[str]
) -> None:
    classify = classifier(name)
    documents = [Document(str(number), text) for number, text in enumerate(texts)]
    special = special_ids(classify.tokenization.tokenizer)
    for document, outcome in zip(documents, classify.classify(documents), strict=True):
        if any("\ud800" <= character <= "\udfff" for character in document.text):
            assert isinstance(outcome, Failure)
            assert "half a surrogate pair" in outcome.error
            continue
        assert isinstance(outcome, PreEntities)
        assert outcome.document is document
        assert outcome.start is not None
        assert outcome.end is not None
        assert ((outcome.start >= 0) & (outcome.start <= outcome.end) & (outcome.end <= len(document.text))).all()
        (encoded,) = classify.tokenization.encode([document.text])
        assert outcome.num_tokens == len(encoded.ids)
        assert special.isdisjoint(encoded.ids.tolist())


LABELS = st.text(alphabet="BIOESbio-_ PERper", max_size=6)


@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 12), LABELS, max_size=8), st.integers(1, 13))
def test_any_labels_make_a_scheme(id2label: dict[int, str], num_labels: int) -> None:
    """Gaps, empty names, names that differ in their case alone, hyphens anywhere."""
    labels = dense_labels(id2label, num_labels)
    scheme = LabelScheme.of(labels)
    assert len(labels) == len(scheme.groups) == len(scheme.tag) == len(scheme.begins) == num_labels
    assert all(labels[number] == id2label.get(number, f"LABEL_{number}") for number in range(num_labels))
    tags = {label: label[2:] if label[:2] in ("B-", "I-") else label for label in labels}
    for one, tag_of_one in zip(labels, scheme.tag, strict=True):
        for other, tag_of_other in zip(labels, scheme.tag, strict=True):
            assert (tag_of_one == tag_of_other) == (tags[one] == tags[other])
    assert scheme.ignored(frozenset(labels), grouped=False).all()
    assert not scheme.ignored(frozenset(), grouped=True).any()
