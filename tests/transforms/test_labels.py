"""Prefixes, tags and group names, by table."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import TokenClassificationPipeline

from transforms.labels import LabelScheme, dense_labels, get_tag, group_name

# label, prefix, tag, name of the group
LABELS = [
    ("O", "I", "O", "O"),
    ("B-PER", "B", "PER", "PER"),
    ("I-PER", "I", "PER", "PER"),
    ("PER", "I", "PER", "PER"),
    ("per", "I", "per", "per"),
    ("B-air-port", "B", "air-port", "air-port"),
    ("I-air-port", "I", "air-port", "air-port"),
    ("air-port", "I", "air-port", "port"),  # the group loses what stands before the first hyphen, the tag does not
    ("E-PER", "I", "E-PER", "PER"),
    ("b-PER", "I", "b-PER", "PER"),  # prefixes are capitals
    ("B_PER", "I", "B_PER", "B_PER"),
    ("BPER", "I", "BPER", "BPER"),
    ("B-", "B", "", ""),
    ("B", "I", "B", "B"),
    ("-x", "I", "-x", "x"),
    ("I-B-PER", "I", "B-PER", "B-PER"),  # only one prefix is taken off
    ("", "I", "", ""),
    ("B-Ort", "B", "Ort", "Ort"),
    ("I-人名", "I", "人名", "人名"),
]


@pytest.mark.parametrize(("label", "prefix", "tag", "group"), LABELS)
def test_parts_of_a_label(label: str, prefix: str, tag: str, group: str) -> None:
    assert get_tag(label) == (prefix, tag)
    assert group_name(label) == group


@pytest.mark.parametrize("label", [row[0] for row in LABELS])
def test_tags_are_those_of_transformers(label: str) -> None:
    assert get_tag(label) == object.__new__(TokenClassificationPipeline).get_tag(label)


def test_scheme_has_one_column_entry_for_each_label() -> None:
    labels = ["O", "B-PER", "I-PER", "PER", "E-PER", "B-E-PER", "per"]
    scheme = LabelScheme.of(labels)
    assert scheme.labels == tuple(labels)
    assert scheme.groups == ("O", "PER", "PER", "PER", "PER", "E-PER", "per")
    assert scheme.begins.tolist() == [False, True, False, False, False, True, False]
    # O | B-PER I-PER PER | E-PER B-E-PER | per
    same_tag = scheme.tag[:, None] == scheme.tag[None, :]
    assert same_tag.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]


def test_scheme_without_labels_has_empty_columns() -> None:
    scheme = LabelScheme.of([])
    assert (len(scheme.tag), len(scheme.begins)) == (0, 0)
    assert (scheme.tag.dtype, scheme.begins.dtype) == (np.int64, np.bool_)


@pytest.mark.parametrize(
    ("ignore", "by_label", "by_group"),
    [
        ([], "", ""),
        (["O"], "O", "O"),
        (["PER"], "", "B-PER I-PER E-PER"),  # no label is called PER, three groups are
        (["B-PER"], "B-PER", ""),
        (["E-PER", "O"], "O E-PER", "O"),
        (["per"], "per", "per"),
        (["PER", "per"], "per", "B-PER I-PER E-PER per"),
        (["MISC", ""], "", ""),
    ],
)
def test_labels_are_ignored_by_name_and_groups_by_theirs(ignore: list[str], by_label: str, by_group: str) -> None:
    labels = ("O", "B-PER", "I-PER", "E-PER", "per")
    scheme = LabelScheme.of(labels)
    for grouped, expected in ((False, by_label), (True, by_group)):
        dropped = scheme.ignored(frozenset(ignore), grouped=grouped)
        assert dropped.dtype == np.bool_
        assert [label for label, is_dropped in zip(labels, dropped, strict=True) if is_dropped] == expected.split()


@pytest.mark.parametrize(
    ("id2label", "num_labels", "expected"),
    [
        ({0: "O", 1: "B-PER"}, 2, ("O", "B-PER")),
        ({1: "B-PER", 0: "O"}, 2, ("O", "B-PER")),
        ({0: "O", 2: "B-PER"}, 3, ("O", "LABEL_1", "B-PER")),
        ({}, 2, ("LABEL_0", "LABEL_1")),
        ({0: "O", 7: "B-PER"}, 1, ("O",)),
        ({0: "O"}, 0, ()),
        ({0: "", 1: "O"}, 2, ("", "O")),
    ],
)
def test_each_class_has_a_label(id2label: dict[int, str], num_labels: int, expected: tuple[str, ...]) -> None:
    assert dense_labels(id2label, num_labels) == expected
