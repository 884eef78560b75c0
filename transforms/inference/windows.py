"""The windows that cover a text, each of the model's length at most."""

from __future__ import annotations

from typing import Any

from transforms.errors import ArgumentError

# Families whose positions begin after the padding token's id, so that the positions up to that id are unusable.
_OFFSET_POSITIONS = frozenset(
    "roberta xlm-roberta xlm-roberta-xl camembert longformer mpnet roberta-prelayernorm data2vec-text ibert luke mluke"
    " xmod lilt markuplm layoutlmv3 esm".split()
)

# Families that can read more than their nominal length: their positions are relative, rotary or absent.
_UNBOUND_POSITIONS = frozenset(
    "deberta deberta-v2 xlnet t5 mt5 umt5 modernbert modernbert-decoder eurobert funnel bloom mpt llama mistral qwen2"
    " qwen3 gemma gemma2 gemma3_text phi phi3 gpt_neox nomic_bert jina_embeddings_v3".split()
)

_DEFAULT_WINDOW = 512


def window_length(config: Any, tokenizer_length: int | None) -> int:
    """Return the length of a window in tokens, special tokens counted.

    This is the tokenizer's length, or the number of the model's positions if that is lower. The positions are no limit
    for families that can read more than their nominal length. If only one of the two is known, this is the length; if
    neither is known, the length is 512.

    Args:
        config: The model's `PretrainedConfig`.
        tokenizer_length: The tokenizer's `model_max_length`; None if that is not usable.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return tokenizer_length or _DEFAULT_WINDOW
    if config.model_type in _OFFSET_POSITIONS:
        padding = getattr(config, "pad_token_id", None)
        positions -= (1 if padding is None else padding) + 1
    if tokenizer_length is None:
        return positions
    return tokenizer_length if config.model_type in _UNBOUND_POSITIONS else min(tokenizer_length, positions)


def window_bounds(num_tokens: int, capacity: int, stride: int, *, side: str = "right") -> list[tuple[int, int]]:
    """Return half-open token ranges that cover a text. Neighbouring ranges share `stride` tokens.

    The ranges are those of `tokenizers` when it truncates with overflow. With `side` ``right``, the first window
    begins with the text. The last window ends with the text, and may be shorter than the others. With ``left``, this is
    mirrored: the first window ends with the text.

    Args:
        num_tokens: The number of tokens of the text, without special tokens.
        capacity: The most tokens of a window, without special tokens.
        stride: The number of tokens that two neighbouring windows share; less than `capacity`.
        side: The side on which the tokenizer truncates.

    Raises:
        ValueError: if `stride` is not less than `capacity`, so that windows cannot advance.

    >>> window_bounds(10, 6, 2)
    [(0, 6), (4, 10)]
    >>> window_bounds(10, 6, 2, side="left")
    [(4, 10), (0, 6)]
    >>> window_bounds(0, 6, 2)
    [(0, 0)]
    """
    if not 0 <= stride < capacity:
        raise ArgumentError(
            f"stride={stride}: out of range; expected at least 0 and below {capacity} tokens, which fit in a window"
        )
    if num_tokens <= capacity:
        return [(0, num_tokens)]
    step = capacity - stride
    count = 1 + -(-(num_tokens - capacity) // step)
    bounds = [(number * step, min(number * step + capacity, num_tokens)) for number in range(count)]
    if side == "left":
        return [(num_tokens - stop, num_tokens - start) for start, stop in bounds]
    return bounds


def truncated_bounds(num_tokens: int, capacity: int, *, side: str = "right") -> list[tuple[int, int]]:
    """Return the one range that a truncating tokenizer keeps.

    >>> truncated_bounds(10, 6), truncated_bounds(10, 6, side="left"), truncated_bounds(3, 6)
    ([(0, 6)], [(4, 10)], [(0, 3)])
    """
    return window_bounds(num_tokens, capacity, 0, side=side)[:1]
