"""Special tokens that are written in a text: ``[SEP]``, ``</s>``, ``<mask>``."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

# A piece that no text can match: a space, which tokenizers replace or split at, between two noncharacters.
_NEVER_TYPED = "\uffff \uffff"


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Return the ids of all special tokens of a tokenizer of transformers, except the unknown token's."""
    added = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset({*tokenizer.all_special_ids, *added} - {tokenizer.unk_token_id})


def without_pieces(backend: Any, ids: Collection[int]) -> Any:
    """Return a copy of a `tokenizers.Tokenizer` whose Unigram model never matches the pieces of some ids.

    A setting of `tokenizers` stops the search for special tokens. But SentencePiece's special tokens are also pieces of
    the vocabulary, with the highest scores, so the Unigram model still matches them. SentencePiece itself never does.

    Args:
        backend: The tokenizer.
        ids: The ids of the pieces.

    Returns:
        The copy, or None if the model is of another kind.
    """
    from tokenizers import Tokenizer, models

    state = json.loads(backend.model.__getstate__())
    if state["type"] != "Unigram":
        return None
    vocabulary = [
        (f"{_NEVER_TYPED}{number}" if number in ids else piece, score)
        for number, (piece, score) in enumerate(state["vocab"])
    ]
    copy = Tokenizer.from_str(backend.to_str())
    copy.model = models.Unigram(vocabulary, state["unk_id"], state.get("byte_fallback", False))
    copy.encode_special_tokens = True
    return copy
