"""The settings by which scored tokens become entities: their names, defaults, help and checks."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from transforms.aggregation.strategies import AggregationStrategy
from transforms.errors import ArgumentError
from transforms.labels import ignored_labels
from transforms.settings import check_fields, documented, setting

WindowJoin = Literal["entities", "tokens"]
TaggingScheme = Literal["auto", "hf", "iob2", "iobes", "bilou"]
Decoding = Literal["argmax", "viterbi"]

NO_CALIBRATION = "none"
"""The value of `EntitySettings.viterbi_calibration` that leaves out even the calibration of the model's folder."""


@documented
@dataclass(frozen=True, kw_only=True)
class EntitySettings:
    """The settings by which scored tokens become entities; hashable.

    Raises:
        ArgumentError: for an invalid value.
    """

    aggregation_strategy: AggregationStrategy = setting(
        AggregationStrategy.NONE,
        "How tokens become entities: none (each token), simple (adjacent tokens of one tag), first, average"
        " or max (as simple, after all tokens of a word got one label).",
        placeholder="STRATEGY",
    )
    ignore_labels: frozenset[str] = setting(
        frozenset(["O"]), "Labels (entity groups, unless the strategy is none) to leave out.", placeholder="LABELS"
    )
    min_score: float = setting(0.0, "Leave out entities with a lower score.", placeholder="P")
    window_join: WindowJoin = setting(
        "entities",
        "Where windows overlap: entities keeps the longer of two overlapping ones, as Hugging Face; tokens"
        " takes each token from the window that sees more around it.",
        choices=WindowJoin,
    )
    tagging_scheme: TaggingScheme = setting(
        "auto",
        "What the prefixes of labels mean: hf (the rules of transformers), iob2, iobes (E- ends an entity, S- is a"
        " whole one), bilou (the same with L- and U-); auto is iobes or bilou if the labels are of that scheme, else"
        " hf.",
        choices=TaggingScheme,
    )
    decoding: Decoding = setting(
        "argmax",
        "argmax takes the best label of each token or word; viterbi the most probable sequence of labels that the"
        " tagging scheme allows.",
        choices=Decoding,
    )
    viterbi_calibration: str | None = setting(
        None,
        "A JSON file with biases for the decoding viterbi, or none (default: viterbi_calibration.json in the model's"
        " folder, if it is there).",
        placeholder="FILE",
    )
    operating_point: str | None = setting(
        None, "The operating point of the calibration (default: the one named default).", placeholder="NAME"
    )
    join_adjacent: bool = setting(
        False, "Join neighbouring entities of one group that only white space parts; not with the strategy none."
    )
    split_lines: bool = setting(False, "Split entities where a line ends; not with the strategy none.")

    def __post_init__(self) -> None:
        object.__setattr__(self, "aggregation_strategy", AggregationStrategy.parse(self.aggregation_strategy))
        object.__setattr__(self, "ignore_labels", _labels(self.ignore_labels))
        check_fields(self)
        if not 0 <= self.min_score <= 1:
            raise ArgumentError(f"min_score={self.min_score}: out of range; expected a number between 0 and 1")
        if self.decoding != "viterbi":
            for name in ("viterbi_calibration", "operating_point"):
                value = getattr(self, name)
                if value is not None:
                    raise ArgumentError(f"{name}={value!r}: is for decoding='viterbi'; expected that too")
        if self.viterbi_calibration == NO_CALIBRATION and self.operating_point is not None:
            raise ArgumentError(
                f"operating_point={self.operating_point!r}: not with viterbi_calibration='none'; expected a file of one"
            )


def _labels(given: Any) -> frozenset[str]:
    with suppress(TypeError):
        labels = ignored_labels(given)
        if all(isinstance(label, str) for label in labels):
            return labels
    raise ArgumentError("ignore_labels: of a wrong type; expected a collection of the names of labels")
