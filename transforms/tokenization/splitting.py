"""Where a long text may be cut, so that the tokens of its pieces are those of the whole."""

from __future__ import annotations

import base64
import functools
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

PIECE_CHARS = 50_000
"""Characters of a piece, at the least: `tokenizers` takes some 150 bytes for each while it reads it."""

_SIGNS = "。，"  # what Chinese has between words where others have spaces
_BETWEEN_WORDS = re.compile(rf"\S(?=[ \n{_SIGNS}]\S)")
_LOOKS = 100  # at places where a piece might end, before it gets as much again

# A word as it is normalized: there may be a space before it, and behind it where that makes no difference.
_WORD = re.compile(r"[ ▁]?[^\s▁]+")
_WORD_OR_IDEOGRAPH = re.compile(r"[ ▁]?[^\s▁]+ ?")

# What each of these makes of a character depends on its neighbours up to the next space, and on no more.
_NORMALIZERS = frozenset(
    "BertNormalizer Lowercase NFC NFD NFKC NFKD Nmt Precompiled Prepend Strip StripAccents".split()
)
_OF_SPACES = frozenset([" {2,}", r"\s+", r"\s{2,}|[\n\r\t]"])

_SEPARATORS = {
    "BertPreTokenizer": (f" \n{_SIGNS}", None),
    "ByteLevel": (" \n", "use_regex"),
    "Metaspace": (" ", "split"),
    "Whitespace": (" \n", None),
    "WhitespaceSplit": (" \n", None),
}
"""Pre-tokenizers that begin a word at one of these characters, and the setting that makes them."""
_DROPS_SPACES = frozenset(["BertPreTokenizer", "Whitespace", "WhitespaceSplit"])
_INDIFFERENT = frozenset(["Digits", "Punctuation"])  # neither splits at a space nor looks across it


class Piece(NamedTuple):
    """Part of a text.

    Attributes:
        lead: Where to begin to read: a character before `first`, whose tokens do not count; but not before the text.
        first: First character of the piece.
        stop: The character after its last.
    """

    lead: int
    first: int
    stop: int


class Cutter:
    """Cuts texts for a tokenizer of `tokenizers`.

    A cut lies between two words, before a single space or line feed, or for BERT before a Chinese comma or full stop.
    The tokens of the pieces, one behind the other, are exactly those of the whole, because

    - no added token reaches over a cut, for none holds one of these; nor is there one right before it;
    - the normalizer leaves the word before the cut, what separates them and the word behind it apart, which is looked
      at for each cut; and it looks no further than a word: its steps are those of Unicode, BERT and SentencePiece, and
      replacements of signs or of runs of spaces;
    - the first pre-tokenizer that splits at spaces begins a word at the cut, and those after it see one word at a time;
    - the model sees one word at a time, and throws no dice;
    - a piece is read from the character before it, so that what is special about a text's beginning (a space put
      before it, or spaces taken away) happens to that one.

    A tokenizer that is not known to be so reads every text whole, as every one does a text without such places, or one
    from whose beginning SentencePiece's map takes a character away, or from behind an added token: there `tokenizers`
    loses count, and the offsets that follow are too low.

    Attributes:
        can_cut: Whether the tokenizer is known to be so.
    """

    def __init__(self, backend: Any, piece_chars: int = PIECE_CHARS) -> None:
        """Looks at the tokenizer, which must not change from now on.

        Args:
            backend: A `tokenizers.Tokenizer`.
            piece_chars: Characters of a piece, at the least.
        """
        self._backend = backend
        self._piece_chars = piece_chars
        self._separators, self._word = _separators(backend)
        self._ends = {form[-1:] for form in _added_tokens(backend) if form}
        self.can_cut = bool(self._separators)
        self._maps = _maps(backend) if self.can_cut else []
        self._stay_apart = functools.lru_cache(maxsize=1 << 12)(self._look)

    def pieces(self, text: str) -> Iterator[Piece]:
        """The pieces of a text, in order: at least one, and one alone if the text is short or cannot be cut."""
        is_cut = self.can_cut and len(text) > self._piece_chars and not self._loses_count(text)
        cuts = self._cuts(text) if is_cut else ()
        for first, stop in itertools.pairwise([0, *cuts, len(text)]):
            yield Piece(max(0, first - 1), first, stop)

    def _cuts(self, text: str) -> Iterator[int]:
        at, looks = self._piece_chars, 0
        while place := _BETWEEN_WORDS.search(text, at):
            at, looks = place.end(), looks + 1
            is_cut = self._stay_apart(text[at - 1 : at + 2])
            if is_cut:
                yield at
            if is_cut or looks == _LOOKS:
                at, looks = at + self._piece_chars, 0

    def _loses_count(self, text: str) -> bool:
        vanishing = (
            character
            for character in set(text if self._maps else "")
            if any(not of.normalize_str(character) for of in self._maps)
        )
        return any(
            text.startswith(character) or any(end + character in text for end in self._ends) for character in vanishing
        )

    def _look(self, around: str) -> bool:
        """Whether the first of these three characters has a token, and a new word begins at the second."""
        first, between, last = [*around]
        if between in _SIGNS and between not in self._separators:
            return False
        normalizer = self._backend.normalizer
        normalized = str if normalizer is None else normalizer.normalize_str
        # Before another letter: at a text's end, spaces might be taken away.
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
    """The normalizer's steps that are SentencePiece's."""
    from tokenizers import normalizers

    steps = _steps(backend.normalizer, "normalizers")
    compiled = [step["precompiled_charsmap"] for step in steps if step["type"] == "Precompiled"]
    return [normalizers.Precompiled(base64.b64decode(one)) for one in compiled if one]


def _separators(backend: Any) -> tuple[str, re.Pattern[str]]:
    """Characters at which a word begins whose tokens do not depend on what stands before; and what may stand there.

    There are no such characters if that is not known of the tokenizer.
    """
    try:
        normalizers = _steps(backend.normalizer, "normalizers")
        pre_tokenizers = _steps(backend.pre_tokenizer, "pretokenizers")
    except Exception:  # one in Python, of which nothing is known
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
    """The steps of a normalizer or pre-tokenizer, sequences within sequences unfolded."""
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
    if normalizer["type"] != "Replace":
        return normalizer["type"] in _NORMALIZERS
    pattern = normalizer["pattern"]
    return pattern.get("Regex") in _OF_SPACES or not re.search(rf"[\s\w▁{_SIGNS}]", pattern.get("String", " "))


def _added_tokens(backend: Any) -> Iterator[str]:
    """The added tokens as they are looked for, some in the text as it is and some in the normalized one."""
    for token in backend.get_added_tokens_decoder().values():
        yield token.content
        if token.normalized and backend.normalizer is not None:
            yield backend.normalizer.normalize_str(token.content)
