"""Tagging schemes and decoding as users meet them: groups, the classifier, the transforms."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to

from transforms import (
    ClassifyTokens,
    Document,
    GroupEntities,
    PreEntities,
    TokenClassificationModelHandler,
    TokenClassifier,
)
from transforms.aggregation.rules import EntityRules
from transforms.aggregation.schemes import TaggedLabels
from transforms.errors import ArgumentError
from transforms.pre_entities import object_column

IOBES = ("O", "B-PER", "I-PER", "E-PER", "S-PER", "S-LOC", "B-LOC", "E-LOC")
TEXTS = ["Ann Smith lives in Paris.", "Bob met Ann in London and in New York City", ""]


def tokens(*labels: str, among: tuple[str, ...] = IOBES, rest: float = 0.01) -> PreEntities:
    """Words `w0 w1 …`, each with one likely label."""
    text = " ".join(f"w{number}" for number in range(len(labels)))
    scores = np.full((len(labels), len(among)), rest, np.float32)
    for row, label in enumerate(labels):
        scores[row, among.index(label)] = 0.9
    starts = np.array([text.index(f"w{number}") for number in range(len(labels))], np.int64)
    ends = starts + [len(f"w{number}") for number in range(len(labels))]
    return PreEntities(
        scores=scores,
        words=object_column([f"w{number}" for number in range(len(labels))]),
        start=starts,
        end=ends,
        index=np.arange(1, 1 + len(labels)),
        is_subword=np.zeros(len(labels), bool),
        document=Document("d", text),
    )


def groups(pre_entities: PreEntities, rules: EntityRules, strategy: str = "simple", among: tuple[str, ...] = IOBES) -> list[tuple[str, str | None]]:  # fmt: skip
    entities = rules.changed(aggregation_strategy=strategy).entities(pre_entities, among, None, " ".join)
    return [(entity.label, entity.text) for entity in entities]


@pytest.mark.parametrize(("labels", "expected"), [
    (["B-PER", "I-PER", "E-PER"], [("PER", "w0 w1 w2")]),
    (["S-PER", "S-PER"], [("PER", "w0"), ("PER", "w1")]),
    (["B-PER", "E-PER", "B-PER", "E-PER"], [("PER", "w0 w1"), ("PER", "w2 w3")]),
    (["B-PER", "E-LOC"], [("PER", "w0"), ("LOC", "w1")]),  # repaired: another type begins a group
    (["E-PER", "O", "I-PER"], [("PER", "w0"), ("PER", "w2")]),  # an orphan begins a group
    (["E-PER", "E-PER"], [("PER", "w0"), ("PER", "w1")]),
    (["B-PER", "B-PER"], [("PER", "w0"), ("PER", "w1")]),
    (["B-PER", "I-PER", "O"], [("PER", "w0 w1")]),  # without its end
    (["O", "O"], []),
])  # fmt: skip
@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_groups_of_iobes(labels: list[str], expected: list[tuple[str, str]], strategy: str) -> None:
    assert groups(tokens(*labels), EntityRules.of(), strategy) == expected


def test_transformers_splits_them() -> None:
    """Its rules take E-PER and S-PER for types of their own."""
    split = groups(tokens("B-PER", "I-PER", "E-PER"), EntityRules.of(tagging_scheme="hf"))
    assert split == [("PER", "w0 w1"), ("PER", "w2")]


def test_iob2_with_underscores() -> None:
    among = ("O", "b_PER", "i_PER")
    found = groups(
        tokens("b_PER", "i_PER", "b_PER", "O", "i_PER", among=among), EntityRules.of(tagging_scheme="iob2"), among=among
    )
    assert found == [("PER", "w0 w1"), ("PER", "w2"), ("PER", "w4")]


def grouped(text: str, labels: list[str], rules: EntityRules, strategy: str = "simple") -> list[tuple[str, str | None]]:
    """The groups of a text whose words have these labels."""
    words = text.split()
    made = tokens(*labels)
    starts = np.array([text.index(word) for word in words], np.int64)
    ends = starts + [len(word) for word in words]
    columns = dataclasses.replace(made, document=Document("d", text), start=starts, end=ends)
    return groups(columns, rules, strategy)


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
@pytest.mark.parametrize(("labels", "rules", "expected"), [
    (["B-PER", "B-PER", "O", "B-PER"], EntityRules.of(tagging_scheme="hf"), ["ann", "bob", "tom"]),
    (["B-PER", "B-PER", "O", "B-PER"], EntityRules.of(tagging_scheme="hf", join_adjacent=True), ["ann bob", "tom"]),
    (["S-PER", "S-PER", "S-PER", "S-LOC"], EntityRules.of(join_adjacent=True), ["ann bob\nin", "tom"]),
    (["S-PER", "S-PER", "S-PER", "S-LOC"], EntityRules.of(join_adjacent=True, split_lines=True), ["ann bob", "in", "tom"]),
    (["B-PER", "I-PER", "I-PER", "E-PER"], EntityRules.of(split_lines=True), ["ann bob", "in tom"]),
    (["B-PER", "I-PER", "I-PER", "E-PER"], EntityRules.of(), ["ann bob\nin tom"]),
    (["O", "O", "O", "O"], EntityRules.of(join_adjacent=True, split_lines=True), []),
])  # fmt: skip
def test_joined_and_split_groups(labels: list[str], rules: EntityRules, expected: list[str], strategy: str) -> None:
    assert [text for _, text in grouped("ann bob\nin tom", labels, rules, strategy)] == expected


SPLIT = [
    ("Ann Smith\nBob Jones Paris", ["Ann Smith", "Bob Jones Paris"]),
    ("Ann\n\nBob\r\nEve", ["Ann", "Bob", "Eve"]),
    ("one\rtwo\u2028three\x85four", ["one", "two", "three", "four"]),
    ("\n Ann \n", ["Ann"]),
    ("Ann and Bob", ["Ann and Bob"]),
    ("\n", []),
]


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
@pytest.mark.parametrize("name", ["bert_cased", "roberta", "roberta_prefix_space", "xlm_roberta", "deberta"])
def test_no_entity_crosses_a_line(name: str, strategy: str, checkpoint: Callable[[str], Path]) -> None:
    """Words of a tokenizer without marks for subwords reach over the end of a line."""
    classify = TokenClassifier(checkpoint(name), engine="torch", split_lines=True, aggregation_strategy=strategy)
    classify.id2label = dict.fromkeys(range(9), "I-PER")
    for text, expected in SPLIT:
        found = classify(text)
        if name == "bert_cased" and "\u2028" in text:
            continue  # its tokenizer drops some of these
        assert [text[entity["start"] : entity["end"]] for entity in found] == expected
        assert all(entity["word"].strip() and 0 <= entity["score"] <= 1 for entity in found)


@pytest.mark.parametrize("stride", [0, 7, None])
def test_neighbours_are_joined_across_windows(stride: int | None, checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(
        checkpoint("bert_cased"), engine="torch", join_adjacent=True, aggregation_strategy="simple", stride=stride
    )
    classify.id2label = dict.fromkeys(range(9), "B-PER")
    text = "Ann Smith lives here. " * 40
    assert [(entity["start"], entity["end"]) for entity in classify(text)] == [(0, len(text) - 1)]


def test_neighbours_that_something_visible_parts_are_not_joined(checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(
        checkpoint("bert_cased"), engine="torch", join_adjacent=True, aggregation_strategy="simple"
    )
    classify.id2label = dict.fromkeys(range(9), "B-PER")
    text = "Ann \ufffd Bob"  # which the tokenizer drops
    assert [text[entity["start"] : entity["end"]] for entity in classify(text)] == ["Ann", "Bob"]


@pytest.mark.parametrize(("arguments", "message"), [
    ({"rules": EntityRules.of("none"), "min_score": 0.9}, "rules: given together with min_score"),
    ({"rules": EntityRules.of("none"), "aggregation_strategy": "simple"}, "rules: given together with aggregation_strategy"),
    ({"rules": "first"}, "rules: of type str; expected EntityRules"),
    ({"rules": {}}, "rules: of type dict; expected EntityRules"),
])  # fmt: skip
def test_rules_and_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{message}"):
        GroupEntities(**arguments)


@pytest.mark.parametrize("make", [GroupEntities, EntityRules.of, TokenClassifier, TokenClassificationModelHandler])
def test_a_misspelled_argument(make: Any) -> None:
    with pytest.raises(TypeError, match=r"^agregation_strategy: unknown argument; expected one "):
        make(agregation_strategy="simple")


def test_nothing_is_split_without_offsets() -> None:
    made = dataclasses.replace(tokens("B-PER", "E-PER"), start=None, end=None, document=Document("d", "a\nb"))
    assert groups(made, EntityRules.of(split_lines=True)) == [("PER", None)]


def test_a_decoded_sequence_is_one_that_the_scheme_allows() -> None:
    broken = tokens("B-PER", "O", "E-PER", rest=0.05)  # no such sequence: one label has to give way
    assert groups(broken, EntityRules.of(decoding="viterbi")) in (
        [("PER", "w0 w1 w2")],
        [],
        [("PER", "w0"), ("PER", "w2")],
    )
    assert groups(broken, EntityRules.of(decoding="argmax")) == [("PER", "w0"), ("PER", "w2")]


def test_scores_are_those_of_the_decoded_labels() -> None:
    rules = EntityRules.of(decoding="viterbi")
    broken = tokens("S-PER", "E-PER", rest=0.05)
    (first, *_) = rules.changed(ignore_labels=()).entities(broken, IOBES, None, " ".join)
    row = broken.scores[0]
    assert first.score == pytest.approx(row[IOBES.index(first.label)])


@pytest.mark.parametrize(("arguments", "message"), [
    ({"tagging_scheme": "bio"}, "tagging_scheme='bio'"),
    ({"decoding": "beam"}, "decoding='beam'"),
    ({"viterbi_calibration": "none"}, "viterbi_calibration='none': is for decoding='viterbi'"),
    ({"operating_point": "x"}, "operating_point='x': is for decoding='viterbi'"),
    ({"decoding": "viterbi", "viterbi_calibration": "gone.json"}, "viterbi_calibration='gone.json': cannot be read"),
    ({"decoding": "viterbi", "viterbi_calibration": "none", "operating_point": "x"}, "operating_point='x': not with viterbi_calibration='none'"),
])  # fmt: skip
def test_arguments(arguments: dict[str, Any], message: str) -> None:
    for make in (EntityRules.of, GroupEntities):
        with pytest.raises(ArgumentError) as raised:
            make(**arguments)
        assert str(raised.value).startswith(message)


@pytest.mark.parametrize(("rules", "labels", "message"), [
    (EntityRules.of(tagging_scheme="iobes"), ("O", "PER"), "tagging_scheme='iobes': "),
    (EntityRules.of(decoding="viterbi"), ("O", "PER"), "decoding='viterbi': "),
    (EntityRules.of(tagging_scheme="hf", decoding="viterbi"), ("O", "B-PER", "I-PER"), "decoding='viterbi': "),
])  # fmt: skip
def test_rules_must_fit_the_labels(rules: EntityRules, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        rules.label_scheme(labels)
    assert str(raised.value).startswith(message)
    assert "; expected " in str(raised.value)


def test_viterbi_reads_plain_labels_as_iob2() -> None:
    assert EntityRules.of(decoding="viterbi").scheme_of(("O", "B-PER", "I-PER")) == "iob2"
    assert EntityRules.of().scheme_of(("O", "B-PER", "I-PER")) == "hf"


def test_the_classifier(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_iobes")
    plain = TokenClassifier(folder, engine="torch", ignore_labels=[])
    decoded = TokenClassifier(folder, engine="torch", ignore_labels=[], tagging_scheme="auto", decoding="viterbi")
    tagged = TaggedLabels.of([plain.id2label[number] for number in range(9)], "iobes")
    allowed = tagged.allowed_transitions()
    by_name = {label: number for number, label in enumerate(tagged.labels)}
    for text in TEXTS:
        sequence = [by_name[entity["entity"]] for entity in decoded(text)]
        assert len(sequence) == len(plain(text))
        assert all(allowed[before, after] for before, after in itertools.pairwise(sequence))
    starts = TokenClassifier(
        folder, engine="torch", ignore_labels=[], tagging_scheme="auto", decoding="viterbi",
        operating_point="all_starts",
    )  # fmt: skip
    labels = [entity["entity"] for entity in starts(TEXTS[1])]
    assert all(label.startswith("S-") for label in labels[1:])  # the model's own calibration, each step a start
    none = TokenClassifier(
        folder, engine="torch", decoding="viterbi", tagging_scheme="auto", viterbi_calibration="none"
    )
    assert none(TEXTS[1]) == [e for e in decoded(TEXTS[1]) if e["entity"] != "O"]
    with pytest.raises(ArgumentError, match="operating_point='x'"):
        TokenClassifier(folder, engine="torch", decoding="viterbi", tagging_scheme="auto", operating_point="x")


def test_long_texts_are_decoded_as_a_whole(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_iobes")
    classify = TokenClassifier(folder, engine="torch", ignore_labels=[], tagging_scheme="auto", decoding="viterbi")
    tagged = TaggedLabels.of([classify.id2label[number] for number in range(9)], "iobes")
    by_name = {label: number for number, label in enumerate(tagged.labels)}
    entities = classify(TEXTS[1] + " " + " ".join(TEXTS[:2] * 20))
    assert [entity["index"] for entity in entities] == sorted({entity["index"] for entity in entities})
    sequence = [by_name[entity["entity"]] for entity in entities]
    assert all(tagged.allowed_transitions()[pair] for pair in itertools.pairwise(sequence))


def test_the_transforms_take_the_schemes_of_the_labels(checkpoint: Callable[[str], Path]) -> None:
    folder = str(checkpoint("bert_iobes"))
    documents = [Document(str(number), text) for number, text in enumerate(TEXTS)]
    for arguments in ({}, {"decoding": "viterbi"}, {"decoding": "viterbi", "operating_point": "all_starts"}):
        classify = TokenClassifier(
            folder, engine="torch", aggregation_strategy="simple", tagging_scheme="auto", **arguments
        )
        expected = [
            (document.id, [(e["entity_group"], e["start"], e["end"]) for e in classify(document.text)])
            for document in documents
        ]
        with beam.Pipeline("FnApiRunner") as pipeline:
            found = (
                pipeline
                | beam.Create(documents)
                | ClassifyTokens(folder, engine="torch")
                | GroupEntities("simple", **arguments)
                | beam.Map(lambda result: (result.id, [(e.label, e.start, e.end) for e in result.entities]))
            )
            assert_that(found, equal_to(expected))


def test_the_best_scores_alone_are_too_few(checkpoint: Callable[[str], Path]) -> None:
    folder = str(checkpoint("bert_iobes"))
    with beam.Pipeline("FnApiRunner") as pipeline:
        grouped = (
            pipeline
            | beam.Create(TEXTS[:1])
            | ClassifyTokens(folder, engine="torch", scores="best")
            | GroupEntities("simple", decoding="viterbi").with_exception_handling()
        )
        assert_that(grouped.failures | beam.Map(lambda failure: failure.stage), equal_to(["group"]))


def test_a_broken_calibration_is_logged(
    checkpoint: Callable[[str], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("bert_iobes"), folder)
    (folder / "viterbi_calibration.json").write_text(json.dumps({"operating_points": 1}))
    TokenClassifier(folder, engine="torch")
    assert [record.getMessage().partition(": its")[0] for record in caplog.records] == [f"model={str(folder)!r}"]
