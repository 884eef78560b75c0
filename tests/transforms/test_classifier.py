from __future__ import annotations

import copy
import itertools
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from apache_beam.internal.cloudpickle import cloudpickle
from texts import ODD_TEXTS, WRONG_FIELDS
from transformers.pipelines.pt_utils import KeyDataset

from transforms import AggregationStrategy, Document, Failure, PreEntities, TokenClassifier
from transforms.engines.base import OutOfMemoryError
from transforms.inference.isolation import run_isolating_failures
from transforms.inference.scorer import softmax

TEXT = "My name is Ann Smith and I live at 12 Baker Street, London."
PERSONAL = [("GIVEN_NAME", "Ann"), ("SURNAME", "Smith"), ("BUILDING_NUMBER", "12"), ("STREET_NAME", "Baker Street"), ("CITY", "London")]  # fmt: skip


@pytest.fixture(scope="module")
def rampart() -> TokenClassifier:
    return TokenClassifier(aggregation_strategy="first")


@pytest.fixture(scope="module")
def chaotic(checkpoint: Callable[[str], Path]) -> TokenClassifier:
    return TokenClassifier(checkpoint("bert_cased"), aggregation_strategy="simple", engine="torch")


def assert_near(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    """The same entities; scores as near as batches of other shapes allow."""
    assert [{**entity, "score": None} for entity in ours] == [{**entity, "score": None} for entity in others]
    assert [entity["score"] for entity in ours] == pytest.approx([entity["score"] for entity in others], abs=1e-4)


def test_embedded_model_finds_what_stands_there(rampart: TokenClassifier) -> None:
    entities = rampart(TEXT)
    assert [(entity["entity_group"], TEXT[entity["start"] : entity["end"]]) for entity in entities] == PERSONAL
    assert list(entities[0]) == ["entity_group", "score", "word", "start", "end"]
    assert all(0.9 < entity["score"] <= 1 for entity in entities)


def test_shape_of_the_answer_follows_the_input(rampart: TokenClassifier) -> None:
    one = rampart(TEXT)
    assert rampart([TEXT]) == [one]
    assert rampart((TEXT, "")) == [one, []]
    assert rampart(["", "  \n", TEXT]) == [[], [], one]
    assert rampart("") == []


class Numbered(torch.utils.data.IterableDataset[str]):
    """A data set that knows no items."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)


@pytest.mark.parametrize("stream_of", [
    lambda texts: (text for text in texts),
    iter,
    Numbered,
    lambda texts: KeyDataset([{"text": text} for text in texts], "text"),
])  # fmt: skip
def test_streams_of_texts(chaotic: TokenClassifier, stream_of: Callable[[list[Any]], Any]) -> None:
    answers = chaotic(stream_of([TEXT, ""] * 3))
    assert isinstance(answers, Iterator)
    assert list(answers) == chaotic([TEXT, ""] * 3)
    words = TEXT.split(" ")
    answers = chaotic(stream_of([words, words[:2]]), is_split_into_words=True)
    assert list(answers) == chaotic([words, words[:2]], is_split_into_words=True)


@pytest.mark.parametrize("strategy", ["none", "simple"])
def test_a_single_label_to_ignore(chaotic: TokenClassifier, strategy: str) -> None:
    everything = chaotic(TEXT, aggregation_strategy=strategy, ignore_labels=[])
    label = everything[0].get("entity_group") or everything[0]["entity"]
    alone = chaotic(TEXT, aggregation_strategy=strategy, ignore_labels=label)
    assert len(alone) < len(everything)
    assert alone == chaotic(TEXT, aggregation_strategy=strategy, ignore_labels=[label])


def test_none_gives_tokens_with_their_index(rampart: TokenClassifier) -> None:
    first = rampart(TEXT, aggregation_strategy="none")[0]
    assert list(first) == ["entity", "score", "index", "word", "start", "end"]
    assert (first["entity"], first["index"], first["word"], first["start"], first["end"]) == (
        "B-GIVEN_NAME",
        4,
        "ann",
        11,
        14,
    )


@pytest.mark.parametrize(("arguments", "same_as"), [
    ({"grouped_entities": True}, "simple"),
    ({"grouped_entities": True, "ignore_subwords": True}, "first"),
    ({"grouped_entities": False}, "none"),
])  # fmt: skip
def test_older_arguments(checkpoint: Callable[[str], Path], arguments: dict[str, bool], same_as: str) -> None:
    folder = checkpoint("bert_cased")
    with pytest.warns(FutureWarning, match="deprecated"):
        older = TokenClassifier(folder, engine="torch", **arguments)
    newer = TokenClassifier(folder, engine="torch", aggregation_strategy=same_as)
    assert older(TEXT) == newer(TEXT)
    with pytest.warns(FutureWarning, match="deprecated"):
        assert newer(TEXT, **arguments) == newer(TEXT, aggregation_strategy=same_as)


def test_labels_may_be_replaced(checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch")
    before = classify(TEXT, ignore_labels=[])
    classify.id2label = {number: f"B-{label}" for number, label in classify.id2label.items()}
    after = classify(TEXT, ignore_labels=[])
    assert [entity["entity"] for entity in after] == [f"B-{entity['entity']}" for entity in before]
    pre_entities = [
        {"word": "a", "scores": np.array([0.1, 0.9]), "start": 0, "end": 1, "index": 1, "is_subword": False}
    ]
    classify.id2label = {0: "O", 1: "I-THING"}
    assert classify.aggregate(pre_entities, AggregationStrategy.SIMPLE) == [
        {"entity_group": "THING", "score": 0.9, "word": "a", "start": 0, "end": 1}
    ]


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"aggregation_strategy": "last"}, "aggregation_strategy='last': unknown; expected one of none, simple, first, average, max"),
    ({"stride": 62}, "stride=62: out of range; expected at least 0 and below 62, the window of 64 tokens less 2 special tokens"),
    ({"stride": -1}, "stride=-1: out of range; expected at least 0"),
    ({"long_text": "wrap"}, "long_text='wrap': unknown; expected one of window, truncate"),
    ({"engine": "tensorflow"}, "engine='tensorflow': unknown; expected one of auto, torch, openvino"),
    ({"precision": "int3"}, "precision='int3': unknown"),
    ({"device": "cuda:9"}, "device='cuda:9': not on this machine"),
    ({"device": "gpu"}, "device='gpu': not on this machine"),
    ({"max_batch_tokens": 0}, "max_batch_tokens=0: too small; expected at least 1"),
    ({"tokenizer": "/no/such/folder"}, "tokenizer='/no/such/folder': neither a folder nor"),
])  # fmt: skip
def test_mistakes_are_named(checkpoint: Callable[[str], Path], arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match="^" + __import__("re").escape(sentence)):
        TokenClassifier(checkpoint("bert_cased"), **{"engine": "torch", **arguments})


def test_a_loaded_model_is_no_name() -> None:
    with pytest.raises(ValueError, match=r"^model: of type Linear; expected a checkpoint's name or folder"):
        TokenClassifier(torch.nn.Linear(1, 1))  # type: ignore[arg-type]


def test_what_it_says_of_itself(chaotic: TokenClassifier) -> None:
    said = repr(chaotic)
    assert said.startswith("TokenClassifier('")
    assert said.endswith("', aggregation_strategy='simple', engine='torch', device='cpu', precision='fp32')")


def test_slow_tokenizers_refuse_words(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(
        ValueError, match=r"^aggregation_strategy='first': requires a fast tokenizer, and BertJapaneseTokenizer"
    ):
        TokenClassifier(checkpoint("slow_wordpiece"), aggregation_strategy="first")
    classify = TokenClassifier(checkpoint("slow_wordpiece"), engine="torch")
    with pytest.raises(ValueError, match="slow and cannot handle subwords"):
        classify(TEXT, aggregation_strategy="max")
    with pytest.raises(ValueError, match="only supported with fast tokenizers"):
        classify(["Ann"], is_split_into_words=True)
    assert {entity["start"] for entity in classify(TEXT, ignore_labels=[])} == {None}


def test_guessed_words_are_warned_of(checkpoint: Callable[[str], Path]) -> None:
    with pytest.warns(UserWarning, match="fallback heuristic"):
        TokenClassifier(checkpoint("roberta"), aggregation_strategy="first", engine="torch")


def test_wrong_inputs(chaotic: TokenClassifier) -> None:
    with pytest.raises(ValueError, match=r"At least one input is required\."):
        chaotic([])
    with pytest.raises(ValueError, match="must be an untokenized string"):
        chaotic([["Ann"]])
    with pytest.raises(ValueError, match="must be a list of tokens"):
        chaotic("Ann", is_split_into_words=True)
    with pytest.raises(ValueError, match="same batch size as the input"):
        chaotic(["Ann", "Bob"], offset_mapping=[(0, 1)])
    with pytest.raises(ValueError, match="offset_mapping: 2 entries; expected one for each of"):
        chaotic(TEXT, offset_mapping=[(0, 1), (0, 3)])
    with pytest.raises(TypeError, match="top_k: unknown; expected arguments of TokenClassifier"):
        chaotic("Ann", top_k=3)


def test_nothing_of_a_long_text_is_lost(rampart: TokenClassifier) -> None:
    text = "\n".join(f"{number}: please write to Ann Smith in London." for number in range(300))
    found = rampart(text)
    for label, word in (("GIVEN_NAME", "Ann"), ("SURNAME", "Smith")):
        starts = [entity["start"] for entity in found if entity["entity_group"] == label and text[entity["start"] : entity["end"]] == word]  # fmt: skip
        assert len(starts) == text.count(word), label
    truncated = TokenClassifier(aggregation_strategy="first", long_text="truncate")
    assert truncated(text)[-1]["end"] < len(text) / 2


@pytest.mark.parametrize("name", ["bert_cased", "roberta", "slow_wordpiece"])
def test_none_gives_each_token_of_a_long_text_once(checkpoint: Callable[[str], Path], name: str) -> None:
    classify = TokenClassifier(checkpoint(name), engine="torch", ignore_labels=())
    long_texts = [text for text in ODD_TEXTS if len(classify.tokenization.encode([text])[0].ids) > classify.window]
    assert len(long_texts) >= 2
    for text in long_texts:
        tokens = classify(text)
        encoded = classify.tokenization.encode([text])[0]
        assert [token["index"] for token in tokens] == list(range(1, len(encoded.ids) + 1))
        assert [token["word"] for token in tokens] == classify.tokenization.words_and_subwords(
            text, encoded.ids, encoded.start, encoded.end
        )[0].tolist()


@pytest.mark.parametrize("window_join", ["entities", "tokens"])
def test_windows_do_not_depend_on_the_batch(checkpoint: Callable[[str], Path], window_join: str) -> None:
    folder = checkpoint("electra_uncased")
    small, large = (
        TokenClassifier(
            folder, engine="torch", aggregation_strategy="max", window_join=window_join, max_batch_tokens=size
        )
        for size in (1, 4096)
    )
    for mine, other in zip(small(ODD_TEXTS), large(ODD_TEXTS), strict=True):
        assert_near(mine, other)


def test_joined_tokens_lose_no_text_in_overlaps(checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", aggregation_strategy="simple", ignore_labels=(), window_join="tokens")  # fmt: skip
    text = ODD_TEXTS[-3]
    groups = classify(text)
    assert groups[0]["start"] == 0
    assert groups[-1]["end"] == len(text)
    gaps = [text[before["end"] : after["start"]] for before, after in itertools.pairwise(groups)]
    assert {gap.strip() for gap in gaps} == {""}


def test_positions_bound_the_window_where_the_tokenizer_names_no_length(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    import json
    import shutil

    for name, positions in (("roberta", 64), ("bert_cased", 64), ("deberta", 64)):
        folder = tmp_path / name
        shutil.copytree(checkpoint(name), folder)
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["model_max_length"] = 10**30
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        classify = TokenClassifier(folder, engine="torch")
        assert classify.window == positions
        assert len(classify(ODD_TEXTS[-2], ignore_labels=())) > positions


def test_classify_keeps_order_and_spares_the_neighbours(rampart: TokenClassifier) -> None:
    texts = [TEXT, "half a pair: \ud800", "", TEXT, "\udfff"]
    outcomes = rampart.classify([Document(str(number), text) for number, text in enumerate(texts)])
    assert [type(outcome) for outcome in outcomes] == [PreEntities, Failure, PreEntities, PreEntities, Failure]
    good = [outcome for outcome in outcomes if isinstance(outcome, PreEntities)]
    assert [outcome.document.id for outcome in good] == ["0", "2", "3"]
    np.testing.assert_array_equal(good[0].scores, good[2].scores)
    failure = outcomes[1]
    assert isinstance(failure, Failure)
    assert failure.error == "the text contains half a surrogate pair at position 13, which is not a character"
    assert failure.payload == b"half a pair: \xed\xa0\x80"
    assert failure.attributes["id"] == "1"


def test_a_model_that_fails_costs_only_the_documents_that_make_it_fail(chaotic: TokenClassifier) -> None:
    engine = chaotic.scorer.engine
    raising, wild = (chaotic.tokenization.encode([word])[0].ids for word in ("brown", "lazy"))

    class Faulty:
        name, device, precision = "faulty", "cpu", "fp32"

        def logits(self, input_ids: np.ndarray, *others: Any) -> np.ndarray:
            if any(np.isin(raising, row).all() for row in input_ids):
                raise RuntimeError("sec" + "ret")
            logits = engine.logits(input_ids, *others)
            logits[[np.isin(wild, row).all() for row in input_ids]] = np.nan
            return logits

    chaotic.scorer.engine = Faulty()
    try:
        texts = ["Ann", "brown", "Bob is here", "lazy", "London"] * 7
        outcomes = chaotic.classify([Document(str(number), text) for number, text in enumerate(texts)])
    finally:
        chaotic.scorer.engine = engine
    for text, outcome in zip(texts, outcomes, strict=True):
        assert isinstance(outcome, Failure) == (text in ("brown", "lazy")), text
        if isinstance(outcome, Failure):
            assert "secret" not in outcome.error + outcome.stacktrace
            assert "RuntimeError" in outcome.error or "not finite" in outcome.error


def test_out_of_memory_halves_the_batches_and_goes_on(checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", max_batch_tokens=4096)
    expected, engine, tried = classify(ODD_TEXTS), classify.scorer.engine, []

    class Small:
        name, device, precision = "small", "cuda:0", "fp32"

        def logits(self, input_ids: np.ndarray, *others: Any) -> np.ndarray:
            tried.append(input_ids.size)
            if input_ids.size > 300:
                raise OutOfMemoryError
            return engine.logits(input_ids, *others)

    classify.scorer.engine = Small()
    for answer, right in zip(classify(ODD_TEXTS), expected, strict=True):
        assert_near(answer, right)
    assert sum(size > 300 for size in tried) <= 5
    tried.clear()
    classify(ODD_TEXTS)
    assert max(tried) <= 300  # the smaller size is kept


def test_threads_share_a_classifier(chaotic: TokenClassifier) -> None:
    expected = [chaotic(text) for text in ODD_TEXTS]
    wrong: list[int] = []

    def work() -> None:
        for number, text in enumerate(ODD_TEXTS):
            if chaotic(text) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_isolation_takes_logarithmic_tries() -> None:
    calls = []

    def work(items: list[int]) -> list[int]:
        calls.append(len(items))
        if 700 in items:
            raise KeyError
        return [item * 2 for item in items]

    results = run_isolating_failures(work, list(range(1024)))
    assert isinstance(results[700], KeyError)
    assert [result for result in results if not isinstance(result, KeyError)] == [
        item * 2 for item in range(1024) if item != 700
    ]
    assert len(calls) <= 2 * 10 + 1


def test_softmax_of_large_logits() -> None:
    probabilities = softmax(np.array([[1e4, 1e4, -1e4]], np.float32))
    np.testing.assert_allclose(probabilities, [[0.5, 0.5, 0.0]])
    assert probabilities.dtype == np.float32


def test_no_warning_comes_of_ordinary_use(rampart: TokenClassifier) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rampart([TEXT, ""])


def test_the_attributes_that_users_of_transformers_look_at(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_cased")
    classify = TokenClassifier(folder, engine="torch", device=-1)
    pipe = transformers.pipeline("ner", model=str(folder), device=-1)
    assert classify.tokenizer("Ann")["input_ids"] == pipe.tokenizer("Ann")["input_ids"]
    assert type(classify.tokenizer) is type(pipe.tokenizer)
    assert "[SEP]" in classify.tokenizer.tokenize("[SEP]")
    assert len(classify.tokenizer(TEXT, padding="max_length", max_length=20, truncation=True)["input_ids"]) == 20
    assert len(classify(TEXT * 9)) > 30  # which is as long as before
    assert classify.config.to_dict() == classify.model_config.to_dict() == pipe.model.config.to_dict()
    assert classify.device == pipe.device == torch.device("cpu")


@pytest.mark.parametrize("copied", [
    lambda classify: pickle.loads(pickle.dumps(classify)),
    lambda classify: copy.deepcopy(classify),
    lambda classify: copy.copy(classify),
    lambda classify: cloudpickle.loads(cloudpickle.dumps(classify)),
], ids=["pickle", "deepcopy", "copy", "cloudpickle"])  # fmt: skip
def test_a_classifier_can_be_copied(
    copied: Callable[[TokenClassifier], TokenClassifier], checkpoint: Callable[[str], Path]
) -> None:
    folder = checkpoint("bert_cased")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    classify = TokenClassifier(
        folder, engine="torch", tokenizer=tokenizer, aggregation_strategy="first", stride=8, ignore_labels=[]
    )
    classify.id2label = {number: f"B-{number}" for number in range(9)}
    other = copied(classify)
    assert repr(other) == repr(classify)
    assert_near(other(TEXT), classify(TEXT))
    assert {entity["entity_group"] for entity in other(TEXT)} <= set("012345678")


@pytest.mark.parametrize("stride", [4.0, "4", True])
def test_a_stride_is_a_whole_number(stride: Any, chaotic: TokenClassifier) -> None:
    with pytest.raises(ValueError, match=f"stride={stride!r}: of type .*; expected a whole number"):
        chaotic(TEXT, stride=stride)


@pytest.mark.parametrize(("document", "error", "payload"), WRONG_FIELDS)
def test_a_field_of_a_wrong_type_is_a_failure(
    document: Document, error: str, payload: bytes, chaotic: TokenClassifier
) -> None:
    before, failure, after = chaotic.classify([Document("0", "Ann"), document, Document("2", "Tom")])
    assert isinstance(failure, Failure)
    assert (failure.error.startswith(error), failure.payload, failure.stage) == (True, payload, "classify")
    assert failure.attributes["id"] == str(document.id)
    assert isinstance(before, PreEntities)
    assert isinstance(after, PreEntities)
    assert after.document.id == "2"


@pytest.mark.parametrize("offsets", [[(0, 0, 0)] * 20, [(0.5, 1.0)] * 20, [0] * 40, [(None, 1)] * 20, ["ab"] * 20])
def test_offsets_are_pairs_of_whole_numbers(offsets: Any, chaotic: TokenClassifier) -> None:
    with pytest.raises(ValueError, match="offset_mapping: expected a pair of whole numbers for each token"):
        chaotic([TEXT], offset_mapping=[offsets])


def test_a_tokenizer_is_one_of_transformers(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(
        ValueError, match="tokenizer: of type int; expected a name, a folder or a tokenizer of transformers"
    ):
        TokenClassifier(checkpoint("bert_cased"), tokenizer=5)
