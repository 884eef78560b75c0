"""The windows that cover a text, each of the model's length at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transforms.errors import ArgumentError

# Families whose positions begin after the padding token's id, so that the positions up to that id are unusable.
_OFFSET_POSITIONS = frozenset(
    "roberta xlm-roberta xlm-roberta-xl camembert longformer mpnet roberta-prelayernorm data2vec-text ibert luke mluke"
    " xmod lilt markuplm layoutlmv3 esm".split()
)

# Families without absolute or rotary positions: relative ones, slopes (ALiBi), or none.
_RELATIVE_POSITIONS = frozenset("xlnet t5 mt5 umt5 funnel bloom mpt".split())

_DEFAULT_WINDOW = 512

_LONGEST_WINDOW = 8192
"""The most tokens of a window by default, where the configuration names no length of training."""


@dataclass(frozen=True)
class Lengths:
    """The most tokens that a model reads at a time, special tokens counted.

    Attributes:
        window: The length of a window of a long text.
        truncated: The length to which Hugging Face truncates a text; None if it reads the whole text.
    """

    window: int
    truncated: int | None

    @classmethod
    def of(cls, config: Any, tokenizer_length: int | None, max_window_tokens: int | None = None) -> Lengths:
        """Return the lengths for a model.

        Hugging Face truncates a text to the tokenizer's length. A model with absolute positions cannot read more
        tokens than it has positions, which limits the lengths too. Models with rotary or relative positions can, so
        the number of positions in their configuration is no limit.

        The memory and the time for a window grow faster than its length. Windows are therefore bounded: by default, to
        the length that the model was first trained with, if its configuration names it, and otherwise to 8,192.

        Args:
            config: The model's `PretrainedConfig`.
            tokenizer_length: The tokenizer's `model_max_length`; None if that is not usable.
            max_window_tokens: The bound for a window; None is the default.
        """
        config = config.get_text_config()
        positions = _positions(config)
        if positions is None or (tokenizer_length is not None and _reads_beyond_positions(config)):
            limit = tokenizer_length or _DEFAULT_WINDOW
        else:
            limit = min(positions, tokenizer_length or positions)
        bound = max_window_tokens or _first_length(getattr(config, "rope_parameters", None)) or _LONGEST_WINDOW
        is_unlimited = tokenizer_length is None and (positions is None or _reads_beyond_positions(config))
        return cls(min(limit, bound), None if is_unlimited else limit)


def _positions(config: Any) -> int | None:
    """Return the number of positions in a configuration, or None if it names none."""
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.model_type in _OFFSET_POSITIONS:
        padding = getattr(config, "pad_token_id", None)
        positions -= (1 if padding is None else padding) + 1
    return positions


def _reads_beyond_positions(config: Any) -> bool:
    """Return whether the number of positions in a configuration is no limit for the length of a text."""
    if config.model_type in ("deberta", "deberta-v2"):
        return not getattr(config, "position_biased_input", True)
    is_rotary = getattr(config, "rope_parameters", None) and (
        getattr(config, "position_embedding_type", "rotary") != "absolute"
    )
    return bool(is_rotary) or config.model_type in _RELATIVE_POSITIONS


def _first_length(rope: Any) -> int | None:
    """Return the length of the first training in rotary parameters, which may be nested by the kind of layer."""
    if not isinstance(rope, dict):
        return None
    length = rope.get("original_max_position_embeddings")
    if isinstance(length, int) and length > 0:
        return length
    return next(filter(None, map(_first_length, rope.values())), None)


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
