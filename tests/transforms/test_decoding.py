"""Tagging schemes and constrained decoding, against a search over all sequences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.aggregation.decoding import TransitionBiases, viterbi
from transforms.aggregation.schemes import Role, TaggedLabels, detect_scheme

FULL = {
    "iob2": ["O", "B-X", "I-X", "B-Y", "I-Y"],
    "iobes": ["O", "B-X", "I-X", "E-X", "S-X", "B-Y", "I-Y", "E-Y", "S-Y"],
    "bilou": ["O", "B-X", "I-X", "L-X", "U-X", "B-Y", "I-Y", "L-Y", "U-Y"],
}


@pytest.mark.parametrize(("labels", "scheme"), [
    (["O", "B-X", "I-X"], "hf"),
    (FULL["iobes"], "iobes"),
    (FULL["bilou"], "bilou"),
    (["o", "b_x", "i_x", "e_x", "s_x"], "iobes"),
    (["O", "S-X", "B-X", "E-X"], "iobes"),
    (["O", "E-X", "S-Y"], "hf"),  # no type begins
    (["O", "E-MAIL", "B-PER", "I-PER"], "hf"),  # a type with a hyphen
    (["O", "B-X", "I-X", "E-X", "NAME"], "hf"),  # a label without a prefix
    (["PER", "LOC"], "hf"),
    ([], "hf"),
])  # fmt: skip
def test_the_scheme_of_labels(labels: list[str], scheme: str) -> None:
    assert detect_scheme(labels) == scheme


def test_roles_and_types() -> None:
    tagged = TaggedLabels.of(["S-A-b", "O", "l_A-b", "PER", "U-A-b", "o"], "bilou")
    assert tagged.role.tolist() == [Role.INSIDE, Role.OUTSIDE, Role.END, Role.INSIDE, Role.SINGLE, Role.OUTSIDE]
    assert tagged.types == ("S-A-b", "O", "A-b", "PER", "A-b", "O")
    assert tagged.kind.tolist() == [0, -1, 1, 2, 1, -1]


def follows(scheme: str, before: str, after: str) -> bool:
    """The rule of a scheme for two labels, in other words than the code's."""
    if after[0] in "IEL":
        return before[0] in "BI" and before[2:] == after[2:]
    return scheme == "iob2" or before[0] not in "BI"


@pytest.mark.parametrize("scheme", FULL)
def test_which_label_may_follow_which(scheme: str) -> None:
    labels = FULL[scheme]
    allowed = TaggedLabels.of(labels, scheme).allowed_transitions()
    for (row, before), (column, after) in itertools.product(enumerate(labels), repeat=2):
        assert allowed[row, column] == follows(scheme, before, after), (before, after)


def violations(tagged: TaggedLabels, sequence: Sequence[int]) -> int:
    allowed = tagged.allowed_transitions()
    steps = sum(not allowed[before, after] for before, after in itertools.pairwise(sequence))
    return steps + int(not tagged.allowed_starts()[sequence[0]]) + int(not tagged.allowed_ends()[sequence[-1]])


def bias_of(tagged: TaggedLabels, biases: TransitionBiases, before: int, after: int) -> float:
    first, second = Role(tagged.role[before]).name, Role(tagged.role[after]).name
    name = {
        ("OUTSIDE", "OUTSIDE"): "background_stay",
        ("OUTSIDE", "BEGIN"): "background_to_start", ("OUTSIDE", "SINGLE"): "background_to_start",
        ("BEGIN", "INSIDE"): "inside_to_continue", ("INSIDE", "INSIDE"): "inside_to_continue",
        ("BEGIN", "END"): "inside_to_end", ("INSIDE", "END"): "inside_to_end",
        ("END", "OUTSIDE"): "end_to_background", ("SINGLE", "OUTSIDE"): "end_to_background",
        ("END", "BEGIN"): "end_to_start", ("END", "SINGLE"): "end_to_start",
        ("SINGLE", "BEGIN"): "end_to_start", ("SINGLE", "SINGLE"): "end_to_start",
    }.get((first, second))  # fmt: skip
    return getattr(biases, f"transition_bias_{name}") if name else 0.0


def score(tagged: TaggedLabels, probabilities: np.ndarray, biases: TransitionBiases, sequence: Sequence[int]) -> float:
    own = sum(math.log(max(probabilities[unit, label], 2.0**-126)) for unit, label in enumerate(sequence))
    return own + sum(bias_of(tagged, biases, *pair) for pair in itertools.pairwise(sequence))


@st.composite
def cases(draw: st.DrawFn) -> tuple[TaggedLabels, np.ndarray, TransitionBiases]:
    scheme = draw(st.sampled_from(sorted(FULL)))
    labels = draw(st.lists(st.sampled_from(FULL[scheme]), min_size=1, max_size=5, unique=True))
    count = draw(st.integers(1, 4))
    # Few values, so that there are ties and zeros.
    values = st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, 0.3]), min_size=len(labels), max_size=len(labels))
    probabilities = np.array(draw(st.lists(values, min_size=count, max_size=count)), np.float32)
    numbers = draw(st.lists(st.sampled_from([0.0, 0.0, 1.5, -2.0]), min_size=6, max_size=6))
    return TaggedLabels.of(labels, scheme), probabilities, TransitionBiases(*numbers)


@settings(max_examples=400, deadline=None)
@given(cases())
def test_no_sequence_is_better(case: tuple[TaggedLabels, np.ndarray, TransitionBiases]) -> None:
    tagged, probabilities, biases = case
    found = viterbi(probabilities, tagged, biases).tolist()
    every = itertools.product(range(len(tagged.labels)), repeat=len(probabilities))
    ranks = [(violations(tagged, each), -score(tagged, probabilities, biases, each)) for each in every]
    fewest, least = min(ranks)
    assert violations(tagged, found) == fewest
    assert -score(tagged, probabilities, biases, found) == pytest.approx(least, abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(cases())
def test_the_best_labels_are_kept_if_they_are_allowed(
    case: tuple[TaggedLabels, np.ndarray, TransitionBiases],
) -> None:
    tagged, probabilities, _ = case
    best = probabilities.argmax(axis=1)
    if violations(tagged, best) == 0 and len(np.unique(probabilities)) == probabilities.size:  # no ties
        assert viterbi(probabilities, tagged).tolist() == best.tolist()


def test_equal_cases_have_equal_results() -> None:
    tagged = TaggedLabels.of(["B-X", "O", "E-X", "S-X"], "iobes")
    even = np.full((4, 4), 0.25, np.float32)
    assert viterbi(even, tagged).tolist() == viterbi(even.copy(), tagged).tolist()
    assert violations(tagged, viterbi(even, tagged)) == 0


def test_nothing_has_no_labels() -> None:
    assert viterbi(np.zeros((0, 9), np.float32), TaggedLabels.of(FULL["iobes"], "iobes")).tolist() == []


def test_biases_move_boundaries() -> None:
    tagged = TaggedLabels.of(FULL["iobes"][:5], "iobes")
    uncertain = np.array([[0.45, 0.05, 0.02, 0.03, 0.45]] * 2, np.float32)
    more = TransitionBiases(transition_bias_background_to_start=1.0, transition_bias_end_to_start=2.0)
    less = TransitionBiases(transition_bias_background_stay=1.0)
    assert viterbi(uncertain, tagged, less).tolist() == [0, 0]
    assert viterbi(uncertain, tagged, more).tolist() == [4, 4]


def test_a_long_document_has_one_pass() -> None:
    """Its memory is a byte a token and label, beside the scores; `make bench-overhead` measures the time."""
    rng = np.random.default_rng(0)
    labels = ["O", *(f"{prefix}-{kind}" for kind in "ABCDEFGH" for prefix in "BIES")]
    tagged = TaggedLabels.of(labels, "iobes")
    scores = rng.dirichlet(np.full(len(labels), 0.1), 20_000).astype(np.float32)
    assert violations(tagged, viterbi(scores, tagged)) == 0
