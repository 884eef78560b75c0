"""Tagging schemes: the role of each label in an entity, and the sequences of labels that are allowed.

A label is a prefix, a hyphen or an underscore, and a type: ``B-PER``. The prefix names the token's role.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from transforms.labels import LabelScheme

_LABEL = re.compile(r"([A-Za-z])[-_](.+)", re.DOTALL)

# role     iob2   iobes   bilou     meaning
# outside  O      O       O         outside of all entities
# begin    B-     B-      B-        the first token of an entity
# inside   I-     I-      I-        a token in the middle; in iob2 the last token too
# end             E-      L-        the last token
# single          S-      U-        the only token


class Role(IntEnum):
    """The role of a label."""

    OUTSIDE = 0
    BEGIN = 1
    INSIDE = 2
    END = 3
    SINGLE = 4


_PREFIXES: dict[str, dict[str, Role]] = {
    "iob2": {"B": Role.BEGIN, "I": Role.INSIDE},
    "iobes": {"B": Role.BEGIN, "I": Role.INSIDE, "E": Role.END, "S": Role.SINGLE},
    "bilou": {"B": Role.BEGIN, "I": Role.INSIDE, "L": Role.END, "U": Role.SINGLE},
}


def detect_scheme(labels: Sequence[str]) -> str:
    """Return ``iobes`` or ``bilou`` if the labels are of that scheme, and ``hf`` otherwise.

    Every label but ``O`` must have a prefix of the scheme. Some type must have both a label that ends entities and one
    that begins or continues them.

    >>> detect_scheme(["O", "B-PER", "I-PER", "E-PER", "S-PER"]), detect_scheme(["O", "B-PER", "I-PER"])
    ('iobes', 'hf')
    >>> detect_scheme(["O", "b_PER", "i_PER", "l_PER", "u_PER"]), detect_scheme(["O", "E-MAIL", "S-TREET"])
    ('bilou', 'hf')
    """
    for scheme in ("iobes", "bilou"):
        parts = [_split(label, scheme) for label in labels if not _is_outside(label)]
        if any(role is None for role, _ in parts):
            continue
        ends = {kind for role, kind in parts if role in (Role.END, Role.SINGLE)}
        begins = {kind for role, kind in parts if role in (Role.BEGIN, Role.INSIDE)}
        if ends & begins:
            return scheme
    return "hf"


def has_scheme(labels: Sequence[str], scheme: str) -> bool:
    """Return whether every label but ``O`` has a prefix of a scheme, and there is such a label.

    Labels of iobes and bilou must include one that ends entities: without it, no sequence with an entity is allowed.

    >>> has_scheme(["O", "B-PER"], "iob2"), has_scheme(["O", "PER"], "iob2"), has_scheme(["O"], "iob2")
    (True, False, False)
    >>> has_scheme(["O", "B-PER", "I-PER"], "iobes")
    False
    """
    roles = {_split(label, scheme)[0] for label in labels if not _is_outside(label)}
    needed = {Role.BEGIN, Role.INSIDE} if scheme == "iob2" else {Role.END, Role.SINGLE}
    return None not in roles and not needed.isdisjoint(roles)


@dataclass(frozen=True, eq=False)
class TaggedLabels:
    """The labels of a checkpoint in a tagging scheme, indexed by class id.

    Attributes:
        scheme: ``iob2``, ``iobes`` or ``bilou``.
        labels: The labels.
        role: int8[n_labels], the `Role` of each label; `INSIDE` for a label without a prefix of the scheme.
        kind: int64[n_labels], the number of each label's type; -1 for outside.
        types: The type of each label; ``O`` for outside.
    """

    scheme: str
    labels: tuple[str, ...]
    role: np.ndarray
    kind: np.ndarray
    types: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[str], scheme: str) -> TaggedLabels:
        """Return the labels, in the order of their class ids, in a scheme.

        >>> tagged = TaggedLabels.of(["O", "B-PER", "E-PER", "s_LOC"], "iobes")
        >>> tagged.role.tolist(), tagged.kind.tolist(), tagged.types
        ([0, 1, 3, 4], [-1, 0, 0, 1], ('O', 'PER', 'PER', 'LOC'))
        """
        return _tagged(tuple(labels), scheme)

    def label_scheme(self) -> LabelScheme:
        """Return the columns by which tokens are grouped.

        A group begins at a label that begins an entity, at a change of the type, and after a label that ends one. So a
        sequence that the scheme does not allow is repaired: an inside or end label without a beginning begins a group.
        """
        return LabelScheme(
            labels=self.labels,
            groups=self.types,
            tag=self.kind,
            begins=np.isin(self.role, (Role.BEGIN, Role.SINGLE)),
            ends=np.isin(self.role, (Role.END, Role.SINGLE)),
        )

    def allowed_starts(self) -> np.ndarray:
        """Return whether a sequence may start with each label: bool[n_labels]."""
        return np.isin(self.role, (Role.OUTSIDE, Role.BEGIN, Role.SINGLE))

    def allowed_ends(self) -> np.ndarray:
        """Return whether a sequence may end with each label: bool[n_labels]."""
        if self.scheme == "iob2":
            return np.ones(len(self.labels), bool)
        return np.isin(self.role, (Role.OUTSIDE, Role.END, Role.SINGLE))

    def allowed_transitions(self) -> np.ndarray:
        """Return whether a label may follow another: bool[n_labels, n_labels], the first axis is the earlier label."""
        # In iobes and bilou:                   In iob2:
        #
        #     from / to   O, B, S   I, E            from / to   O, B   I
        #     O, E, S     yes       no              O           yes    no
        #     B, I        no        same type       B, I        yes    same type
        continues = np.isin(self.role, (Role.INSIDE, Role.END))
        is_open = np.isin(self.role, (Role.BEGIN, Role.INSIDE))
        same_type = self.kind[:, None] == self.kind[None, :]
        inside = is_open[:, None] & continues[None, :] & same_type
        closed = np.ones(len(self.labels), bool) if self.scheme == "iob2" else ~is_open
        return inside | (closed[:, None] & ~continues[None, :])


@functools.lru_cache(maxsize=64)
def _tagged(labels: tuple[str, ...], scheme: str) -> TaggedLabels:
    parts = [(Role.OUTSIDE, "O") if _is_outside(label) else _split(label, scheme) for label in labels]
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys(k for role, k in parts if role != Role.OUTSIDE))}
    return TaggedLabels(
        scheme=scheme,
        labels=labels,
        role=np.array([Role.INSIDE if role is None else role for role, _ in parts], np.int8),
        kind=np.array([-1 if role == Role.OUTSIDE else kinds[kind] for role, kind in parts], np.int64),
        types=tuple(kind for _, kind in parts),
    )


def _is_outside(label: str) -> bool:
    return label in ("O", "o")


def _split(label: str, scheme: str) -> tuple[Role | None, str]:
    """Return the role and type of a label; without a prefix of the scheme, None and the whole label."""
    found = _LABEL.fullmatch(label)
    role = _PREFIXES[scheme].get(found[1].upper()) if found else None
    return (None, label) if found is None or role is None else (role, found[2])
