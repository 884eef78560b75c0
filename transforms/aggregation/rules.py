"""The rules by which labels become entities: the tagging scheme, and how a sequence of labels is chosen."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from transforms.aggregation.calibration import biases_of, read_calibration
from transforms.aggregation.decoding import viterbi
from transforms.aggregation.schemes import TaggedLabels, detect_scheme, has_scheme
from transforms.errors import ArgumentError
from transforms.labels import LabelScheme
from transforms.settings import DECODINGS, TAGGING_SCHEMES, check_choice

NO_CALIBRATION = "none"

Decode = Callable[[np.ndarray], np.ndarray]
"""Returns int64[n_units], class ids, for float[n_units, n_labels], probabilities."""


@dataclass(frozen=True)
class LabelRules:
    """The rules for the labels of any checkpoint; hashable.

    Attributes:
        tagging_scheme: ``hf``, ``iob2``, ``iobes``, ``bilou``, or ``auto``: read from the labels.
        decoding: ``argmax``, the best label of each unit; or ``viterbi``, the best sequence that the scheme allows.
        calibration: A calibration's content; see `transforms.aggregation.calibration`. None is the checkpoint's own.
        has_calibration: False if not even the checkpoint's own calibration is used.
        operating_point: The name of the calibration's operating point; None is ``default``.
        join_adjacent: Whether neighbouring groups of one type become one.
        split_lines: Whether a group is split where a line ends.
    """

    tagging_scheme: str = "auto"
    decoding: str = "argmax"
    calibration: str | None = None
    has_calibration: bool = True
    operating_point: str | None = None
    join_adjacent: bool = False
    split_lines: bool = False

    @classmethod
    def of(
        cls,
        tagging_scheme: str = "auto",
        decoding: str = "argmax",
        viterbi_calibration: str | os.PathLike[str] | None = None,
        operating_point: str | None = None,
        *,
        join_adjacent: bool = False,
        split_lines: bool = False,
    ) -> LabelRules:
        """Checks the arguments, and reads the calibration.

        Args:
            tagging_scheme: As the attribute.
            decoding: As the attribute.
            viterbi_calibration: A file, or ``none``; None is the file in the checkpoint's folder, if there is one.
            operating_point: As the attribute.
            join_adjacent: As the attribute.
            split_lines: As the attribute.

        Raises:
            ArgumentError: if an argument is invalid, or the file cannot be read.
        """
        check_choice("tagging_scheme", tagging_scheme, TAGGING_SCHEMES)
        check_choice("decoding", decoding, DECODINGS)
        given = None if viterbi_calibration is None else os.fspath(viterbi_calibration)
        if decoding != "viterbi":
            for name, value in (("viterbi_calibration", given), ("operating_point", operating_point)):
                if value is not None:
                    raise ArgumentError(f"{name}={value!r}: is for decoding='viterbi'; expected that too")
        if given == NO_CALIBRATION and operating_point is not None:
            raise ArgumentError(f"operating_point={operating_point!r}: there is no calibration; expected a file of one")
        calibration = None if given in (None, NO_CALIBRATION) else read_calibration(Path(given).expanduser())
        if calibration is not None:
            biases_of(calibration, operating_point)
        return cls(
            tagging_scheme,
            decoding,
            calibration,
            given != NO_CALIBRATION,
            operating_point,
            join_adjacent,
            split_lines,
        )

    @property
    def needs_all_scores(self) -> bool:
        """True if the scores of all labels are needed, not those of the best alone."""
        return self.decoding == "viterbi"

    @property
    def uses_model_calibration(self) -> bool:
        """True if the calibration in the checkpoint's folder is used, if there is one."""
        return self.decoding == "viterbi" and self.calibration is None and self.has_calibration

    def scheme_of(self, labels: tuple[str, ...]) -> str:
        """Return the scheme of a checkpoint's labels.

        Raises:
            ArgumentError: if the labels have no prefix of the scheme, or sequences have no rule to be decoded by.
        """
        return _scheme_of(self.tagging_scheme, self.decoding, labels)

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
        if self.decoding != "viterbi":
            return None
        calibration = model_calibration if self.uses_model_calibration else self.calibration
        biases = biases_of(calibration, self.operating_point)
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
                f"tagging_scheme={scheme!r}: the model's labels have none of its prefixes; expected hf or auto"
            )
        return scheme
    if decoding != "viterbi":
        return scheme
    if tagging_scheme == "auto" and has_scheme(labels, "iob2"):
        return "iob2"
    raise ArgumentError(
        "decoding='viterbi': the model's labels have no tagging scheme; expected tagging_scheme iob2, iobes or bilou"
    )
