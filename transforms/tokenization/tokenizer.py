"""A checkpoint's tokenizer, with texts as columns of token ids and offsets."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from transforms.pre_entities import object_column
from transforms.tokenization.encoding import Encoded, encode_text, encode_texts, encode_words
from transforms.tokenization.special_tokens import special_ids, without_pieces
from transforms.tokenization.splitting import Cutter

USABLE_LENGTH = 10**9
"""A `model_max_length` above this is transformers' way of saying that the tokenizer names none."""

_CHARS_AT_ONCE = 1_000_000

_PROBES = ("a", "the", "1", "中")


@dataclass(frozen=True, eq=False)
class Template:
    """The special tokens that the tokenizer puts around a text.

    Attributes:
        prefix: int64[n], ids before the text.
        suffix: int64[n], ids behind it.
        types: The token type of the prefix's, the text's and the suffix's tokens: int64[n_prefix],
            int64[1], int64[n_suffix].
    """

    prefix: np.ndarray
    suffix: np.ndarray
    types: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def num_special(self) -> int:
        """Special tokens in each window."""
        return len(self.prefix) + len(self.suffix)

    def input_ids(self, ids: np.ndarray) -> np.ndarray:
        """These ids between the special tokens: int64[n + num_special]."""
        return np.concatenate([self.prefix, ids, self.suffix])

    def token_type_ids(self, num_tokens: int) -> np.ndarray:
        """Token types of a window that holds `num_tokens` tokens of text."""
        prefix, text, suffix = self.types
        return np.concatenate([prefix, np.repeat(text, num_tokens), suffix])


class Tokenization:
    """Wraps a tokenizer of transformers; safe for concurrent use.

    Attributes:
        tokenizer: The tokenizer itself, which nothing here changes after construction.
        is_fast: Whether it is backed by `tokenizers`, and so knows offsets and subwords.
        template: The special tokens around a window.
        side: The side on which it truncates, ``right`` or ``left``.
        uses_token_types: Whether the model is fed `token_type_ids`.
        to_string: The tokenizer's rendering of some tokens.
    """

    def __init__(self, tokenizer: Any, special_tokens: str = "text") -> None:
        """Sets the tokenizer up.

        Args:
            tokenizer: A tokenizer of transformers, which nobody else may change from now on.
            special_tokens: What a special token is that stands in a text. ``text``: the characters that it is
                written in, or an unknown word where the tokenizer cannot but match it, as slow ones do.
                ``special``: what Hugging Face makes of it, which is the special token itself.
        """
        from transformers import PreTrainedTokenizerFast

        self.tokenizer = tokenizer
        self.is_fast: bool = tokenizer.is_fast
        self.side: str = tokenizer.truncation_side
        self.uses_token_types = "token_type_ids" in tokenizer.model_input_names
        self._unk_id: int | None = tokenizer.unk_token_id
        self._slow_lock = threading.Lock()
        self.to_string: Callable[[list[str]], str] = tokenizer.convert_tokens_to_string
        self._reads_as_text = special_tokens == "text"
        self._special_ids = np.array(sorted(special_ids(tokenizer)), np.int64)
        if self.is_fast:
            backend = tokenizer.backend_tokenizer
            backend.no_truncation()
            backend.no_padding()
            backend.encode_special_tokens = self._reads_as_text or tokenizer.split_special_tokens
            self._backend = backend
            self._cutter = Cutter(backend)
            if type(tokenizer).convert_tokens_to_string is PreTrainedTokenizerFast.convert_tokens_to_string:
                # What that method does, without its looking for the decoder each time.
                self.to_string = " ".join if backend.decoder is None else _remembering(backend.decoder.decode)
            # Hugging Face's test for a tokenizer that knows the words of a text.
            self.knows_words = bool(getattr(backend.model, "continuing_subword_prefix", None))
            size = 1 + max(tokenizer.get_vocab().values(), default=-1)
            words = [backend.id_to_token(token_id) or "" for token_id in range(size)]
            self._words = object_column(words)
            self._word_lengths = np.array([len(word) for word in words], np.int32)
            self._spaced = np.array([word[:1] == "Ġ" or word[:1].isspace() for word in words], bool)
            self._is_special = np.isin(np.arange(size), self._special_ids)
            self._spares_first_space = _spares_first_space(backend.post_processor)
            self.template = self._fast_template()
        else:
            self.knows_words = False
            self._spares_first_space = False
            self.template = self._slow_template()

    @property
    def model_max_length(self) -> int | None:
        """Longest input that the tokenizer names, special tokens counted; None if it names no usable one."""
        length = self.tokenizer.model_max_length
        return int(length) if length and 0 < length < USABLE_LENGTH else None

    @property
    def largest_id(self) -> int:
        """The largest id that a model is given: that of a special token counts only if the template has it."""
        around = [*self.template.prefix.tolist(), *self.template.suffix.tolist()]
        if not self.is_fast:
            return max(len(self.tokenizer) - 1, *around)
        return max(0, *np.flatnonzero(~self._is_special)[-1:].tolist(), *around)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The tokens of each text, however long it is."""
        if not self.is_fast:
            with self._slow_lock:
                return [self._encode_slowly(text) for text in texts]
        encoded = encode_texts(self._backend, self._cutter, texts)
        return [
            self._as_text(tokens, encode_text, self._cutter, text) for tokens, text in zip(encoded, texts, strict=True)
        ]

    def encode_words(self, words: Sequence[str], delimiter: str) -> tuple[str, Encoded]:
        """The tokens of a text that is given as words.

        Returns:
            The words joined by `delimiter`, and tokens whose offsets count in that text.

        Raises:
            ValueError: if the tokenizer is slow.
        """
        if not self.is_fast:
            raise ValueError("is_split_into_words=True is only supported with fast tokenizers.")
        encoded = encode_words(self._backend, words, delimiter)
        return delimiter.join(words), self._as_text(encoded, encode_words, words, delimiter)

    def window(self, encoded: Encoded, first: int, stop: int) -> Encoded:
        """The tokens of one window, as the tokenizer would give them had it cut the text itself.

        A byte-level tokenizer that puts a space before the text leaves the first space of each window inside its
        first token's offsets; in a word, that is so for its first token anyway.
        """
        ids = encoded.ids[first:stop]
        if encoded.start is None or encoded.end is None:
            return Encoded(ids, None, None)
        start, end = encoded.start[first:stop], encoded.end[first:stop]
        opens_word = encoded.opens_word is not None and len(ids) and encoded.opens_word[first]
        if first > 0 and len(ids) and self._spares_first_space and self._spaced[ids[0]] and not opens_word:
            start, end = start.copy(), end.copy()
            if start[0] == end[0]:  # a token of nothing but spaces
                end[0] -= 1
            start[0] -= 1
        return Encoded(ids, start, end)

    def kept_positions(self, ids: np.ndarray) -> np.ndarray:
        """int32[n]: positions in ``template.input_ids(ids)`` that are no special tokens; not to be written to.

        A special token that is written in the text counts as text, except for what a slow tokenizer makes of it
        where it is to be special.
        """
        if self.is_fast or self._reads_as_text:
            return _positions(len(self.template.prefix), len(ids))
        mask = self.tokenizer.get_special_tokens_mask(ids.tolist())
        return np.flatnonzero(np.array(mask, np.int64) == 0).astype(np.int32)

    def words_and_subwords(
        self, text: str, ids: np.ndarray, start: np.ndarray | None, end: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The string of each token, and whether it continues a word, by Hugging Face's rules.

        With a tokenizer that marks continuing subwords, a token continues a word if its string is not as long as the
        text it covers; with others, if no space stands at its first code point or the one before. The
        unknown token takes the text that it covers and never continues a word. Without offsets, nothing does.

        Returns:
            object[n_tokens] and bool[n_tokens].
        """
        words = self._tokens(ids)
        if start is None or end is None:
            return words, np.zeros(len(ids), bool)
        if self.knows_words:
            covered = np.maximum(np.minimum(end, len(text)) - np.minimum(start, len(text)), 0)
            is_subword = self._word_lengths[ids] != covered
        else:
            is_subword = _touches_no_space(text, start)
        unknown = np.flatnonzero(ids == self._unk_id) if self._unk_id is not None else ()
        for row in unknown:
            words[row] = text[start[row] : end[row]]
            is_subword[row] = False
        return words, is_subword

    def _tokens(self, ids: np.ndarray) -> np.ndarray:
        if self.is_fast:
            return self._words[ids]
        return object_column(self.tokenizer.convert_ids_to_tokens(ids.tolist()))

    def _as_text(self, encoded: Encoded, again: Callable[..., Encoded], *source: Any) -> Encoded:
        """The same tokens; where special ones are among them, those of ``again(tokenizer, *source)``."""
        if not self._reads_as_text or not self._is_special[encoded.ids].any():
            return encoded
        if self._plain_backend is not None:
            encoded = again(self._plain_backend, *source)
        return replace(encoded, ids=self._without_special(encoded.ids))

    @functools.cached_property
    def _plain_backend(self) -> Any:
        """Made for the first text that needs it, since it takes a second with a large vocabulary."""
        return without_pieces(self._backend, frozenset(self._special_ids.tolist()))

    @functools.cached_property
    def _stand_in(self) -> int | None:
        """The id that a special token gets where it was matched all the same."""
        return self.tokenizer.convert_tokens_to_ids("\ufffd") if self._unk_id is None else self._unk_id

    def _without_special(self, ids: np.ndarray) -> np.ndarray:
        special = np.isin(ids, self._special_ids)
        return np.where(special, self._stand_in, ids) if special.any() and self._stand_in is not None else ids

    def _encode_slowly(self, text: str) -> Encoded:
        ids = self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        ids = np.array(ids, np.int32)
        return Encoded(self._without_special(ids) if self._reads_as_text else ids, None, None)

    def _fast_template(self) -> Template:
        for probe in _PROBES:
            encoding = self._backend.encode(probe)
            text = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
            if len(text):
                return _template(encoding.ids, encoding.type_ids, int(text[0]), int(text[-1]) + 1)
        return _template([], [0], 0, 0)

    def _slow_template(self) -> Template:
        probe = self._encode_slowly(_PROBES[0]).ids.tolist()[:1] or [self._unk_id or 0]
        ids = self.tokenizer.build_inputs_with_special_tokens(probe)
        types = self.tokenizer.create_token_type_ids_from_sequences(probe)
        at = ids.index(probe[0])
        return _template(ids, types, at, at + 1)


def _remembering(decode: Callable[[list[str]], str]) -> Callable[[list[str]], str]:
    """The same function, which remembers what single tokens give: most words are one."""
    single = functools.lru_cache(maxsize=1 << 16)(lambda token: decode([token]))
    return lambda tokens: single(tokens[0]) if len(tokens) == 1 else decode(tokens)


def _template(ids: list[int], types: list[int], first: int, stop: int) -> Template:
    all_ids, all_types = np.array(ids, np.int64), np.array(types, np.int64)
    return Template(
        prefix=all_ids[:first],
        suffix=all_ids[stop:],
        types=(all_types[:first], all_types[first : first + 1], all_types[stop:] if stop else all_types[:0]),
    )


def _spares_first_space(post_processor: Any) -> bool:
    """Whether offsets are trimmed of spaces, all but the one that the tokenizer itself put before the text."""
    if post_processor is None:
        return False
    state = json.loads(post_processor.__getstate__())
    return any(
        step.get("trim_offsets", False) and step.get("add_prefix_space", False)
        for step in [state, *state.get("processors", [])]
    )


@functools.lru_cache(maxsize=1)
def _positions(first: int, count: int) -> np.ndarray:
    """A range as int32[count]; all windows of a long text but the last have the same."""
    positions = np.arange(first, first + count, dtype=np.int32)
    positions.flags.writeable = False
    return positions


def _touches_no_space(text: str, start: np.ndarray) -> np.ndarray:
    """bool[n]: whether ``" " not in text[start - 1 : start + 1]``, and false at the text's beginning."""
    is_space = np.zeros(len(text) + 2, bool)
    for first in range(0, len(text), _CHARS_AT_ONCE):
        code_points = np.frombuffer(
            text[first : first + _CHARS_AT_ONCE].encode("utf-32-le", "surrogatepass"), np.uint32
        )
        is_space[first : first + len(code_points)] = code_points == ord(" ")
    at = np.minimum(start, len(text) + 1)
    return (start > 0) & ~(is_space[at] | is_space[np.minimum(start, len(text) + 2) - 1])
