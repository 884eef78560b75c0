"""The aggregation strategies of Hugging Face's pipeline."""

from __future__ import annotations

from enum import Enum

from transforms.errors import ArgumentError
from transforms.settings import Scores


class AggregationStrategy(str, Enum):
    """How tokens become entities.

    ``none`` gives each token with its label. ``simple`` groups adjacent tokens of one tag. The others first
    give all tokens of a word one label, by its ``first`` token, by the ``average`` of its scores, or by the
    token with the ``max`` score, and then group words.
    """

    NONE = "none"
    SIMPLE = "simple"
    FIRST = "first"
    AVERAGE = "average"
    MAX = "max"

    @classmethod
    def parse(cls, value: str | AggregationStrategy) -> AggregationStrategy:
        """The strategy of this name, in any case; Hugging Face's own enum is understood too.

        Raises:
            ValueError: if there is none, naming those that there are.
        """
        name = value.value if isinstance(value, Enum) else value
        try:
            return cls(name.lower())
        except (ValueError, AttributeError):
            names = ", ".join(strategy.value for strategy in cls)
            raise ArgumentError(f"aggregation_strategy={name!r} is unknown; it is one of {names}") from None

    @property
    def by_word(self) -> bool:
        """Whether all tokens of a word get one label, which needs a fast tokenizer."""
        return self in (AggregationStrategy.FIRST, AggregationStrategy.AVERAGE, AggregationStrategy.MAX)

    @property
    def scores(self) -> Scores:
        """Which scores of a token it looks at, see `transforms.settings.Scores`."""
        return "all" if self is AggregationStrategy.AVERAGE else "best"
