"""The rules by which the scored tokens of any model become entities, from checked settings."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from transforms.aggregation.calibration import biases_of, read_calibration
from transforms.aggregation.decoding import viterbi
from transforms.aggregation.entities import ToString, find_entities
from transforms.aggregation.schemes import TaggedLabels, detect_scheme, has_scheme
from transforms.aggregation.settings import NO_CALIBRATION, EntitySettings
from transforms.aggregation.strategies import AggregationStrategy
from transforms.documents import Entity
from transforms.errors import ArgumentError
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities
from transforms.settings import Scores, check_names, takes_settings

Decode = Callable[[np.ndarray], np.ndarray]
"""Returns int64[n_units], class ids, for float[n_units, n_labels], probabilities."""


@dataclass(frozen=True)
class EntityRules:
    """The rules by which scored tokens become entities; hashable.

    Attributes:
        settings: The settings.
        calibration: The content of the calibration file in the settings; None if no file is named there.
    """

    settings: EntitySettings = EntitySettings()
    calibration: str | None = None

    @classmethod
    @takes_settings(EntitySettings)
    def of(cls, aggregation_strategy: str | AggregationStrategy = "none", **settings: Any) -> EntityRules:
        """Checks settings, and reads the calibration.

        Args:
            aggregation_strategy: The strategy.
            **settings: The other fields of `EntitySettings`.

        Raises:
            ArgumentError: if a setting is invalid, or the file cannot be read.
        """
        check_names(settings, EntitySettings, own=["aggregation_strategy"])
        checked = EntitySettings(aggregation_strategy=aggregation_strategy, **settings)  # type: ignore[arg-type]
        if checked.viterbi_calibration in (None, NO_CALIBRATION):
            return cls(checked)
        calibration = read_calibration(Path(checked.viterbi_calibration).expanduser())
        biases_of(calibration, checked.operating_point)
        return cls(checked, calibration)

    def changed(self, **settings: Any) -> EntityRules:
        """Return the same rules with other settings.

        Raises:
            ArgumentError: if a setting is invalid.
        """
        return replace(self, settings=replace(self.settings, **settings))

    @property
    def strategy(self) -> AggregationStrategy:
        """The aggregation strategy."""
        return self.settings.aggregation_strategy

    @property
    def scores(self) -> Scores:
        """The scores of a token that are required; see `transforms.settings.Scores`."""
        return "all" if self.settings.decoding == "viterbi" else self.strategy.scores

    @property
    def uses_model_calibration(self) -> bool:
        """True if the calibration in the checkpoint's folder is used, if there is one."""
        return self.settings.decoding == "viterbi" and self.settings.viterbi_calibration is None

    def entities(
        self, pre_entities: PreEntities, labels: tuple[str, ...], model_calibration: str | None, to_string: ToString
    ) -> list[Entity]:
        """Return the entities of one document; see `transforms.aggregation.entities.find_entities`.

        Args:
            pre_entities: The document's tokens.
            labels: The labels of the model.
            model_calibration: The content of the model's calibration, if it has one.
            to_string: The tokenizer's function that renders tokens as text.

        Raises:
            ArgumentError: if the rules do not fit the labels or the calibration.
        """
        settings = self.settings
        entities = find_entities(
            pre_entities,
            self.strategy,
            self.label_scheme(labels),
            to_string,
            ignore_labels=settings.ignore_labels,
            window_join=settings.window_join,
            decode=self.decode(labels, model_calibration),
            join_adjacent=settings.join_adjacent,
            split_lines=settings.split_lines,
        )
        if settings.min_score:
            return [entity for entity in entities if entity.score >= settings.min_score]
        return entities

    def scheme_of(self, labels: tuple[str, ...]) -> str:
        """Return the scheme of a checkpoint's labels.

        Raises:
            ArgumentError: if the labels have no prefix of the scheme, or sequences have no rule to be decoded by.
        """
        return _scheme_of(self.settings.tagging_scheme, self.settings.decoding, labels)

    def label_scheme(self, labels: tuple[str, ...]) -> LabelScheme:
        """Return the columns by which labels are grouped.

        Raises:
            ArgumentError: as `scheme_of`.
        """
        return _label_scheme(labels, self.scheme_of(labels))

    def decode(self, labels: tuple[str, ...], model_calibration: str | None) -> Decode | None:
        """Return the function that decodes sequences, or None if each unit gets its best label.

        Args:
            labels: The checkpoint's labels.
            model_calibration: The content of its calibration, if it has one.

        Raises:
            ArgumentError: as `scheme_of`, or if the calibration lacks the operating point.
        """
        if self.settings.decoding != "viterbi":
            return None
        calibration = model_calibration if self.uses_model_calibration else self.calibration
        biases = biases_of(calibration, self.settings.operating_point)
        return functools.partial(viterbi, tagged=TaggedLabels.of(labels, self.scheme_of(labels)), biases=biases)


@functools.lru_cache(maxsize=64)
def _label_scheme(labels: tuple[str, ...], scheme: str) -> LabelScheme:
    return LabelScheme.of(labels) if scheme == "hf" else TaggedLabels.of(labels, scheme).label_scheme()


@functools.lru_cache(maxsize=64)
def _scheme_of(tagging_scheme: str, decoding: str, labels: tuple[str, ...]) -> str:
    """Return the scheme of labels; it is asked for with every document."""
    scheme = detect_scheme(labels) if tagging_scheme == "auto" else tagging_scheme
    if scheme != "hf":
        if not has_scheme(labels, scheme):
            raise ArgumentError(
                f"tagging_scheme={scheme!r}: the model's labels are not of this scheme; expected hf or auto"
            )
        return scheme
    if decoding != "viterbi":
        return scheme
    if tagging_scheme == "auto" and has_scheme(labels, "iob2"):
        return "iob2"
    if tagging_scheme == "hf":
        raise ArgumentError("decoding='viterbi': not with tagging_scheme='hf'; expected tagging_scheme='auto'")
    raise ArgumentError(
        "decoding='viterbi': the model's labels have no tagging scheme; expected labels with B- and I-, or argmax"
    )
