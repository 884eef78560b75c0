"""The labels of a checkpoint: their prefix, their tag and the name of their entity group."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def get_tag(label: str) -> tuple[str, str]:
    """Splits a label into its prefix and its tag, as Hugging Face does.

    A label that does not start with ``B-`` or ``I-`` is a tag as a whole. Its prefix is ``I``, so it can continue a
    group.

    >>> get_tag("B-PER"), get_tag("I-air-port"), get_tag("NOUN"), get_tag("E-PER")
    (('B', 'PER'), ('I', 'air-port'), ('I', 'NOUN'), ('I', 'E-PER'))
    """
    if label.startswith(("B-", "I-")):
        return label[0], label[2:]
    return "I", label


def group_name(label: str) -> str:
    """Return the ``entity_group`` of a label: the part after its first hyphen, with any prefix.

    This is not always the tag of `get_tag`. Hugging Face groups ``E-PER`` by its whole name, and then names the group
    ``PER``.

    >>> group_name("B-PER"), group_name("E-PER"), group_name("O"), group_name("B-air-port")
    ('PER', 'PER', 'O', 'air-port')
    """
    return label.split("-", 1)[-1]


@dataclass(frozen=True, eq=False)
class LabelScheme:
    """The labels of a checkpoint as columns, indexed by class id.

    Attributes:
        labels: The labels.
        groups: The entity group of each label.
        tag: int64[n_labels], equal for labels that can be in one group.
        begins: bool[n_labels], true for a label that always starts a group.
        ends: bool[n_labels], true for a label after which a group always starts.
    """

    labels: tuple[str, ...]
    groups: tuple[str, ...]
    tag: np.ndarray
    begins: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, labels: Sequence[str]) -> LabelScheme:
        """Return the scheme of labels that are in order of their class ids."""
        return _scheme(tuple(labels))

    def ignored(self, ignore_labels: frozenset[str], *, grouped: bool) -> np.ndarray:
        """Return bool[n_labels], true for each dropped label; compared by group name if `grouped`, else by label."""
        return _ignored(self.groups if grouped else self.labels, ignore_labels)


@functools.lru_cache(maxsize=64)
def _scheme(labels: tuple[str, ...]) -> LabelScheme:
    tags = [get_tag(label) for label in labels]
    numbers = {tag: number for number, tag in enumerate(dict.fromkeys(tag for _, tag in tags))}
    return LabelScheme(
        labels=labels,
        groups=tuple(group_name(label) for label in labels),
        tag=np.array([numbers[tag] for _, tag in tags], np.int64),
        begins=np.array([prefix == "B" for prefix, _ in tags], bool),
        ends=np.zeros(len(labels), bool),
    )


@functools.lru_cache(maxsize=64)
def _ignored(names: tuple[str, ...], ignore_labels: frozenset[str]) -> np.ndarray:
    return np.fromiter((name in ignore_labels for name in names), bool, len(names))


def ignored_labels(ignore_labels: Collection[str] | None) -> frozenset[str]:
    """Return the labels to leave out, ``O`` by default. A string is one label, not a collection of letters.

    >>> sorted(ignored_labels(["O", "PER"])), sorted(ignored_labels("PER")), sorted(ignored_labels(None))
    (['O', 'PER'], ['PER'], ['O'])
    """
    if ignore_labels is None:
        return frozenset(["O"])
    return frozenset([ignore_labels] if isinstance(ignore_labels, str) else ignore_labels)


def dense_labels(id2label: Mapping[int, str], num_labels: int) -> tuple[str, ...]:
    """Return the labels of classes 0 to `num_labels` - 1. A class without a label gets ``LABEL_<id>``.

    >>> dense_labels({0: "O", 2: "B-PER"}, 3)
    ('O', 'LABEL_1', 'B-PER')
    """
    return tuple(id2label.get(number, f"LABEL_{number}") for number in range(num_labels))
