"""Words by the tokenizer's own rule, in place of transformers' guesses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_factory import CORPUS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transforms import Document, PreEntities, TokenClassifier
from transforms.errors import ArgumentError
from transforms.tokenization.encoding import encode_texts
from transforms.tokenization.fast import FastTokenization
from transforms.tokenization.splitting import TextSplitter

FAST = [
    "bert_cased",
    "electra_uncased",
    "roberta",
    "roberta_prefix_space",
    "xlm_roberta",
    "deberta",
    "distilbert_plain",
]


def classifier(folder: Path, **settings: Any) -> TokenClassifier:
    return TokenClassifier(folder, engine="torch", ignore_labels=[], word_boundaries="tokenizer", **settings)


def word_starts(folder: Path, text: str) -> list[int]:
    """The starts of the tokenizer's words, as transformers itself gives them."""
    encoded = AutoTokenizer.from_pretrained(str(folder))(text, add_special_tokens=False, return_offsets_mapping=True)
    numbers = encoded.word_ids()
    return [
        start
        for (start, _), number, before in zip(encoded["offset_mapping"], numbers, [None, *numbers], strict=False)
        if number is None or number != before
    ]


@pytest.mark.parametrize("name", FAST)
def test_words_are_those_of_the_tokenizer(name: str, checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint(name)
    for text in CORPUS[:7]:
        (scored,) = classifier(folder).classify([Document("1", text)])
        assert isinstance(scored, PreEntities)
        if scored.num_windows == 1:
            assert scored.start is not None
            assert scored.start[~scored.is_subword].tolist() == word_starts(folder, text)


def test_a_full_stop_is_a_word_of_its_own(checkpoint: Callable[[str], Path]) -> None:
    """Transformers joins it to the word before, since it looks only for a space."""
    folder, text = checkpoint("roberta"), "Ann saw Bob. Tom (left)!"
    words = [text[entity["start"] : entity["end"]].strip() for entity in words_of(classifier(folder), text)]
    assert words == ["Ann", "saw", "Bob", ".", "Tom", "(", "left", ")!"]
    guessed = words_of(TokenClassifier(folder, engine="torch", ignore_labels=[]), text)
    assert "Bob." in [text[entity["start"] : entity["end"]] for entity in guessed]


def words_of(classify: TokenClassifier, text: str) -> list[dict[str, Any]]:
    (scored,) = classify.classify([Document("1", text)])
    assert isinstance(scored, PreEntities)
    return classify.aggregate_words(scored.to_dicts(), "first")


@pytest.mark.parametrize("name", FAST)
def test_words_of_a_long_text_are_those_of_the_whole(name: str, checkpoint: Callable[[str], Path]) -> None:
    """A long text is encoded in pieces."""
    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint(name)))
    tokenization = FastTokenization(tokenizer)
    text = " ".join(CORPUS * 3)
    whole = tokenization._backend.encode(text, add_special_tokens=False)
    expected = np.diff(np.array(whole.word_ids, np.float64), prepend=-1) != 0
    splitter = TextSplitter(tokenization._backend, 300)
    (encoded,) = encode_texts(tokenization._backend, splitter, [text], words=True)
    assert encoded.ids.tolist() == whole.ids
    assert encoded.opens_word is not None
    assert encoded.opens_word.tolist() == expected.tolist()
    assert splitter.can_cut
    assert len(list(splitter.pieces(text))) > 1


def test_windows_keep_the_words(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_cased")
    text = " ".join(CORPUS)
    (scored,) = classifier(folder, window_join="tokens").classify([Document("1", text)])
    assert isinstance(scored, PreEntities)
    assert scored.num_windows > 3
    assert scored.start is not None
    assert set(scored.start[~scored.is_subword].tolist()) == set(word_starts(folder, text))


def test_words_that_were_given_are_kept(checkpoint: Callable[[str], Path]) -> None:
    """Words of a list are words of the tokenizer, however it would split them."""
    classify = classifier(checkpoint("roberta_prefix_space"), aggregation_strategy="first")
    entities = classify([["Ann-Lee", "O'Neil", "x.y"]], is_split_into_words=True)[0]
    starts = {0, 8, 15}
    assert {entity["start"] for entity in entities} <= starts


def test_no_warning_about_guessed_words(checkpoint: Callable[[str], Path], recwarn: pytest.WarningsRecorder) -> None:
    classifier(checkpoint("roberta"), aggregation_strategy="first")("Ann")
    assert not [warning for warning in recwarn if "real words" in str(warning.message)]


def test_a_tokenizer_without_words_is_rejected(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(ArgumentError, match=r"word_boundaries='tokenizer': requires a fast tokenizer, .*; expected hf"):
        classifier(checkpoint("slow_wordpiece"))
    backend = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    with pytest.raises(ArgumentError, match=r"word_boundaries='tokenizer': .* does not split a text into words"):
        FastTokenization(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")).check_words()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    FastTokenization(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")).check_words()
