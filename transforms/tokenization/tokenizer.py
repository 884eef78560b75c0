"""A checkpoint's tokenizer, with texts as columns of token ids and offsets: the part that all tokenizers share.

`transforms.tokenization.fast` and `transforms.tokenization.slow` contain the two kinds.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from transforms.errors import ArgumentError
from transforms.tokenization.encoding import Encoded
from transforms.tokenization.special_tokens import special_ids

_CHARS_AT_ONCE = 1_000_000
_KNOWN_INPUTS = frozenset(["input_ids", "attention_mask", "token_type_ids"])
_SENTENCE = "Ann lives in Rome."

USABLE_LENGTH = 10**9
"""The bound of a usable `model_max_length`. Transformers sets a larger number for tokenizers without one."""


@dataclass(frozen=True, eq=False)
class Template:
    """The special tokens that the tokenizer puts around a text.

    Attributes:
        prefix: int64[n_prefix], ids before the text.
        suffix: int64[n_suffix], ids after the text.
        types: The token types of the tokens of the prefix, the text and the suffix: int64[n_prefix], int64[1],
            int64[n_suffix].
    """

    prefix: np.ndarray
    suffix: np.ndarray
    types: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def around(cls, ids: list[int], types: list[int], first: int, stop: int) -> Template:
        """Return the template of an encoded text.

        Args:
            ids: The ids, special tokens included.
            types: The token types of the ids.
            first: The position of the text's first token.
            stop: The position after the text's last token.
        """
        all_ids, all_types = np.array(ids, np.int64), np.array(types, np.int64)
        return cls(
            prefix=all_ids[:first],
            suffix=all_ids[stop:],
            types=(all_types[:first], all_types[first : first + 1], all_types[stop:] if stop else all_types[:0]),
        )

    @property
    def num_special(self) -> int:
        """The number of special tokens in each window."""
        return len(self.prefix) + len(self.suffix)

    def input_ids(self, ids: np.ndarray) -> np.ndarray:
        """Return ids between the special tokens: int64[n + num_special]."""
        return np.concatenate([self.prefix, ids, self.suffix])

    def token_type_ids(self, num_tokens: int) -> np.ndarray:
        """Return the token types of a window with `num_tokens` tokens of text: int64[num_tokens + num_special]."""
        prefix, text, suffix = self.types
        return np.concatenate([prefix, np.repeat(text, num_tokens), suffix])


class Tokenization(ABC):
    """A tokenizer of transformers behind one interface; safe for concurrent use.

    Attributes:
        is_fast: Whether the tokenizer is backed by `tokenizers`. Then it has offsets and subwords.
        tokenizer: The tokenizer of transformers, which is not changed after construction.
        template: The special tokens around a window.
        side: The side on which the tokenizer truncates, ``right`` or ``left``.
        uses_token_types: Whether the model's input includes `token_type_ids`.
        knows_words: Whether the tokenizer marks subwords, by Hugging Face's test.
        to_string: The tokenizer's rendering of a list of tokens.
    """

    is_fast: ClassVar[bool]
    template: Template
    knows_words = False

    def __init__(self, tokenizer: Any, special_tokens: str = "text") -> None:
        """Sets the tokenizer up.

        Args:
            tokenizer: A tokenizer of transformers. Other code must not change it afterwards.
            special_tokens: The treatment of a special token that is written in a text. ``text``: it is text like any
                other. A tokenizer that matches it in any case, as slow ones do, returns an unknown token instead.
                ``special``: it is the special token, as in Hugging Face.
        """
        self.tokenizer = tokenizer
        self._made = _made_by(tokenizer)
        self.side: str = tokenizer.truncation_side
        self.uses_token_types = "token_type_ids" in tokenizer.model_input_names
        self.to_string: Callable[[list[str]], str] = tokenizer.convert_tokens_to_string
        self._unk_id: int | None = tokenizer.unk_token_id
        self._reads_as_text = special_tokens == "text"
        self._special_ids = np.array(sorted(special_ids(tokenizer)), np.int64)

    @property
    def model_max_length(self) -> int | None:
        """The longest input that the tokenizer names, special tokens included; None if it names no usable one."""
        length = self.tokenizer.model_max_length
        return int(length) if length and 0 < length < USABLE_LENGTH else None

    @property
    def largest_id(self) -> int:
        """The largest id in a model's input. The id of a special token counts only if the template contains it."""
        return max(self._largest_text_id(), *self.template.prefix.tolist(), *self.template.suffix.tolist(), 0)

    @abstractmethod
    def encode(self, texts: Sequence[str], words: bool = False) -> list[Encoded]:
        """Return the tokens of each text, however long it is.

        Args:
            texts: The texts.
            words: Whether to include the beginnings of the tokenizer's own words, as `Encoded.opens_word`.
        """

    def check_inputs(self, model: str) -> None:
        """Checks that the model's input consists of the ids that `encode` returns, a mask, and token types.

        Args:
            model: The model's name, for the message.

        Raises:
            ArgumentError: if the tokenizer itself makes other ids, or more inputs.
        """
        subject = f"model={model!r}: its {type(self.tokenizer).__name__}"
        if self._made is None:
            return
        if isinstance(self._made, Exception):
            raise ArgumentError(f"{subject} does not read plain text ({type(self._made).__name__})") from self._made
        more = sorted(set(self._made) - _KNOWN_INPUTS)
        if more:
            raise ArgumentError(f"{subject} makes inputs that are not supported: {', '.join(more)}")
        if list(self._made["input_ids"]) != self.template.input_ids(self.encode([_SENTENCE])[0].ids).tolist():
            raise ArgumentError(f"{subject} makes other ids than the files of the tokenizer")

    @abstractmethod
    def check_words(self) -> None:
        """Checks that the tokenizer splits texts into words of its own.

        Raises:
            ArgumentError: if it does not.
        """

    @abstractmethod
    def encode_words(self, words: Sequence[str], delimiter: str) -> tuple[str, Encoded]:
        """Return the tokens of a text that is given as words.

        Returns:
            The words joined by `delimiter`, and the tokens, with offsets in that text.

        Raises:
            ValueError: if the tokenizer is slow.
        """

    def window(self, encoded: Encoded, first: int, stop: int) -> Encoded:
        """Return the tokens of one window, as if the tokenizer had split the text itself."""
        ids = encoded.ids[first:stop]
        if encoded.start is None or encoded.end is None:
            return Encoded(ids, None, None)
        return Encoded(ids, encoded.start[first:stop], encoded.end[first:stop])

    @abstractmethod
    def kept_positions(self, ids: np.ndarray) -> np.ndarray:
        """Return the positions in ``template.input_ids(ids)`` that are not special tokens: int32[n], not to be changed.

        A special token that is written in the text counts as text. The exception is a slow tokenizer with
        ``special_tokens="special"``.
        """

    def words_and_subwords(
        self, text: str, ids: np.ndarray, start: np.ndarray | None, end: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the string of each token and whether it continues a word, by Hugging Face's rules.

        If the tokenizer marks continuing subwords, a token continues a word if its string is not as long as the text
        that it covers. Otherwise, a token continues a word if neither its first code point nor the one before is a
        space. The string of the unknown token is the text that it covers, and it never continues a word. Without
        offsets, no token continues a word.

        Returns:
            object[n_tokens] and bool[n_tokens].
        """
        words = self._tokens(ids)
        if start is None or end is None:
            return words, np.zeros(len(ids), bool)
        is_subword = self._continues_word(text, ids, start, end)
        unknown = np.flatnonzero(ids == self._unk_id) if self._unk_id is not None else ()
        for row in unknown:
            words[row] = text[start[row] : end[row]]
            is_subword[row] = False
        return words, is_subword

    @abstractmethod
    def _tokens(self, ids: np.ndarray) -> np.ndarray:
        """Return the strings of ids, in a new array: object[n]."""

    def _continues_word(self, text: str, ids: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return whether each token continues a word: bool[n]."""
        return _touches_no_space(text, start)

    @abstractmethod
    def _largest_text_id(self) -> int:
        """Return the largest id of a token that is not special."""

    @functools.cached_property
    def _stand_in(self) -> int | None:
        """The id that replaces a special token if the tokenizer matched it although it is to be text."""
        return self.tokenizer.convert_tokens_to_ids("\ufffd") if self._unk_id is None else self._unk_id

    def _without_special(self, ids: np.ndarray) -> np.ndarray:
        """Return ids with the stand-in in place of special tokens."""
        special = np.isin(ids, self._special_ids)
        return np.where(special, self._stand_in, ids) if special.any() and self._stand_in is not None else ids


def _made_by(tokenizer: Any) -> dict[str, Any] | Exception | None:
    """Return what a tokenizer of transformers makes of a sentence, or the exception that it raises.

    A call changes settings of a fast tokenizer's backend, and starts its threads. So it is the first use of the
    tokenizer, and is left out if the call is that of all fast tokenizers: then the result is None.
    """
    from transformers import PreTrainedTokenizerFast

    calls = ("__call__", "_encode_plus")
    if all(getattr(type(tokenizer), name) is getattr(PreTrainedTokenizerFast, name) for name in calls):
        return None
    try:
        return dict(tokenizer(_SENTENCE, verbose=False))
    except Exception as error:
        return error


@functools.lru_cache(maxsize=1)
def positions(first: int, count: int) -> np.ndarray:
    """Return a range as int32[count], read-only and cached: all windows of a long text except the last share it."""
    numbers = np.arange(first, first + count, dtype=np.int32)
    numbers.flags.writeable = False
    return numbers


def _touches_no_space(text: str, start: np.ndarray) -> np.ndarray:
    """Return ``" " not in text[start - 1 : start + 1]`` for each token, and False at the text's beginning: bool[n]."""
    is_space = np.zeros(len(text) + 2, bool)
    for first in range(0, len(text), _CHARS_AT_ONCE):
        code_points = np.frombuffer(
            text[first : first + _CHARS_AT_ONCE].encode("utf-32-le", "surrogatepass"), np.uint32
        )
        is_space[first : first + len(code_points)] = code_points == ord(" ")
    place = np.minimum(start, len(text) + 1)
    return (start > 0) & ~(is_space[place] | is_space[np.minimum(start, len(text) + 2) - 1])
