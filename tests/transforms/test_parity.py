"""The same entities as transformers' own pipeline, to the last character."""

from __future__ import annotations

import functools
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from checkpoint_factory import BIO, RANDOM_CHECKPOINTS, SLOW, save, small, wordpiece
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from texts import ODD_TEXTS, TEXTS

from transforms import TokenClassifier
from transforms.inference.windows import window_bounds

STRATEGIES = ("none", "simple", "first", "average", "max")
FAST = [*sorted(set(RANDOM_CHECKPOINTS) - set(SLOW)), "rampart_torch"]
ALL = [*sorted(RANDOM_CHECKPOINTS), "rampart_torch"]
# Rampart's window holds each of the texts whole, so that one stride is as good as another.
STRIDES = [(name, stride) for name in FAST for stride in (0, 5, 20) if name != "rampart_torch" or stride == 5]

Pair = tuple[transformers.Pipeline, TokenClassifier]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Tokenizer does not support real words")
        yield


@pytest.fixture(scope="module")
def pair(checkpoint: Callable[[str], Path]) -> Callable[..., Pair]:
    """Transformers' pipeline and our classifier over one checkpoint, made once a module."""
    made: dict[tuple[str, str], Pair] = {}

    def make(name: str, long_text: str = "truncate", engine: str = "auto") -> Pair:
        key = (name, f"{long_text}-{engine}")
        if key not in made:
            folder = str(checkpoint(name))
            theirs = transformers.pipeline("token-classification", model=folder, tokenizer=folder, device="cpu")
            theirs.model.forward = remembering(theirs.model.forward)
            made[key] = theirs, TokenClassifier(folder, long_text=long_text, engine=engine)
        return made[key]

    return make


def remembering(forward: Callable[..., Any]) -> Callable[..., Any]:
    """A model's forward pass that is made once for the same tokens, whatever becomes of its scores then."""
    known: dict[Any, Any] = {}

    @functools.wraps(forward)
    def remembered(**inputs: torch.Tensor) -> Any:
        key = tuple((name, tensor.shape, tensor.numpy().tobytes()) for name, tensor in inputs.items())
        if key not in known:
            known[key] = forward(**inputs)
        return known[key]

    return remembered


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        assert set(our) == set(their)
        assert type(our["score"]) is float
        assert our["score"] == pytest.approx(float(their["score"]), abs=1e-4)
        assert {**our, "score": None} == {**their, "score": None}


def texts_for(name: str) -> list[str]:
    """The texts on which transformers' own pipeline does not crash; with CANINE it does below four characters."""
    return [text for text in ODD_TEXTS if name != "canine" or len(text) >= 4]


@pytest.mark.parametrize("text", ["", " ", "x"])
def test_texts_on_which_transformers_crashes(pair: Callable[..., Pair], text: str) -> None:
    theirs, ours = pair("canine")
    with pytest.raises(RuntimeError):
        theirs(text)
    assert len(ours(text, ignore_labels=[])) == len(text)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ALL)
def test_single_texts(pair: Callable[..., Pair], name: str, strategy: str) -> None:
    if name in SLOW and strategy in ("first", "average", "max"):
        pytest.skip("refused by both")
    theirs, ours = pair(name)
    for text in texts_for(name):
        assert_same(ours(text, aggregation_strategy=strategy), theirs(text, aggregation_strategy=strategy))


@pytest.mark.parametrize("name", sorted(set(FAST) - {"rampart_torch"}))
@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(text=TEXTS, strategy=st.sampled_from(STRATEGIES), stride=st.none() | st.integers(0, 40))
def test_any_text(pair: Callable[..., Pair], name: str, text: str, strategy: str, stride: int | None) -> None:
    theirs, ours = pair(name)
    arguments = {"aggregation_strategy": strategy, "ignore_labels": []}
    if strategy != "none" and stride is not None:  # they refuse it with the strategy none
        arguments["stride"] = stride
    assert_same(ours(text, **arguments), theirs(text, **arguments))


@pytest.mark.parametrize(("name", "stride"), STRIDES)
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_strides(pair: Callable[..., Pair], name: str, strategy: str, stride: int) -> None:
    theirs, ours = pair(name)
    for text in ODD_TEXTS[::2] + ODD_TEXTS[-3:]:
        assert_same(
            ours(text, aggregation_strategy=strategy, stride=stride),
            theirs(text, aggregation_strategy=strategy, stride=stride),
        )


@pytest.mark.parametrize("name", ["bert_cased", "roberta", "xlm_roberta"])
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_each_engine(pair: Callable[..., Pair], name: str, engine: str) -> None:
    theirs, ours = pair(name, engine=engine)
    assert ours.scorer.engine.name == engine
    for text in ODD_TEXTS:
        assert_same(ours(text, aggregation_strategy="average"), theirs(text, aggregation_strategy="average"))


@pytest.mark.parametrize("name", ALL)
def test_batches_equal_single_texts(pair: Callable[..., Pair], name: str) -> None:
    theirs, ours = pair(name)
    texts = texts_for(name) * 2
    together = ours(texts, aggregation_strategy="simple")
    for answer, text in zip(together, texts, strict=True):
        assert_same(answer, theirs(text, aggregation_strategy="simple"))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", FAST)
def test_words(pair: Callable[..., Pair], name: str, strategy: str) -> None:
    theirs, ours = pair(name)
    sentences = [
        ["My", "name", "is", "Ann", "Smith-Jones", "."],
        ["Straße", "", "naïve", " x ", "東京都", "👍🏽!"],
        ["unsegmentable" * 3, "e\u0301"],
        [f"w{number}" for number in range(100)],
    ]
    for delimiter in (None, "", " | "):
        arguments = {"is_split_into_words": True, "delimiter": delimiter, "aggregation_strategy": strategy}
        answers = ours(sentences, **arguments)
        for answer, expected in zip(answers, theirs(sentences, **arguments), strict=True):
            assert_same(answer, expected)
        (alone,) = ours(sentences[0], **arguments)
        assert_same(alone, theirs(sentences[0], **arguments)[0])


@pytest.mark.parametrize("words", [["Ann", "moved", "to", " Paris"], [" a b", "c  d ", "e"]])
def test_offsets_of_words_in_windows(pair: Callable[..., Pair], words: list[str]) -> None:
    theirs, ours = pair("roberta_prefix_space")
    words, stride = words * 40, 7
    tokenization, capacity = ours.tokenization, ours.window - 2
    text, encoded = tokenization.encode_words(words, " ")
    starts = list(itertools.accumulate((len(word) + 1 for word in words), initial=0))
    cut = theirs.tokenizer(
        words,
        is_split_into_words=True,
        truncation=True,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for number, bounds in enumerate(window_bounds(len(encoded.ids), capacity, stride)):
        window = tokenization.window(encoded, *bounds)
        placed = zip(cut.word_ids(number), cut["offset_mapping"][number], strict=True)
        expected = [(starts[word] + start, starts[word] + end) for word, (start, end) in placed if word is not None]
        assert list(zip(window.start.tolist(), window.end.tolist(), strict=True)) == expected
    assert len(text) == starts[-1] - 1


@pytest.mark.parametrize("name", FAST)
def test_words_in_windows(pair: Callable[..., Pair], name: str) -> None:
    theirs, ours = pair(name)
    sentence = [word for text in ODD_TEXTS[4:12] for word in text.split(" ")] + [" w", "v w ", "Ann"] * 40
    arguments = {"is_split_into_words": True, "aggregation_strategy": "first", "stride": 7}
    assert_same(ours(sentence, **arguments)[0], theirs(sentence, **arguments)[0])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["bert_cased", "roberta", "xlm_roberta"])
def test_own_offsets(pair: Callable[..., Pair], name: str, strategy: str) -> None:
    theirs, ours = pair(name)
    text = "Ann Smith lives in Saint-Denis, near Paris."
    encoding = theirs.tokenizer(text, return_offsets_mapping=True)
    mapping = [(max(0, start - 1), end) for start, end in encoding["offset_mapping"]]
    arguments = {"offset_mapping": [mapping], "aggregation_strategy": strategy}
    assert_same(ours(text, **arguments), theirs(text, **arguments))
    assert_same(ours(text, offset_mapping=mapping, aggregation_strategy=strategy), theirs(text, **arguments))


def test_own_offsets_belong_to_their_own_text(pair: Callable[..., Pair]) -> None:
    """Transformers uses the first text's offsets for all of them, which can be nothing but a slip."""
    _, ours = pair("bert_cased")
    texts = ["Ann Smith in Paris", "Łukasz at 17 Straße, Berlin, and a good deal more than before"]
    mappings = [ours.tokenization.tokenizer(text, return_offsets_mapping=True)["offset_mapping"] for text in texts]
    assert ours(texts, offset_mapping=mappings) == ours(texts)


@pytest.mark.parametrize("ignore_labels", [[], ["O", "PER"], ["B-PER", "I-LOC"]])
@pytest.mark.parametrize("strategy", ["none", "simple", "max"])
def test_ignore_labels(pair: Callable[..., Pair], strategy: str, ignore_labels: list[str]) -> None:
    theirs, ours = pair("bert_cased")
    arguments = {"aggregation_strategy": strategy, "ignore_labels": ignore_labels}
    for text in ODD_TEXTS[4:12]:
        assert_same(ours(text, **arguments), theirs(text, **arguments))


def test_tokens_on_the_left_are_cut_where_the_tokenizer_says_so(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    import json
    import shutil

    folder = tmp_path / "left"
    shutil.copytree(checkpoint("roberta_prefix_space"), folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "truncation_side": "left"}))
    theirs = transformers.pipeline("ner", model=str(folder), tokenizer=str(folder), device="cpu")
    cut, windows = TokenClassifier(folder, long_text="truncate"), TokenClassifier(folder)
    for text in ODD_TEXTS[-3:]:
        assert_same(cut(text, aggregation_strategy="first"), theirs(text, aggregation_strategy="first"))
        assert_same(
            windows(text, aggregation_strategy="first", stride=7), theirs(text, aggregation_strategy="first", stride=7)
        )


def test_another_tokenizer_than_the_models(checkpoint: Callable[[str], Path]) -> None:
    model, tokenizer = str(checkpoint("bert_cased")), str(checkpoint("electra_uncased"))
    theirs = transformers.pipeline("ner", model=model, tokenizer=tokenizer, device="cpu")
    named = TokenClassifier(model, tokenizer=tokenizer, long_text="truncate")
    given = TokenClassifier(model, tokenizer=theirs.tokenizer, long_text="truncate")
    for text in ODD_TEXTS[4:8]:
        assert_same(named(text), theirs(text))
        assert_same(given(text), theirs(text))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", ["electra_uncased", "roberta", "xlm_roberta"])
def test_single_steps(pair: Callable[..., Pair], name: str, strategy: str) -> None:
    """`gather_pre_entities` and `aggregate`, dict by dict."""
    theirs, ours = pair(name)
    named = transformers.pipelines.token_classification.AggregationStrategy(strategy)
    text = "Łukasz O'Neil moved from Saint-Denis to the Straße des 17. Juni, 👍🏽 Berlin."
    inputs = theirs.tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="np")
    ids, mask, offsets = inputs["input_ids"][0], inputs["special_tokens_mask"][0], inputs["offset_mapping"][0]
    generator = __import__("numpy").random.default_rng(5)
    scores = generator.dirichlet([0.3] * len(ours.id2label), len(ids)).astype("float32")

    expected = theirs.gather_pre_entities(text, ids, scores, offsets, mask, named)
    given = ours.gather_pre_entities(text, ids, scores, offsets, mask, named)
    assert [{**row, "scores": None} for row in given] == [{**row, "scores": None} for row in expected]
    assert all((mine["scores"] == other["scores"]).all() for mine, other in zip(given, expected, strict=True))
    assert_same(ours.aggregate(given, named), theirs.aggregate(expected, named))
    if strategy in ("first", "average", "max"):
        words = ours.aggregate_words(given, named)
        assert_same(words, theirs.aggregate_words(expected, named))
        assert_same(ours.group_entities(words), theirs.group_entities(words))
        assert_same([ours.aggregate_word(given[:3], named)], [theirs.aggregate_word(expected[:3], named)])
        assert_same([ours.group_sub_entities(words[:3])], [theirs.group_sub_entities(words[:3])])
    overlapping = [
        {"start": 0, "end": 4, "score": 0.5},
        {"start": 2, "end": 9, "score": 0.4},
        {"start": 9, "end": 9, "score": 1.0},
    ]
    assert ours.aggregate_overlapping_entities(overlapping) == theirs.aggregate_overlapping_entities(overlapping)
    assert ours.aggregate_overlapping_entities([]) == []
    assert ours.get_tag("B-air-port") == theirs.get_tag("B-air-port")


def test_neighbours_whose_padding_would_be_seen(tmp_path: Path) -> None:
    """MobileBERT puts the embedding of what stands behind a token beside its own, that of padding too."""
    tokenizer = wordpiece(lowercase=True)
    config = transformers.MobileBertConfig(
        **small(tokenizer, embedding_size=16, intra_bottleneck_size=16, true_hidden_size=16)
    )
    folder = str(save(tmp_path / "mobilebert", config, tokenizer, BIO, seed=11))
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer.pad_token_id] = 1.0  # as a checkpoint from TensorFlow may
    model.save_pretrained(folder)
    theirs = transformers.pipeline("token-classification", model=folder, tokenizer=folder, device="cpu")
    texts = ["Anna", "Anna wohnt in Berlin", "in", "the quick brown fox jumps over the lazy dog"]
    ours = TokenClassifier(folder, ignore_labels=[])
    for text, found in zip(texts, ours(texts), strict=True):
        assert_same(found, theirs(text, ignore_labels=[]))
