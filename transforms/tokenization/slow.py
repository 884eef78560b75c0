"""Tokenizers that are written in Python: they have no offsets, and read one text at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms.errors import ArgumentError
from transforms.pre_entities import object_column
from transforms.tokenization.encoding import Encoded
from transforms.tokenization.tokenizer import Template, Tokenization, positions

_PROBE = "a"


class SlowTokenization(Tokenization):
    """A slow tokenizer; see `Tokenization`."""

    is_fast = False

    def __init__(self, tokenizer: Any, special_tokens: str = "text") -> None:
        super().__init__(tokenizer, special_tokens)
        self._lock = threading.Lock()
        self.template = self._template()

    def encode(self, texts: Sequence[str], words: bool = False) -> list[Encoded]:
        """Return the tokens of each text, always without words; see `Tokenization.encode`."""
        with self._lock:
            return [Encoded(self._ids(text), None, None) for text in texts]

    def check_words(self) -> None:
        """Raises ArgumentError; see `Tokenization.check_words`."""
        raise ArgumentError(
            f"word_boundaries='tokenizer': requires a fast tokenizer, and {type(self.tokenizer).__name__} is slow;"
            " expected hf"
        )

    def encode_words(self, words: Sequence[str], delimiter: str) -> tuple[str, Encoded]:
        """Raises ValueError: words need offsets."""
        raise ValueError("is_split_into_words=True is only supported with fast tokenizers.")

    def kept_positions(self, ids: np.ndarray) -> np.ndarray:
        """Return the positions of the text's tokens; see `Tokenization.kept_positions`."""
        if self._reads_as_text:
            return positions(len(self.template.prefix), len(ids))
        mask = self.tokenizer.get_special_tokens_mask(ids.tolist())
        return np.flatnonzero(np.array(mask, np.int64) == 0).astype(np.int32)

    def _tokens(self, ids: np.ndarray) -> np.ndarray:
        return object_column(self.tokenizer.convert_ids_to_tokens(ids.tolist()))

    def _largest_text_id(self) -> int:
        return len(self.tokenizer) - 1

    def _ids(self, text: str) -> np.ndarray:
        ids = self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        ids = np.array(ids, np.int32)
        return self._without_special(ids) if self._reads_as_text else ids

    def _template(self) -> Template:
        probe = self._ids(_PROBE).tolist()[:1] or [self._unk_id or 0]
        ids = self.tokenizer.build_inputs_with_special_tokens(probe)
        types = self.tokenizer.create_token_type_ids_from_sequences(probe)
        first = ids.index(probe[0])
        return Template.around(ids, types, first, first + 1)
