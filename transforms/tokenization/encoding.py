"""Texts as columns of token ids and offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.chunks import chunks
from transforms.tokenization.splitting import Piece, TextSplitter

_CHARS_AT_ONCE = 200_000
"""The most characters of the pieces that are encoded together, by several threads; a longer piece is alone."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """One text as tokens, without special tokens.

    Attributes:
        ids: int32[n_tokens].
        start: int32[n_tokens], first code point of each token; None from a slow tokenizer.
        end: int32[n_tokens], code point after the last one; None from a slow tokenizer.
        opens_word: bool[n_tokens], true for the first token of each word: of the words in which the text was given, or
            of the tokenizer's own if they were asked for. Otherwise None.
    """

    ids: np.ndarray
    start: np.ndarray | None
    end: np.ndarray | None
    opens_word: np.ndarray | None = None


def encode_texts(backend: Any, splitter: TextSplitter, texts: Sequence[str], *, words: bool = False) -> list[Encoded]:
    """Return the tokens of each text, however long it is.

    A few pieces are encoded at a time, because an encoding of `tokenizers` takes much memory.

    Args:
        backend: A `tokenizers.Tokenizer`.
        splitter: The splitter for this tokenizer, or for one that differs only in its vocabulary.
        texts: The texts to encode.
        words: Whether to include the beginnings of the tokenizer's words.
    """
    parts: list[list[Encoded]] = [[] for _ in texts]
    pieces = ((number, piece) for number, text in enumerate(texts) for piece in splitter.pieces(text))
    for some in chunks(pieces, _CHARS_AT_ONCE, _chars_of):
        read = [texts[number][piece.lead : piece.stop] for number, piece in some]
        encodings = backend.encode_batch(read, add_special_tokens=False)
        for (number, piece), encoding in zip(some, encodings, strict=True):
            columns = _columns(encoding, piece.lead)
            if words:
                columns = replace(columns, opens_word=_openings(encoding.word_ids))
            parts[number].append(_without_lead(columns, piece))
    return [_joined(of_text) for of_text in parts]


def encode_words(backend: Any, words: Sequence[str], delimiter: str) -> Encoded:
    """Return the tokens of a text that is given as words. Offsets count in the words joined by `delimiter`."""
    encoding = backend.encode(list(words), is_pretokenized=True, add_special_tokens=False)
    lengths = [len(word) + len(delimiter) for word in words]
    word_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    word = np.array(encoding.word_ids, np.int64)
    return replace(_columns(encoding, word_starts[word]), opens_word=_openings(encoding.word_ids))


def _openings(word_ids: Sequence[int | None]) -> np.ndarray:
    """Return whether each token is the first of its word, by the numbers of the words: bool[n_tokens]."""
    return np.diff(np.array(word_ids, np.float64), prepend=-1) != 0  # NaN, for no word, differs from every number


def _chars_of(numbered: tuple[int, Piece]) -> int:
    _, piece = numbered
    return piece.stop - piece.lead


def _columns(encoding: Any, shift: np.ndarray | int = 0) -> Encoded:
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    return Encoded(np.array(encoding.ids, np.int32), offsets[:, 0] + shift, offsets[:, 1] + shift)


def _without_lead(encoded: Encoded, piece: Piece) -> Encoded:
    if piece.lead == piece.first or encoded.start is None or encoded.end is None:
        return encoded
    kept = encoded.start >= piece.first
    opens_word = None if encoded.opens_word is None else encoded.opens_word[kept]
    return Encoded(encoded.ids[kept], encoded.start[kept], encoded.end[kept], opens_word)


def _joined(parts: Sequence[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    ids, start, end, opens_word = zip(
        *((part.ids, part.start, part.end, part.opens_word) for part in parts), strict=True
    )
    return Encoded(
        np.concatenate(ids),
        np.concatenate(start),
        np.concatenate(end),
        None if opens_word[0] is None else np.concatenate(opens_word),
    )
