"""Splits long texts into pieces, so that the tokens of the pieces are those of the whole text."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

PIECE_CHARS = 50_000
"""The minimum length of a piece in characters. `tokenizers` takes some 150 bytes for each while it encodes a piece."""

_SIGNS = "。，"  # the Chinese full stop and comma, which can separate words instead of a space
_BETWEEN_WORDS = re.compile(rf"\S(?=[ \n{_SIGNS}]\S)")
_LOOKS = 100  # places to try for a split, before the piece is extended by its minimum length

# A normalized word. A space may precede it; a space may also follow it if the tokenizer drops spaces.
_WORD = re.compile(r"[ ▁]?[^\s▁]+")
_WORD_OR_IDEOGRAPH = re.compile(r"[ ▁]?[^\s▁]+ ?")

# Normalizers whose result for a character depends only on its neighbours up to the next space.
_NORMALIZERS = frozenset(
    "BertNormalizer Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Strip StripAccents".split()
)
# Patterns of replacements that match only spaces.
_OF_SPACES = frozenset([" {2,}", r"\s+", r"\s{2,}|[\n\r\t]"])

_SEPARATORS = {
    "BertPreTokenizer": (f" \n{_SIGNS}", None),
    "ByteLevel": (" \n", "use_regex"),
    "Metaspace": (" ", "split"),
    "Whitespace": (" \n", None),
    "WhitespaceSplit": (" \n", None),
}
"""For each pre-tokenizer: the characters at which it begins a word, and the setting that must be on for this."""
_DROPS_SPACES = frozenset(["BertPreTokenizer", "Whitespace", "WhitespaceSplit"])
_INDIFFERENT = frozenset(["Digits", "Punctuation"])  # neither splits at a space nor looks across it


class Piece(NamedTuple):
    """A part of a text.

    Attributes:
        lead: The first character to encode. It is the one before `first`, and its tokens are dropped. At the beginning
            of the text, it is `first` itself.
        first: The first character of the piece.
        stop: The character after the last one of the piece.
    """

    lead: int
    first: int
    stop: int


class TextSplitter:
    """Splits texts for a tokenizer of `tokenizers`.

    A split point lies between two words, before a single space or line feed. For BERT, it can also lie before a Chinese
    comma or full stop. The tokens of the pieces, one after the other, are exactly those of the whole text, because

    - no added token crosses a split point, since none contains such a separator, and none ends right before one;
    - the normalizer does not join the word before, the separator and the word after. This is checked for each split
      point;
    - the normalizer reads no further than a word. Its steps are those of Unicode, BERT and SentencePiece, and
      replacements of signs or of runs of spaces;
    - the first pre-tokenizer that splits at spaces begins a word at the split point, and later ones read one word at a
      time;
    - the model reads one word at a time, without randomness;
    - a piece is encoded from the character before it. A tokenizer may treat the beginning of a text in its own way: add
      a space, or remove spaces. This then affects only the extra character.

    A text is not split if

    - the tokenizer is not known to work like this;
    - the text is short, or has no split point;
    - SentencePiece's character map removes a character at the beginning of the text or right after an added token.
      In these places, `tokenizers` does not count the character, and all later offsets are too low.

    Attributes:
        can_cut: Whether to split texts at all: true if the tokenizer is known to work like this.
    """

    # A text with a split point before the space after "Bern" (`_` is a space):
    #
    #   text       ...town_of_Bern_lies_in_a_loop...
    #   piece 1    ...town_of_Bern
    #   piece 2                  n_lies_in_a_loop...
    #                            |^ first: the split point
    #                            ^ lead: encoded with the piece, and its tokens are dropped

    def __init__(self, backend: Any, piece_chars: int = PIECE_CHARS) -> None:
        """Inspects the tokenizer, which must not change afterwards.

        Args:
            backend: A `tokenizers.Tokenizer`.
            piece_chars: The minimum length of a piece in characters; the last piece may be shorter.
        """
        self._backend = backend
        self._piece_chars = piece_chars
        self._separators, self._word = _separators(backend)
        self._ends = {form[-1:] for form in _added_tokens(backend) if form}
        self.can_cut = bool(self._separators)
        self._maps = _maps(backend) if self.can_cut else []
        self._stay_apart = functools.lru_cache(maxsize=1 << 12)(self._look)

    def pieces(self, text: str) -> Iterator[Piece]:
        """Yields the pieces of a text in order. A text that is short or cannot be split is one piece."""
        is_cut = self.can_cut and len(text) > self._piece_chars and not self._loses_count(text)
        cuts = self._cuts(text) if is_cut else ()
        for first, stop in itertools.pairwise([0, *cuts, len(text)]):
            yield Piece(max(0, first - 1), first, stop)

    def _cuts(self, text: str) -> Iterator[int]:
        """Yields the split points of a text, each at least a piece's minimum length after the one before."""
        at, looks = self._piece_chars, 0
        while place := _BETWEEN_WORDS.search(text, at):
            at, looks = place.end(), looks + 1
            is_cut = self._stay_apart(text[at - 1 : at + 2])
            if is_cut:
                yield at
            if is_cut or looks == _LOOKS:
                at, looks = at + self._piece_chars, 0

    def _loses_count(self, text: str) -> bool:
        """Return whether a character may be removed in a place where this makes the later offsets too low."""
        vanishing = (
            character
            for character in set(text if self._maps else "")
            if any(not of.normalize_str(character) for of in self._maps)
        )
        return any(
            text.startswith(character) or any(end + character in text for end in self._ends) for character in vanishing
        )

    def _look(self, around: str) -> bool:
        """Return whether a text can be split between the first and the second of three characters.

        For this, the first must have a token, and a new word must begin at the second.
        """
        first, between, last = [*around]
        if between in _SIGNS and between not in self._separators:
            return False
        normalizer = self._backend.normalizer
        normalized = str if normalizer is None else normalizer.normalize_str
        # With another letter after it, because a normalizer may remove spaces at a text's end.
        before, behind, all_three = normalized(f"{first}z").removesuffix("z"), normalized(last), normalized(around)
        if not self._word.fullmatch(before) or not behind.strip(" ▁"):
            return False
        if not self._ends.isdisjoint(first + before.strip()):
            return False
        if not all_three.startswith(tuple(before + separator for separator in self._separators)):
            return False
        offsets = self._backend.encode(around, add_special_tokens=False).offsets
        return bool(offsets) and offsets[0][0] == 0


def _maps(backend: Any) -> list[Any]:
    """Return the character maps of SentencePiece in the normalizer's steps."""
    from tokenizers import normalizers

    steps = _steps(backend.normalizer, "normalizers")
    compiled = [step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"]
    return [normalizers.Precompiled(base64.b64decode(one)) for one in compiled if one]


def _separators(backend: Any) -> tuple[str, re.Pattern[str]]:
    """Return the characters before which a text may be split, and the pattern of the word before.

    At such a character, a word begins whose tokens do not depend on the text before it. There are no such characters if
    the tokenizer is not known to work like this.
    """
    try:
        normalizers = _steps(backend.normalizer, "normalizers")
        pre_tokenizers = _steps(backend.pre_tokenizer, "pretokenizers")
    except Exception:  # a component written in Python, about which nothing is known
        return "", _WORD
    splits = next((step for step in pre_tokenizers if step["type"] not in _INDIFFERENT), {"type": ""})
    separators, setting = _SEPARATORS.get(splits["type"], ("", None))
    is_local = (
        (setting is None or splits[setting])
        and not any(getattr(backend.model, name, None) for name in ("dropout", "alpha", "nbest_size"))
        and all(map(_looks_no_further, normalizers))
        and not any(re.search(rf"[\s{_SIGNS}]", form) for form in _added_tokens(backend))
    )
    reads_spaces = (
        splits["type"] not in _DROPS_SPACES
        or any(step["type"] == "Replace" for step in normalizers)
        or any(token.lstrip for token in backend.get_added_tokens_decoder().values())
    )
    return separators if is_local else "", _WORD if reads_spaces else _WORD_OR_IDEOGRAPH


def _steps(component: Any, key: str) -> list[dict[str, Any]]:
    """Return the steps of a normalizer or pre-tokenizer, with nested sequences flattened."""
    pending = [] if component is None else [json.loads(component.__getstate__())]
    steps = []
    while pending:
        step = pending.pop(0)
        if step["type"] == "Sequence":
            pending = step[key] + pending
        else:
            steps.append(step)
    return steps


def _looks_no_further(normalizer: dict[str, Any]) -> bool:
    """Return whether a normalizer's step is known to read no further than a word."""
    if normalizer["type"] != "Replace":
        return normalizer["type"] in _NORMALIZERS
    pattern = normalizer["pattern"]
    return pattern.get("Regex") in _OF_SPACES or not re.search(rf"[\s\w▁{_SIGNS}]", pattern.get("String", " "))


def _added_tokens(backend: Any) -> Iterator[str]:
    """Yields the added tokens as they are matched, some in the original text and some in the normalized text."""
    for token in backend.get_added_tokens_decoder().values():
        yield token.content
        if token.normalized and backend.normalizer is not None:
            yield backend.normalizer.normalize_str(token.content)
