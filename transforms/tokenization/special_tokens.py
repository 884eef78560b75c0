"""Special tokens that somebody typed in a text: ``[SEP]``, ``</s>``, ``<mask>``."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

# A piece that no text holds: a space, which tokenizers replace or split at, between two that are no characters.
_NEVER_TYPED = "\uffff \uffff"


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of a tokenizer of transformers that mean more to a model than their text; not the unknown token's."""
    added = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return frozenset({*tokenizer.all_special_ids, *added} - {tokenizer.unk_token_id})


def without_pieces(backend: Any, ids: Collection[int]) -> Any:
    """A copy of a `tokenizers.Tokenizer` whose Unigram model does not find the pieces of these ids in a text.

    `tokenizers` may be told not to look for special tokens, but those of SentencePiece are pieces of the vocabulary
    too, with the best of scores: SentencePiece itself never matches them.

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
