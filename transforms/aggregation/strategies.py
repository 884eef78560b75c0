"""The aggregation strategies of Hugging Face's pipeline."""

from __future__ import annotations

from enum import Enum

from transforms.errors import ArgumentError
from transforms.settings import Scores


class AggregationStrategy(str, Enum):
    """The rule that makes entities from tokens.

    ``none`` returns each token with its label. ``simple`` groups adjacent tokens with the same tag. The other
    strategies assign one label to all tokens of a word, and then group words. The label is that of the ``first``
    token, of the ``average`` of the tokens' scores, or of the token with the ``max`` score.
    """

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"

    @classmethod
    def parse(cls, value: str | AggregationStrategy) -> AggregationStrategy:
        """Return the strategy with this name, in upper or lower case. Hugging Face's own enum is accepted too.

        Raises:
            ValueError: if there is no such strategy. The message lists the strategies.
        """
        name = value.value if isinstance(value, Enum) else value
        try:
            return cls(name.lower())
        except (ValueError, AttributeError):
            names = ", ".join(strategy.value for strategy in cls)
            raise ArgumentError(f"aggregation_strategy={name!r}: unknown; expected one of {names}") from None

    @property
    def by_word(self) -> bool:
        """True if all tokens of a word get one label, which requires a fast tokenizer."""
        return self in (AggregationStrategy.FIRST, AggregationStrategy.AVERAGE, AggregationStrategy.MAX)

    @property
    def scores(self) -> Scores:
        """The scores of a token that the strategy needs; see `transforms.settings.Scores`."""
        return "all" if self is AggregationStrategy.AVERAGE else "best"
