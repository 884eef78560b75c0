"""Special tokens that are typed in a text are text: nothing else changes, and every offset is right."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import checkpoint_factory
import numpy as np
import pytest
import transformers
from checkpoint_factory import RANDOM_CHECKPOINTS, SLOW
from texts import ODD_TEXTS
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from transforms import TokenClassifier
from transforms.inference.setup import ModelSetup
from transforms.settings import ModelSettings
from transforms.tokenization.encoding import Encoded
from transforms.tokenization.registry import own_tokenization, tokenization_of
from transforms.tokenization.special_tokens import special_ids
from transforms.tokenization.tokenizer import Tokenization

FAST = [*sorted(set(RANDOM_CHECKPOINTS) - set(SLOW)), "rampart_torch"]
TYPED = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "<s>", "</s>", "<mask>", "<pad>", "<unk>"]
# What stands around the typed token. The last is HTML as people write it.
FRAMES = ["Ann {0} lives in Paris", "{0}", "{0}{0} Ann", "Ann{0}Paris", "by {0} {0}, Berlin{0}", "was {0}old{0} 5 €"]
KEPT = [text for text in ODD_TEXTS if not any(typed in text for typed in TYPED) and "\x00" not in text]


@pytest.fixture(scope="module")
def tokenization(checkpoint: Callable[[str], Path]) -> Callable[..., Tokenization]:
    def load(name: str, special_tokens: str = "text") -> Tokenization:
        if name in SLOW and special_tokens == "special":  # loading CANINE twice would take seconds
            return own_tokenization(load(name).tokenizer, special_tokens)
        return ModelSetup.load(
            ModelSettings(model=checkpoint(name), special_tokens=special_tokens), weights=False
        ).tokenization

    return load


def own_tokens(tokenizer: transformers.PreTrainedTokenizerBase) -> list[str]:
    return [tokenizer.convert_ids_to_tokens(number) for number in sorted(special_ids(tokenizer))]


def outside(encoded: Encoded, first: int, stop: int) -> list[tuple[int, int, int]]:
    """Ids and offsets of the tokens that lie before or behind a span, those behind as if it had no width."""
    assert encoded.start is not None
    assert encoded.end is not None
    columns = [*zip(encoded.ids.tolist(), encoded.start.tolist(), encoded.end.tolist(), strict=True)]
    before = [token for token in columns if token[2] <= first]
    return before + [(number, start - stop, end - stop) for number, start, end in columns if start >= stop]


@pytest.mark.parametrize("name", FAST)
def test_typed_tokens_are_characters(tokenization: Callable[..., Tokenization], name: str) -> None:
    text_mode, tokenizer = tokenization(name), tokenization(name).tokenizer
    special = special_ids(tokenizer)
    for typed in {*TYPED, *own_tokens(tokenizer)}:
        for frame in FRAMES:
            text = frame.format(typed)
            (encoded,) = text_mode.encode([text])
            assert special.isdisjoint(encoded.ids.tolist()), text
            assert encoded.start is not None
            assert encoded.end is not None
            covered = {at for start, end in zip(encoded.start, encoded.end, strict=True) for at in range(start, end)}
            assert {at for at, character in enumerate(text) if not character.isspace()} <= covered, text
            assert (encoded.start <= encoded.end).all()
            assert (np.diff(encoded.start) >= 0).all()
            assert encoded.end.max() <= len(text)


@pytest.mark.parametrize("name", FAST)
def test_the_other_tokens_are_those_beside_any_word(tokenization: Callable[..., Tokenization], name: str) -> None:
    text_mode = tokenization(name)
    for typed in {*TYPED, *own_tokens(text_mode.tokenizer)}:
        first = len("Ann ")
        given, other = text_mode.encode([f"Ann {typed} lives in Paris", "Ann {x} lives in Paris"])
        assert given.start is not None
        assert given.end is not None
        spans = zip(given.start.tolist(), given.end.tolist(), strict=True)
        if typed != text_mode.tokenizer.unk_token:  # which means no more than that a word is unknown
            assert (first, first + len(typed)) not in spans, typed
        assert outside(given, first, first + len(typed)) == outside(other, first, first + 3), typed


@pytest.mark.parametrize("name", FAST)
def test_special_tokens_are_special_where_that_is_asked_for(
    tokenization: Callable[..., Tokenization], name: str
) -> None:
    special_mode = tokenization(name, "special")
    separator = special_mode.tokenizer.sep_token
    (encoded,) = special_mode.encode([f"Ann {separator} lives in Paris"])
    assert special_mode.tokenizer.sep_token_id in encoded.ids


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_other_texts_are_read_as_ever(tokenization: Callable[..., Tokenization], name: str) -> None:
    for ours, theirs in zip(tokenization(name).encode(KEPT), tokenization(name, "special").encode(KEPT), strict=True):
        assert ours.ids.tolist() == theirs.ids.tolist()
        if ours.start is not None and theirs.start is not None and ours.end is not None and theirs.end is not None:
            assert ours.start.tolist() == theirs.start.tolist()
            assert ours.end.tolist() == theirs.end.tolist()


@pytest.mark.parametrize("name", FAST)
def test_in_a_text_of_words(tokenization: Callable[..., Tokenization], name: str) -> None:
    text_mode = tokenization(name)
    for typed in own_tokens(text_mode.tokenizer):
        text, encoded = text_mode.encode_words(["Ann", typed, "Paris"], " ")
        assert special_ids(text_mode.tokenizer).isdisjoint(encoded.ids.tolist())
        assert encoded.opens_word is not None
        assert encoded.start is not None
        assert encoded.opens_word.sum() == 3
        assert encoded.start[encoded.opens_word][-1] == text.index("Paris")


@pytest.mark.parametrize(("name", "texts"), [
    ("slow_wordpiece", ["ann [SEP] paris", "ann[MASK]paris", "[CLS] ann", "[PAD][PAD]", "ann [SE\x00P] paris"]),
    ("canine", ["Ann \ue001 Paris", "\ue000Ann", "Ann\x00Paris", "\ue003", "\ue001\ue000"]),
])  # fmt: skip
def test_slow_tokenizers_read_an_unknown_word(
    tokenization: Callable[..., Tokenization], checkpoint: Callable[[str], Path], name: str, texts: list[str]
) -> None:
    text_mode, special_mode = tokenization(name), tokenization(name, "special")
    special = np.array(sorted(special_ids(text_mode.tokenizer)))
    for ours, theirs in zip(text_mode.encode(texts), special_mode.encode(texts), strict=True):
        typed = np.isin(theirs.ids, special)
        assert typed.any()
        assert len(set(ours.ids[typed].tolist())) == 1
        assert special.tolist().count(ours.ids[typed][0]) == 0
        np.testing.assert_array_equal(ours.ids[~typed], theirs.ids[~typed])
    classify = TokenClassifier(checkpoint(name), special_tokens="text", ignore_labels=(), engine="torch")
    for text, ours in zip(texts, text_mode.encode(texts), strict=True):
        assert [entity["index"] for entity in classify(text)] == list(range(1, len(ours.ids) + 1))


def wrapped(**added: object) -> transformers.PreTrainedTokenizerFast:
    """A tokenizer whose words are what stands between spaces: its special tokens are words as well."""
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "ann": 3, "paris": 4}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", **added)  # fmt: skip


def test_a_vocabulary_with_whole_special_tokens() -> None:
    text = "ann [SEP] paris"
    tokenization = tokenization_of(wrapped())
    (encoded,) = tokenization.encode([text])
    assert encoded.ids.tolist() == [3, 0, 4]
    words, is_subword = tokenization.words_and_subwords(text, encoded.ids, encoded.start, encoded.end)
    assert words.tolist() == ["ann", "[SEP]", "paris"]
    assert not is_subword.any()


def test_added_tokens_that_are_not_special_stay_tokens() -> None:
    tokenizer = checkpoint_factory.unigram()
    tokenizer.add_tokens([AddedToken("ACME-42", normalized=False)])
    number = tokenizer.convert_tokens_to_ids("ACME-42")
    for text in ("Ann at ACME-42 in Paris", "</s> Ann at ACME-42 </s>"):
        (encoded,) = tokenization_of(copy.deepcopy(tokenizer)).encode([text])
        assert encoded.start is not None
        assert encoded.start[encoded.ids == number].tolist() == [text.index("ACME-42")]


def test_the_classifier_takes_either() -> None:
    classify = TokenClassifier(special_tokens="text", ignore_labels=(), aggregation_strategy="none")
    words = [entity["word"] for entity in classify("Ann [SEP] Smith")]
    assert words == ["ann", "[", "sep", "]", "smith"]
    special = TokenClassifier(ignore_labels=())
    assert [entity["word"] for entity in special("Ann [SEP] Smith")] == ["ann", "[SEP]", "smith"]
