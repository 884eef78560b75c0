"""The tokens of a text's pieces are those of the whole, whatever the tokenizer and the text."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import checkpoint_factory
import numpy as np
import pytest
from charsmap import charsmap
from checkpoint_factory import CORPUS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from texts import ODD_TEXTS
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from transforms.inference.setup import ModelSetup
from transforms.settings import ModelSettings
from transforms.tokenization.encoding import encode_texts
from transforms.tokenization.splitting import TextSplitter


def changed(
    backend: Tokenizer, normalizer: Any = None, pre_tokenizer: Any = None, added: list[AddedToken] | None = None
) -> Tokenizer:
    """The same tokenizer with another normalizer, pre-tokenizer or more added tokens."""
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.add_tokens(added or [])
    return backend


def wordpiece(**changes: Any) -> Tokenizer:
    return changed(checkpoint_factory.wordpiece(lowercase=True).backend_tokenizer, **changes)


def byte_level(prefix_space: bool = False, **changes: Any) -> Tokenizer:
    return changed(checkpoint_factory.byte_level_bpe(prefix_space).backend_tokenizer, **changes)


def unigram(prepend: str = "always", **changes: Any) -> Tokenizer:
    return changed(checkpoint_factory.unigram(prepend).backend_tokenizer, **changes)


def of_words() -> Tokenizer:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "Ann": 1, "Paris": 2, "the": 3}, unk_token="[UNK]"))
    return changed(backend, pre_tokenizer=pre_tokenizers.Whitespace())


def of_sampled_pieces() -> Tokenizer:
    backend = Tokenizer(models.BPE(dropout=0.5))
    return changed(backend, pre_tokenizer=pre_tokenizers.Whitespace())


class InPython:
    """A pre-tokenizer of which nothing is known."""

    def pre_tokenize(self, pre_tokenized: Any) -> None:
        """Leaves the text as it is."""


Sequence, WhitespaceSplit, Metaspace = pre_tokenizers.Sequence, pre_tokenizers.WhitespaceSplit, pre_tokenizers.Metaspace
SIGNS = [
    AddedToken("<mask>", lstrip=True, normalized=False),
    AddedToken("<end>", rstrip=True),
    AddedToken("Ann", lstrip=True, single_word=True),
    AddedToken("lo", normalized=True),
]

# Some replacements as SentencePiece has them, and some that are worse.
MAP = charsmap(
    {
        "\n": " ",
        "\t": " ",
        "\u3000": " ",
        "\x00": "",
        "\u200d": "",
        "…": "...",
        "é": "e",
        "e\u0301": "é",
        "ª": " a",
        "ˣ": "x ",
    }
)
CUT: dict[str, Callable[[], Tokenizer]] = {
    "cased words": lambda: checkpoint_factory.wordpiece(lowercase=False).backend_tokenizer,
    "uncased words": wordpiece,
    "words and added tokens": lambda: wordpiece(added=SIGNS),
    "words split at digits and punctuation": lambda: wordpiece(
        pre_tokenizer=Sequence([pre_tokenizers.Digits(), pre_tokenizers.Punctuation("contiguous"), WhitespaceSplit()])
    ),
    "whole words": of_words,
    "bytes": byte_level,
    "bytes behind a space": lambda: byte_level(True),
    "bytes and added tokens": lambda: byte_level(True, added=SIGNS),
    "normalized bytes": lambda: byte_level(normalizer=normalizers.NFC()),
    "pieces": unigram,
    "pieces, a space before the first": lambda: unigram("first"),
    "pieces, no space before the first": lambda: unigram("never"),
    "pieces and added tokens": lambda: unigram("first", added=SIGNS),
    "pieces of words": lambda: unigram(pre_tokenizer=Sequence([WhitespaceSplit(), Metaspace()])),
    "pieces between runs of spaces": lambda: unigram(
        normalizer=normalizers.Sequence(
            [normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), "▁")]
        )
    ),
    "pieces between runs of white space": lambda: unigram(
        "first",
        normalizer=normalizers.Sequence(
            [normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "), normalizers.NFC(), normalizers.Strip(left=False)]
        ),
        pre_tokenizer=Sequence([pre_tokenizers.Punctuation(), Metaspace(prepend_scheme="first")]),
    ),
    "pieces by SentencePiece's map": lambda: unigram(
        normalizer=normalizers.Sequence(
            [normalizers.Precompiled(MAP), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), "▁")]
        )
    ),
    "pieces by SentencePiece's map and all spaces but the last": lambda: unigram(
        normalizer=normalizers.Sequence([normalizers.Precompiled(MAP), normalizers.Strip(left=False)])
    ),
    "pieces of words by SentencePiece's map": lambda: unigram(
        "first",
        normalizer=normalizers.Precompiled(MAP),
        pre_tokenizer=Sequence([WhitespaceSplit(), Metaspace(prepend_scheme="first")]),
    ),
    "pieces without quotes and accents": lambda: unigram(
        normalizer=normalizers.Sequence(
            [
                normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                normalizers.StripAccents(), normalizers.Lowercase(),
            ]
        ),
    ),
    "pieces behind something": lambda: unigram("never", normalizer=normalizers.Prepend("▁")),
}  # fmt: skip

WHOLE: dict[str, Callable[[], Tokenizer]] = {
    "no pre-tokenizer": lambda: Tokenizer(models.BPE()),
    "chance": of_sampled_pieces,
    "one word": lambda: unigram(pre_tokenizer=Metaspace(split=False)),
    "bytes in one word": lambda: byte_level(pre_tokenizer=pre_tokenizers.ByteLevel(use_regex=False)),
    "split by an expression": lambda: byte_level(pre_tokenizer=pre_tokenizers.Split(Regex("x.*y"), "isolated")),
    "a pre-tokenizer in Python": lambda: wordpiece(
        pre_tokenizer=Sequence([pre_tokenizers.PreTokenizer.custom(InPython()), WhitespaceSplit()])
    ),
    "words are replaced": lambda: unigram(normalizer=normalizers.Replace("a b", "c")),
    "spaces are replaced": lambda: unigram(normalizer=normalizers.Replace(" ", "▁")),
    "an expression is replaced": lambda: unigram(normalizer=normalizers.Replace(Regex("a.*b"), "c")),
    "an added token with a space": lambda: wordpiece(added=[AddedToken("New York")]),
    "an added token with a comma": lambda: wordpiece(added=[AddedToken("a，b")]),
    "an added token that gets a space": lambda: wordpiece(added=[AddedToken("東京")]),
}

TEXTS = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(["a", "Ann", "lo", "x y", "<mask>", "<end>", "''", "``", "1", "ͺ", "가", "é", "e\u0301", "ᆨ", "東京", "ª", "ˣ", "。", "，京"]),
        st.sampled_from(["", " ", "  ", "\n", "\t ", "\u3000", "\x00", "\u200d", "\u0301", "▁"]),
        st.sampled_from([*ODD_TEXTS, *CORPUS]).map(lambda text: text[:60]),
    ),
    max_size=12,
).flatmap(lambda parts: st.sampled_from(["", " "]).map(lambda between: between.join(parts)))  # fmt: skip


def assert_same(backend: Tokenizer, splitter: TextSplitter, text: str) -> None:
    whole = backend.encode(text, add_special_tokens=False)
    (ours,) = encode_texts(backend, splitter, [text])
    assert ours.ids.tolist() == whole.ids
    assert ours.start is not None
    assert ours.end is not None
    assert list(zip(ours.start.tolist(), ours.end.tolist(), strict=True)) == whole.offsets


@pytest.mark.parametrize("kind", CUT)
def test_pieces_give_what_the_whole_gives(kind: str) -> None:
    backend = CUT[kind]()
    splitters = [TextSplitter(backend, piece_chars) for piece_chars in (1, 7)]
    assert all(splitter.can_cut for splitter in splitters)

    @settings(deadline=None, max_examples=200)
    @given(TEXTS)
    @example("Ann lo Ann <mask> lo  <end>  a ''Ann`` lo '' a <end> Ann <mask>, a\nb.\nc \nd")
    @example("\x00a \x00 b\x00 c ͺ ͺ aͺ bͺ c")
    @example(" a b  c ")
    def holds(text: str) -> None:
        for splitter, backend.encode_special_tokens in itertools.product(splitters, [False, True]):
            assert_same(backend, splitter, text)

    holds()


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_not_known_to_be_safe_is_read_whole(kind: str) -> None:
    splitter = TextSplitter(WHOLE[kind](), piece_chars=1)
    assert not splitter.can_cut
    assert [*splitter.pieces("Ann and Max")] == [(0, 0, 11)]


@pytest.mark.parametrize(
    ("text", "cuts"),
    [
        ("", []),
        ("Ann", []),
        ("Ann and Max", [3, 7]),
        ("Ann  and\nMax\tin\u3000Paris", [8]),  # before a single space or line feed
        ("Ann, and -Max 1 안녕 서울 -- x", [4, 8, 13, 15, 18, 21, 24]),
        ("ann 東 京 x", [3, 5, 7]),  # BERT puts spaces around these
        ("a\x00 b \x00 c", []),  # and takes these away
        ("我住在。李，。x 。 李。", [3, 5, 8, 10]),
    ],
)
def test_cuts_are_between_words(text: str, cuts: list[int]) -> None:
    pieces = [*TextSplitter(wordpiece(), piece_chars=1).pieces(text)]
    assert [piece.first for piece in pieces] == [0, *cuts]
    assert [piece.stop for piece in pieces] == [*cuts, len(text)]
    assert all(piece.lead == max(0, piece.first - 1) for piece in pieces)


def test_pieces_have_the_length_that_is_asked_for() -> None:
    text = "lorem ipsum " * 1000
    pieces = [*TextSplitter(wordpiece(), piece_chars=100).pieces(text)]
    assert all(100 <= piece.stop - piece.first < 112 for piece in pieces[:-1])
    assert [*TextSplitter(wordpiece(), piece_chars=len(text)).pieces(text)] == [(0, 0, len(text))]
    assert all(left.stop == right.first for left, right in itertools.pairwise(pieces))


def test_looking_for_a_cut_has_an_end() -> None:
    """A letter that ends an added token, which must not stand before a cut, stands before all spaces but one."""
    splitter = TextSplitter(wordpiece(added=[AddedToken("xyz")]), piece_chars=10)
    assert [piece.first for piece in splitter.pieces("z " * 50 + "x y")] == [0, 101]
    assert [piece.first for piece in splitter.pieces("z " * 105 + "x y" + "z " * 105)] == [
        0
    ]  # it lies in what is skipped


def test_long_and_short_texts_side_by_side() -> None:
    """With the embedded model, in pieces of the usual size; special tokens typed at the ends are text all the same."""
    tokenization = ModelSetup.load(ModelSettings(), weights=False).tokenization
    long = "[SEP] " + " ".join(CORPUS) * 200 + " [SEP]"
    texts = ["Ann", "", long, "Max"]
    found = tokenization.encode(texts)
    assert sum(1 for _ in TextSplitter(tokenization.tokenizer.backend_tokenizer).pieces(long)) > 1
    for text, encoded in zip(texts, found, strict=True):
        whole = tokenization.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
        assert encoded.ids.tolist() == whole.ids
        assert encoded.start is not None
        np.testing.assert_array_equal(encoded.start, [start for start, _ in whole.offsets])
