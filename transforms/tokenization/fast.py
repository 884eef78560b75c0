"""Tokenizers that are backed by `tokenizers`: with offsets and subwords, and with many texts in one call."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from transforms.errors import ArgumentError
from transforms.pre_entities import object_column
from transforms.tokenization.encoding import Encoded, encode_texts, encode_words
from transforms.tokenization.special_tokens import without_pieces
from transforms.tokenization.splitting import TextSplitter
from transforms.tokenization.tokenizer import Template, Tokenization, positions

_PROBES = ("a", "the", "1", "中")
_SENTENCE = "Ann wrote to Bob."


class FastTokenization(Tokenization):
    """A fast tokenizer; see `Tokenization`."""

    is_fast = True

    def __init__(self, tokenizer: Any, special_tokens: str = "text") -> None:
        from transformers import PreTrainedTokenizerFast

        super().__init__(tokenizer, special_tokens)
        backend = tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = self._reads_as_text or tokenizer.split_special_tokens
        self._backend = backend
        self._splitter = TextSplitter(backend)
        if type(tokenizer).convert_tokens_to_string is PreTrainedTokenizerFast.convert_tokens_to_string:
            # Returns the same as that method, without a search for the decoder in each call.
            self.to_string = " ".join if backend.decoder is None else _cached(backend.decoder.decode)
        self.knows_words = bool(getattr(backend.model, "continuing_subword_prefix", None))
        size = 1 + max(tokenizer.get_vocab().values(), default=-1)
        words = [backend.id_to_token(token_id) or "" for token_id in range(size)]
        self._words = object_column(words)
        self._word_lengths = np.array([len(word) for word in words], np.int32)
        self._spaced = np.array([word[:1] == "Ġ" or word[:1].isspace() for word in words], bool)
        self._is_special = np.isin(np.arange(size), self._special_ids)
        self._spares_first_space = _spares_first_space(backend.post_processor)
        self.template = self._template()

    def encode(self, texts: Sequence[str], words: bool = False) -> list[Encoded]:
        """Return the tokens of each text; see `Tokenization.encode`."""
        encoded = encode_texts(self._backend, self._splitter, texts, words=words)
        again = [number for number, tokens in enumerate(encoded) if self._reads_special(tokens)]
        if again and self._plain_backend is not None:
            unread = [texts[number] for number in again]
            plain = encode_texts(self._plain_backend, self._splitter, unread, words=words)
        else:
            plain = [encoded[number] for number in again]
        for number, tokens in zip(again, plain, strict=True):
            encoded[number] = replace(tokens, ids=self._without_special(tokens.ids))
        return encoded

    def check_words(self) -> None:
        """Checks that the tokenizer splits texts into words; see `Tokenization.check_words`."""
        if len(set(self._backend.encode(_SENTENCE, add_special_tokens=False).word_ids)) < 2:
            raise ArgumentError(
                f"word_boundaries='tokenizer': {type(self.tokenizer).__name__} does not split a text into words;"
                " expected hf"
            )

    def encode_words(self, words: Sequence[str], delimiter: str) -> tuple[str, Encoded]:
        """Return the tokens of a text that is given as words; see `Tokenization.encode_words`."""
        encoded = encode_words(self._backend, words, delimiter)
        if self._reads_special(encoded):
            if self._plain_backend is not None:
                encoded = encode_words(self._plain_backend, words, delimiter)
            encoded = replace(encoded, ids=self._without_special(encoded.ids))
        return delimiter.join(words), encoded

    def window(self, encoded: Encoded, first: int, stop: int) -> Encoded:
        """Return the tokens of one window; see `Tokenization.window`.

        A byte-level tokenizer that puts a space before each text includes a window's first space in the offsets of the
        window's first token. In a text that is given as words, the first token of a word needs no such change.
        """
        tokens = super().window(encoded, first, stop)
        ids, start, end = tokens.ids, tokens.start, tokens.end
        if start is None or end is None:
            return tokens
        opens_word = encoded.opens_word is not None and len(ids) and encoded.opens_word[first]
        if first > 0 and len(ids) and self._spares_first_space and self._spaced[ids[0]] and not opens_word:
            start, end = start.copy(), end.copy()
            if start[0] == end[0]:  # a token of nothing but spaces
                end[0] -= 1
            start[0] -= 1
            return Encoded(ids, start, end)
        return tokens

    def kept_positions(self, ids: np.ndarray) -> np.ndarray:
        """Return the positions of the text's tokens; see `Tokenization.kept_positions`."""
        return positions(len(self.template.prefix), len(ids))

    def _tokens(self, ids: np.ndarray) -> np.ndarray:
        return self._words[ids]

    def _continues_word(self, text: str, ids: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        if not self.knows_words:
            return super()._continues_word(text, ids, start, end)
        covered = np.maximum(np.minimum(end, len(text)) - np.minimum(start, len(text)), 0)
        return self._word_lengths[ids] != covered

    def _largest_text_id(self) -> int:
        return int(np.flatnonzero(~self._is_special)[-1]) if not self._is_special.all() else 0

    def _reads_special(self, encoded: Encoded) -> bool:
        """Return whether special tokens were matched in a text that must not contain any."""
        return self._reads_as_text and bool(self._is_special[encoded.ids].any())

    @functools.cached_property
    def _plain_backend(self) -> Any:
        """The backend that matches no special token, or None if there is none.

        It is built for the first text that needs it, because this takes a second with a large vocabulary.
        """
        return without_pieces(self._backend, frozenset(self._special_ids.tolist()))

    def _template(self) -> Template:
        for probe in _PROBES:
            encoding = self._backend.encode(probe)
            text = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
            if len(text):
                return Template.around(encoding.ids, encoding.type_ids, int(text[0]), int(text[-1]) + 1)
        return Template.around([], [0], 0, 0)


def _cached(decode: Callable[[list[str]], str]) -> Callable[[list[str]], str]:
    """Return a function that caches the rendering of single tokens, because most words are one token."""
    single = functools.lru_cache(maxsize=1 << 16)(lambda token: decode([token]))
    return lambda tokens: single(tokens[0]) if len(tokens) == 1 else decode(tokens)


def _spares_first_space(post_processor: Any) -> bool:
    """Return whether offsets exclude all spaces except the one that the tokenizer puts before the text."""
    if post_processor is None:
        return False
    state = json.loads(post_processor.__getstate__())
    return any(
        step.get("trim_offsets", False) and step.get("add_prefix_space", False)
        for step in [state, *state.get("processors", [])]
    )
