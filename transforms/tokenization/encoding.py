"""Texts as columns of token ids and offsets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.tokenization.splitting import Cutter, Piece

_CHARS_AT_ONCE = 200_000
"""Characters of the pieces that are read together, by several threads."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """One text as tokens, without special tokens.

    Attributes:
        ids: int32[n_tokens].
        start: int32[n_tokens], first code point of each token; None from a slow tokenizer.
        end: int32[n_tokens], code point after the last; None from a slow tokenizer.
        opens_word: bool[n_tokens], true for the first token of each word where the text was given as words.
    """

    ids: np.ndarray
    start: np.ndarray | None
    end: np.ndarray | None
    opens_word: np.ndarray | None = None


def encode_texts(backend: Any, cutter: Cutter, texts: Sequence[str]) -> list[Encoded]:
    """The tokens of each text, however long, a few pieces at a time: what `tokenizers` makes of a text is large.

    Args:
        backend: A `tokenizers.Tokenizer`.
        cutter: What cuts texts for this tokenizer, or for one that differs from it in its vocabulary alone.
        texts: What to read.
    """
    parts: list[list[Encoded]] = [[] for _ in texts]
    pieces = ((number, piece) for number, text in enumerate(texts) for piece in cutter.pieces(text))
    for some in _groups(pieces):
        read = [texts[number][piece.lead : piece.stop] for number, piece in some]
        encodings = backend.encode_batch(read, add_special_tokens=False)
        for (number, piece), encoding in zip(some, encodings, strict=True):
            parts[number].append(_without_lead(_columns(encoding, piece.lead), piece))
    return [_joined(of_text) for of_text in parts]


def encode_text(backend: Any, cutter: Cutter, text: str) -> Encoded:
    """The tokens of one text; see `encode_texts`."""
    (encoded,) = encode_texts(backend, cutter, [text])
    return encoded


def encode_words(backend: Any, words: Sequence[str], delimiter: str) -> Encoded:
    """The tokens of a text that is given as words, with offsets as if the words were joined by `delimiter`."""
    encoding = backend.encode(list(words), is_pretokenized=True, add_special_tokens=False)
    lengths = [len(word) + len(delimiter) for word in words]
    word_starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    word = np.array(encoding.word_ids, np.int64)
    return replace(_columns(encoding, word_starts[word]), opens_word=np.diff(word, prepend=-1) != 0)


def _groups(pieces: Iterable[tuple[int, Piece]]) -> Iterator[list[tuple[int, Piece]]]:
    """The same pieces, each with the number of its text, in lists of a limited number of characters."""
    group: list[tuple[int, Piece]] = []
    chars = 0
    for number, piece in pieces:
        length = piece.stop - piece.lead
        if group and chars + length > _CHARS_AT_ONCE:
            yield group
            group, chars = [], 0
        group.append((number, piece))
        chars += length
    if group:
        yield group


def _columns(encoding: Any, shift: np.ndarray | int = 0) -> Encoded:
    offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    return Encoded(np.array(encoding.ids, np.int32), offsets[:, 0] + shift, offsets[:, 1] + shift)


def _without_lead(encoded: Encoded, piece: Piece) -> Encoded:
    if piece.lead == piece.first or encoded.start is None or encoded.end is None:
        return encoded
    kept = encoded.start >= piece.first
    return Encoded(encoded.ids[kept], encoded.start[kept], encoded.end[kept])


def _joined(parts: Sequence[Encoded]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    ids, start, end = zip(*((part.ids, part.start, part.end) for part in parts), strict=True)
    return Encoded(np.concatenate(ids), np.concatenate(start), np.concatenate(end))
