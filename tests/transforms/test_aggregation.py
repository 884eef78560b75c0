"""Entities from tokens, by table; every expectation is worked out by hand.

A window is written ``word LABEL=score LABEL=score | word ...``; labels that are not named score 0. Words stand one
space apart, and ``##`` marks a token that continues its word. ``<s>`` stands before each window, so that `index`
counts from 1.
"""

from __future__ import annotations

import numpy as np
import pytest

from transforms.aggregation.entities import find_entities
from transforms.aggregation.grouping import Units, group_scores, group_units, label_tokens, label_words
from transforms.aggregation.overlaps import join_windows, resolve_overlaps
from transforms.aggregation.strategies import AggregationStrategy
from transforms.documents import Document, Entity
from transforms.labels import LabelScheme
from transforms.pre_entities import PreEntities, object_column

LABELS = (
    "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ENT", "I-ENT", "I-NAME", "B-air-port", "I-air-port",
    "PER", "per", "E-PER", "I-E-PER",
)  # fmt: skip
SCHEME = LabelScheme.of(LABELS)
STRATEGIES = [strategy.value for strategy in AggregationStrategy]

Grouped = tuple[str, float, str, int, int]
Token = tuple[str, float, str, int, int, int]


def to_string(tokens: list[str]) -> str:
    return " ".join(tokens).replace(" ##", "")


def read(*windows: tuple[int, str]) -> PreEntities:
    """Pre-entities of these windows, each given with how many tokens of the text come before it."""
    words: dict[int, str] = {}
    rows, starts = [], []
    for offset, window in windows:
        starts.append(len(rows))
        tokens = [token.split() for token in window.split("|") if token.strip()]
        for index, (word, *scores) in enumerate(tokens):
            words[offset + index] = word
            rows.append((offset + index, index + 1, dict(score.rsplit("=", 1) for score in scores)))
    text, spans = "", {}
    for position in sorted(words):
        word = words[position]
        covered = word.removeprefix("##")
        text += "" if not text or word != covered else " "
        spans[position] = (len(text), len(text) + len(covered))
        text += covered
    return PreEntities(
        scores=np.array([[scores.get(label, 0) for label in LABELS] for _, _, scores in rows], np.float32).reshape(
            len(rows), len(LABELS)
        ),
        words=object_column([words[position] for position, _, _ in rows]),
        start=np.array([spans[position][0] for position, _, _ in rows], np.int64),
        end=np.array([spans[position][1] for position, _, _ in rows], np.int64),
        index=np.array([index for _, index, _ in rows], np.int64),
        is_subword=np.array([words[position].startswith("##") for position, _, _ in rows], bool),
        window_starts=np.array(starts, np.int64),
        window_offsets=np.array([offset for offset, _ in windows], np.int64),
        num_tokens=len(words),
        document=Document("doc", text),
    )


def find(
    pre_entities: PreEntities, strategy: str, ignore: str = "O", window_join: str = "entities"
) -> list[Grouped | Token]:
    """The entities as rows, after a check that each holds the text that it points at."""
    entities = find_entities(
        pre_entities,
        AggregationStrategy(strategy),
        SCHEME,
        to_string,
        ignore_labels=ignore.split(),
        window_join=window_join,
    )
    for entity in entities:
        assert entity.text == pre_entities.document.text[entity.start : entity.end]
        assert type(entity.score) is float
    return [row_of(entity) for entity in entities]


def row_of(entity: Entity) -> Grouped | Token:
    assert entity.start is not None
    assert entity.end is not None
    row = (entity.label, pytest.approx(entity.score, abs=1e-6), entity.word, entity.start, entity.end)
    return row if entity.index is None else (*row, entity.index)


# One word of two tokens for which the first token, the average and the highest score each name another label:
#
#            B-ENT   I-LOC   I-NAME  I-ENT
#   micro    .50*    .45     .05
#   ##soft           .40     .60*               first: ENT .50, max: NAME .60
#   average  .25     .425*   .325               average: LOC .425
#   com                      .20     .80*
#   ##pany                   .40     .60*       first and max: ENT .80
#   average                  .30     .70*       average: ENT .70
MICROSOFT = (
    "micro B-ENT=.50 I-LOC=.45 I-NAME=.05 | ##soft I-LOC=.40 I-NAME=.60"
    " | com I-ENT=.80 I-NAME=.20 | ##pany I-ENT=.60 I-NAME=.40"
)

# tokens, labels to ignore, entities
NONE = [
    ("", "O", []),
    # Each token has its own label, and each its position among the model's inputs.
    (
        "Ann B-PER=.9 | of O=.8 | New B-LOC=.7 | York I-LOC=.6",
        "O",
        [
            ("B-PER", 0.9, "Ann", 0, 3, 1),
            ("B-LOC", 0.7, "New", 7, 10, 3),
            ("I-LOC", 0.6, "York", 11, 15, 4),
        ],
    ),
    # Labels are ignored by their own name: PER is none of these, B-PER is.
    ("Ann B-PER=.9 | of O=.8", "", [("B-PER", 0.9, "Ann", 0, 3, 1), ("O", 0.8, "of", 4, 6, 2)]),
    ("Ann B-PER=.9 | Lee I-PER=.8", "PER", [("B-PER", 0.9, "Ann", 0, 3, 1), ("I-PER", 0.8, "Lee", 4, 7, 2)]),
    ("Ann B-PER=.9 | Lee I-PER=.8", "B-PER", [("I-PER", 0.8, "Lee", 4, 7, 2)]),
    ("Ann E-PER=.9 | Lee per=.8", "O", [("E-PER", 0.9, "Ann", 0, 3, 1), ("per", 0.8, "Lee", 4, 7, 2)]),
    # The token's own string is the word, `##` and all.
    (
        MICROSOFT,
        "O",
        [
            ("B-ENT", 0.5, "micro", 0, 5, 1),
            ("I-NAME", 0.6, "##soft", 5, 9, 2),
            ("I-ENT", 0.8, "com", 10, 13, 3),
            ("I-ENT", 0.6, "##pany", 13, 17, 4),
        ],
    ),
    # Of equal scores the lower class id wins: B-PER comes before I-LOC, whichever is written first.
    ("Ann I-LOC=.5 B-PER=.5", "O", [("B-PER", 0.5, "Ann", 0, 3, 1)]),
    # Offsets count code points.
    ("👩‍👧 O=.9 | Zoë B-PER=.8", "O", [("B-PER", 0.8, "Zoë", 4, 7, 2)]),
]

SIMPLE = [
    ("", "O", []),
    ("Ann B-PER=.9", "O", [("PER", 0.9, "Ann", 0, 3)]),
    ("Ann I-PER=.9", "O", [("PER", 0.9, "Ann", 0, 3)]),
    ("Ann O=.9", "O", []),
    # B- and I- of one tag: (.9 + .7) / 2
    ("Ann B-PER=.9 | Lee I-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
    # Two B- are two groups, and the I- after them belongs to the second: (.7 + .5) / 2
    (
        "Ann B-PER=.9 | Lee B-PER=.7 | Roy I-PER=.5",
        "O",
        [("PER", 0.9, "Ann", 0, 3), ("PER", 0.6, "Lee Roy", 4, 11)],
    ),
    # An I- after another tag starts a group of its own.
    ("Ann B-PER=.9 | York I-LOC=.7", "O", [("PER", 0.9, "Ann", 0, 3), ("LOC", 0.7, "York", 4, 8)]),
    # O in the middle separates, although it is dropped afterwards.
    ("Ann B-PER=.9 | x O=.8 | Lee I-PER=.7", "O", [("PER", 0.9, "Ann", 0, 3), ("PER", 0.7, "Lee", 6, 9)]),
    # O is a group like any other: (.8 + .6) / 2
    ("a O=.8 | b O=.6 | Ann B-PER=.9", "", [("O", 0.7, "a b", 0, 3), ("PER", 0.9, "Ann", 4, 7)]),
    # Without a prefix, neighbours continue each other, and what a B- began.
    ("Ann PER=.9 | Lee PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
    ("Ann B-PER=.9 | Lee PER=.7 | Roy I-PER=.5", "O", [("PER", 0.7, "Ann Lee Roy", 0, 11)]),
    ("Ann PER=.9 | Lee B-PER=.7", "O", [("PER", 0.9, "Ann", 0, 3), ("PER", 0.7, "Lee", 4, 7)]),
    # Tags differ by case.
    (
        "Ann per=.9 | Lee per=.7 | Roy PER=.5",
        "O",
        [("per", 0.8, "Ann Lee", 0, 7), ("PER", 0.5, "Roy", 8, 11)],
    ),
    # Only the first hyphen ends the prefix.
    (
        "San B-air-port=.9 | Jose I-air-port=.7",
        "O",
        [("air-port", 0.8, "San Jose", 0, 8)],
    ),
    # E- is no prefix: E-PER is a tag of its own, and yet its group is called PER.
    ("Ann E-PER=.9 | Lee E-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
    ("Ann I-PER=.9 | Lee E-PER=.7", "O", [("PER", 0.9, "Ann", 0, 3), ("PER", 0.7, "Lee", 4, 7)]),
    # I-E-PER has the tag of E-PER; the group is named by its first token.
    ("Ann E-PER=.9 | Lee I-E-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
    ("Ann I-E-PER=.9 | Lee E-PER=.7", "O", [("E-PER", 0.8, "Ann Lee", 0, 7)]),
    # Groups are ignored by their name.
    ("Ann B-PER=.9 | Lee B-LOC=.7", "PER", [("LOC", 0.7, "Lee", 4, 7)]),
    ("Ann B-PER=.9 | Lee B-LOC=.7", "B-PER I-PER", [("PER", 0.9, "Ann", 0, 3), ("LOC", 0.7, "Lee", 4, 7)]),
    ("Ann E-PER=.9 | Lee per=.7 | Roy PER=.5", "PER", [("per", 0.7, "Lee", 4, 7)]),
    # Tokens of one word may differ, and so words break: ENT .5 | NAME .6 | ENT (.8 + .6) / 2
    (
        MICROSOFT,
        "O",
        [("ENT", 0.5, "micro", 0, 5), ("NAME", 0.6, "##soft", 5, 9), ("ENT", 0.7, "company", 10, 17)],
    ),
    ("Ann I-LOC=.5 B-PER=.5", "O", [("PER", 0.5, "Ann", 0, 3)]),
    ("👩‍👧 O=.9 | Zoë B-PER=.8", "O", [("PER", 0.8, "Zoë", 4, 7)]),
]

FIRST = [
    ("", "O", []),
    # Words of one token are grouped as by `simple`.
    (
        "Ann B-PER=.9 | Lee I-PER=.7 | x O=.9 | York I-LOC=.5",
        "O",
        [("PER", 0.8, "Ann Lee", 0, 7), ("LOC", 0.5, "York", 10, 14)],
    ),
    # microsoft ENT .5, company ENT .8, which continues it: (.5 + .8) / 2
    (MICROSOFT, "O", [("ENT", 0.65, "microsoft company", 0, 17)]),
    # The score is that of the first token, however sure the others are; O hides the word, too.
    ("An B-PER=.4 | ##ton O=.9 | ##y O=.9", "O", [("PER", 0.4, "Antony", 0, 6)]),
    ("An O=.4 | ##ton B-PER=.9", "O", []),
    # A B- within a word starts nothing; the B- of the next word does.
    (
        "An B-PER=.9 | ##n B-PER=.8 | Lee B-PER=.7",
        "O",
        [("PER", 0.9, "Ann", 0, 3), ("PER", 0.7, "Lee", 4, 7)],
    ),
    # A text may begin in the middle of a word.
    ("##ann B-PER=.9 | ##a O=.8 | Lee I-PER=.7", "O", [("PER", 0.8, "##anna Lee", 0, 8)]),
    # Groups weigh words, not tokens: (.9 + .5) / 2
    ("An I-PER=.9 | ##to O=.1 | ##ny O=.1 | Lee I-PER=.5", "O", [("PER", 0.7, "Antony Lee", 0, 10)]),
    ("ab B-PER=.5 I-LOC=.5 | ##cd I-LOC=.9", "O", [("PER", 0.5, "abcd", 0, 4)]),
    ("Ann B-PER=.9 | Lee B-LOC=.7", "PER", [("LOC", 0.7, "Lee", 4, 7)]),
    ("Ann E-PER=.9 | Lee E-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
]

AVERAGE = [
    ("", "O", []),
    (
        "Ann B-PER=.9 | Lee I-PER=.7 | x O=.9 | York I-LOC=.5",
        "O",
        [("PER", 0.8, "Ann Lee", 0, 7), ("LOC", 0.5, "York", 10, 14)],
    ),
    # microsoft LOC (.45 + .40) / 2, company ENT (.80 + .60) / 2
    (MICROSOFT, "O", [("LOC", 0.425, "microsoft", 0, 9), ("ENT", 0.7, "company", 10, 17)]),
    # O: (.4 + .9 + .9) / 3, more than B-PER: .6 / 3
    ("An B-PER=.6 O=.4 | ##ton O=.9 | ##y O=.9", "O", []),
    ("An B-PER=.6 O=.4 | ##ton O=.9 | ##y O=.9", "", [("O", 2.2 / 3, "Antony", 0, 6)]),
    # B-PER and I-PER are two labels: .3 and .25 against O .45
    ("An B-PER=.6 O=.4 | ##n I-PER=.5 O=.5", "", [("O", 0.45, "Ann", 0, 3)]),
    # Of equal averages the lower class id wins: B-PER (.5 + 0) / 2 and I-LOC (0 + .5) / 2
    ("ab I-LOC=.5 | ##cd B-PER=.5", "O", [("PER", 0.25, "abcd", 0, 4)]),
    # Groups weigh words, not tokens: ((.9 + .3) / 2 + .2) / 2
    ("An I-PER=.9 | ##ton I-PER=.3 | Lee I-PER=.2", "O", [("PER", 0.4, "Anton Lee", 0, 9)]),
    ("Ann B-PER=.9 | Lee B-LOC=.7", "PER", [("LOC", 0.7, "Lee", 4, 7)]),
    ("Ann E-PER=.9 | Lee E-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
]

MAX = [
    ("", "O", []),
    (
        "Ann B-PER=.9 | Lee I-PER=.7 | x O=.9 | York I-LOC=.5",
        "O",
        [("PER", 0.8, "Ann Lee", 0, 7), ("LOC", 0.5, "York", 10, 14)],
    ),
    # microsoft NAME .60 of its second token, company ENT .80 of its first
    (MICROSOFT, "O", [("NAME", 0.6, "microsoft", 0, 9), ("ENT", 0.8, "company", 10, 17)]),
    # The surest token speaks for the word, O as well as any other.
    ("An O=.4 | ##ton B-PER=.9 | ##y O=.8", "O", [("PER", 0.9, "Antony", 0, 6)]),
    ("An B-PER=.6 | ##ton O=.9 | ##y B-PER=.8", "O", []),
    # Of equal tokens the first speaks (LOC, although B-PER has the lower class id), of its equal labels the lower.
    ("ab I-LOC=.5 | ##cd B-PER=.5", "O", [("LOC", 0.5, "abcd", 0, 4)]),
    ("ab I-LOC=.5 B-PER=.5 | ##cd O=.5", "O", [("PER", 0.5, "abcd", 0, 4)]),
    # The B- of a later token starts a group at its word: Ann | Leeds
    ("Ann I-LOC=.7 | Lee I-LOC=.6 | ##ds B-LOC=.8", "O", [("LOC", 0.7, "Ann", 0, 3), ("LOC", 0.8, "Leeds", 4, 9)]),
    # Groups weigh words, not tokens: (.9 + .5) / 2
    ("An I-PER=.9 | ##ton I-PER=.1 | Lee I-PER=.5", "O", [("PER", 0.7, "Anton Lee", 0, 9)]),
    ("Ann B-PER=.9 | Lee B-LOC=.7", "PER", [("LOC", 0.7, "Lee", 4, 7)]),
    ("Ann E-PER=.9 | Lee E-PER=.7", "O", [("PER", 0.8, "Ann Lee", 0, 7)]),
]


@pytest.mark.parametrize(("tokens", "ignore", "expected"), NONE)
def test_none(tokens: str, ignore: str, expected: list[Token]) -> None:
    assert find(read((0, tokens)), "none", ignore) == expected


@pytest.mark.parametrize(("tokens", "ignore", "expected"), SIMPLE)
def test_simple(tokens: str, ignore: str, expected: list[Grouped]) -> None:
    assert find(read((0, tokens)), "simple", ignore) == expected


@pytest.mark.parametrize(("tokens", "ignore", "expected"), FIRST)
def test_first(tokens: str, ignore: str, expected: list[Grouped]) -> None:
    assert find(read((0, tokens)), "first", ignore) == expected


@pytest.mark.parametrize(("tokens", "ignore", "expected"), AVERAGE)
def test_average(tokens: str, ignore: str, expected: list[Grouped]) -> None:
    assert find(read((0, tokens)), "average", ignore) == expected


@pytest.mark.parametrize(("tokens", "ignore", "expected"), MAX)
def test_max(tokens: str, ignore: str, expected: list[Grouped]) -> None:
    assert find(read((0, tokens)), "max", ignore) == expected


# windows, strategy, entities
WINDOWS = [
    # Neither a group nor a word goes on into the next window.
    (
        [(0, "Ann B-PER=.9 | Lee I-PER=.7"), (2, "Roy I-PER=.6")],
        "simple",
        [("PER", 0.8, "Ann Lee", 0, 7), ("PER", 0.6, "Roy", 8, 11)],
    ),
    (
        [(0, "micro B-ENT=.9"), (1, "##soft I-NAME=.8 | ##ware I-LOC=.9")],
        "first",
        [("ENT", 0.9, "micro", 0, 5), ("NAME", 0.8, "##software", 5, 13)],
    ),
    (
        [(0, "micro B-ENT=.9"), (1, "##soft I-NAME=.6 | ##ware I-NAME=.4")],
        "average",
        [("ENT", 0.9, "micro", 0, 5), ("NAME", 0.5, "##software", 5, 13)],
    ),
    (
        [(0, "micro B-ENT=.9"), (1, "##soft I-NAME=.8 | ##ware I-LOC=.9")],
        "max",
        [("ENT", 0.9, "micro", 0, 5), ("LOC", 0.9, "##software", 5, 13)],
    ),
    # What both windows see is there once, the longer of the two: New York | New York City (.6 + .6 + .3) / 3
    (
        [(0, "in O=.9 | New B-LOC=.9 | York I-LOC=.9"), (1, "New B-LOC=.6 | York I-LOC=.6 | City I-LOC=.3")],
        "simple",
        [("LOC", 0.5, "New York City", 3, 16)],
    ),
    # Of equally long ones the surer stays.
    ([(0, "a O=.9 | Ann B-PER=.6"), (1, "Ann B-LOC=.8 | b O=.9")], "simple", [("LOC", 0.8, "Ann", 2, 5)]),
    ([(0, "a O=.9 | Ann B-PER=.8"), (1, "Ann B-LOC=.6 | b O=.9")], "simple", [("PER", 0.8, "Ann", 2, 5)]),
    ([(0, "a O=.9 | Ann B-PER=.8"), (1, "Ann B-LOC=.8 | b O=.9")], "simple", [("PER", 0.8, "Ann", 2, 5)]),
    # Seen by one window only, it stays; O was dropped before and overlaps nothing.
    ([(0, "a O=.9 | Ann B-PER=.6"), (1, "Ann O=.9 | b O=.9")], "simple", [("PER", 0.6, "Ann", 2, 5)]),
    # Windows from the text's end come in that order; entities do not.
    (
        [(2, "Roy B-PER=.9 | x O=.9"), (0, "Ann B-PER=.8 | x O=.9")],
        "simple",
        [("PER", 0.8, "Ann", 0, 3), ("PER", 0.9, "Roy", 6, 9)],
    ),
    # A window that has nothing to say, and nothing but such windows.
    ([(0, "Ann B-PER=.9 | x O=.9"), (2, "x O=.9")], "simple", [("PER", 0.9, "Ann", 0, 3)]),
    ([(0, "x O=.9"), (1, "x O=.9")], "simple", []),
    ([(0, "Ann B-PER=.9"), (1, "")], "simple", [("PER", 0.9, "Ann", 0, 3)]),
    ([(0, ""), (0, "")], "max", []),
    # `none` compares no entities: Ann of the first window, which sees what comes before; Lee of the second.
    (
        [(0, "x O=.9 | Ann B-PER=.6 | Lee B-LOC=.6"), (1, "Ann B-LOC=.9 | Lee I-PER=.9 | x O=.9")],
        "none",
        [("B-PER", 0.6, "Ann", 2, 5, 2), ("I-PER", 0.9, "Lee", 6, 9, 3)],
    ),
]


@pytest.mark.parametrize(("windows", "strategy", "expected"), WINDOWS)
def test_windows(windows: list[tuple[int, str]], strategy: str, expected: list[Grouped | Token]) -> None:
    assert find(read(*windows), strategy) == expected


# New and York are in both windows, which change over between them; the group goes on across.
NEW_YORK = [
    (0, "in O=.9 | New B-LOC=.9 | York B-LOC=.9"),
    (1, "New B-LOC=.6 | York I-LOC=.6 | City I-LOC=.3"),
]


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_joined_tokens_are_grouped_as_one_text(strategy: str) -> None:
    # (.9 + .6 + .3) / 3
    assert find(read(*NEW_YORK), strategy, window_join="tokens") == [("LOC", 0.6, "New York City", 3, 16)]


@pytest.mark.parametrize("window_join", ["entities", "tokens"])
@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_without_offsets_windows_are_joined_by_token(strategy: str, window_join: str) -> None:
    pre_entities = without_offsets(read(*NEW_YORK))
    entities = find_entities(
        pre_entities, AggregationStrategy(strategy), SCHEME, to_string, ignore_labels=["O"], window_join=window_join
    )
    assert entities == [Entity("LOC", pytest.approx(0.6, abs=1e-6), "New York City", None, None)]


def without_offsets(pre_entities: PreEntities) -> PreEntities:
    return PreEntities(**{**vars(pre_entities), "start": None, "end": None})


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
def test_without_offsets_entities_have_no_place(strategy: str) -> None:
    pre_entities = without_offsets(read((0, "Ann B-PER=.9 | Lee I-PER=.7")))
    entities = find_entities(pre_entities, AggregationStrategy(strategy), SCHEME, to_string)
    assert entities == [Entity("PER", pytest.approx(0.8, abs=1e-6), "Ann Lee", None, None, None, None)]


def test_without_offsets_tokens_have_only_their_index() -> None:
    pre_entities = without_offsets(read((0, "Ann B-PER=.9")))
    entities = find_entities(pre_entities, AggregationStrategy.NONE, SCHEME, to_string)
    assert entities == [Entity("B-PER", pytest.approx(0.9, abs=1e-6), "Ann", None, None, None, 1)]


def test_nothing_is_ignored_unless_asked() -> None:
    entities = find_entities(read((0, "x O=.9")), AggregationStrategy.SIMPLE, SCHEME, to_string)
    assert [entity.label for entity in entities] == ["O"]


def test_words_are_rendered_one_by_one_and_then_together() -> None:
    calls: list[list[str]] = []

    def record(tokens: list[str]) -> str:
        calls.append(tokens)
        return "".join(tokens).upper()

    pre_entities = read((0, "mi I-ENT=.9 | ##cro I-ENT=.9 | co I-ENT=.9"))
    (entity,) = find_entities(pre_entities, AggregationStrategy.FIRST, SCHEME, record)
    assert (calls, entity.word) == ([["mi", "##cro"], ["co"], ["MI##CRO", "CO"]], "MI##CROCO")
    calls.clear()
    (entity,) = find_entities(pre_entities, AggregationStrategy.SIMPLE, SCHEME, record)
    assert (calls, entity.word) == ([["mi", "##cro", "co"]], "MI##CROCO")


@pytest.mark.parametrize(
    ("strategy", "by_word"), [("none", False), ("simple", False), ("first", True), ("average", True), ("max", True)]
)
def test_strategies_by_word(strategy: str, by_word: bool) -> None:
    assert AggregationStrategy(strategy).by_word is by_word


# Spans, positions of those that stay.
OVERLAPS = [
    ([], []),
    ([(0, 5, 0.9)], [0]),
    ([(0, 5, 0.9), (7, 9, 0.8)], [0, 1]),
    ([(0, 5, 0.9), (5, 9, 0.8)], [0, 1]),  # half-open: they only touch
    ([(0, 5, 0.1), (4, 8, 0.9)], [0]),  # longer wins, however unsure
    ([(0, 4, 0.9), (3, 8, 0.1)], [1]),
    ([(0, 9, 0.1), (3, 5, 0.9)], [0]),
    ([(0, 5, 0.9), (0, 9, 0.1)], [1]),
    ([(0, 5, 0.8), (3, 8, 0.9)], [1]),  # equally long: higher score
    ([(0, 5, 0.9), (3, 8, 0.8)], [0]),
    ([(0, 5, 0.9), (3, 8, 0.9)], [0]),  # equal in both: the one that came first
    ([(0, 5, 0.9), (0, 5, 0.9)], [0]),
    # The second beats the first and is beaten by the third, which the first never met: 0 to 10 is lost.
    ([(0, 12, 0.9), (10, 24, 0.9), (22, 40, 0.9)], [2]),
    # The second beats the first; the third loses to it, though it would have stood beside the first.
    ([(0, 10, 0.9), (8, 20, 0.9), (19, 24, 0.9)], [1]),
    # The second loses, so that the third is held against the first, which it does not meet.
    ([(0, 10, 0.9), (8, 12, 0.9), (11, 15, 0.9)], [0, 2]),
    ([(0, 9, 0.9), (1, 3, 0.9), (4, 6, 0.9), (8, 12, 0.9)], [0]),
    # In any order; equal starts stay in the order in which they came.
    ([(20, 25, 0.9), (0, 5, 0.9), (10, 15, 0.9)], [1, 2, 0]),
    ([(3, 8, 0.8), (0, 5, 0.9)], [1]),
    ([(2, 4, 0.9), (2, 4, 0.9), (0, 1, 0.9)], [2, 0]),
    # A first span without width does not overlap itself, and so stays twice; a later one stays once.
    ([(3, 3, 0.9)], [0, 0]),
    ([(3, 3, 0.9), (5, 6, 0.8)], [0, 0, 1]),
    ([(3, 3, 0.9), (3, 3, 0.9)], [0, 0, 1]),
    ([(0, 2, 0.9), (3, 3, 0.9), (5, 6, 0.8)], [0, 1, 2]),
    ([(0, 4, 0.9), (3, 3, 0.9)], [0]),
    ([(3, 5, 0.9), (3, 3, 0.9)], [0]),
    ([(3, 3, 0.9), (3, 5, 0.9)], [0, 0, 1]),
]


@pytest.mark.parametrize(("spans", "expected"), OVERLAPS)
def test_resolve_overlaps(spans: list[tuple[int, int, float]], expected: list[int]) -> None:
    assert resolve_overlaps(spans) == expected


# Windows with `.` for a token that starts a word and `#` for one that does not; the window that each token of the
# text comes from.
JOINS = [
    ([(0, "")], ""),
    ([(0, "...")], "000"),
    ([(0, "#.#")], "000"),
    # Without overlap each window speaks for itself, even where it begins within a word.
    ([(0, ".."), (2, "..")], "0011"),
    ([(0, ".."), (2, "##")], "0011"),
    # 2 and 3 are shared: the middle is 3.
    ([(0, "...."), (2, "....")], "000111"),
    # 2, 3 and 4 are shared: the extra one goes to the window before.
    ([(0, "....."), (2, ".....")], "0000111"),
    ([(0, ".."), (1, "..")], "001"),
    # 3 continues a word: 2 and 4 start one and are equally near, so it is 2.
    ([(0, "...#"), (2, ".#..")], "001111"),
    # 2 to 5 are shared, the middle is 4, which continues a word: 5 is nearer than 2.
    ([(0, "...##."), (2, ".##...")], "00000111"),
    # The shared word goes on to the end of the overlap: the next word is as good a place.
    ([(0, "..##"), (2, "##..")], "000011"),
    # The word that both windows share does not even end with the overlap: half of it each.
    ([(0, ".###"), (1, "####")], "00011"),
    # 6 starts a word, but only the second window has 5: half of the overlap each.
    ([(0, ".####"), (1, "#####.")], "0001111"),
    # Three windows, the second of which begins and ends in an overlap.
    ([(0, "...."), (2, "...."), (4, "....")], "00011222"),
    # A stride of more than half: windows overlap the next but one.
    ([(0, "...."), (1, "...."), (2, "....")], "000122"),
    # From the text's end.
    ([(2, "...."), (0, "....")], "111000"),
    ([(3, "..."), (1, "..."), (0, "..")], "221100"),
    # Windows without tokens.
    ([(0, ".."), (2, ""), (2, "..")], "0022"),
    ([(0, ".."), (2, "")], "00"),
    ([(0, ""), (0, "")], ""),
]


def marked(windows: list[tuple[int, str]]) -> PreEntities:
    """Windows whose tokens' only score says which window they are of."""
    rows = [
        (number, offset + index, index, mark)
        for number, (offset, marks) in enumerate(windows)
        for index, mark in enumerate(marks)
    ]
    positions = np.array([position for _, position, _, _ in rows], np.int64)
    return PreEntities(
        scores=np.array([number for number, *_ in rows], np.float32).reshape(-1, 1),
        words=object_column([f"t{position}" for position in positions]),
        start=positions,
        end=positions + 1,
        index=np.array([index + 1 for _, _, index, _ in rows], np.int64),
        is_subword=np.array([mark == "#" for *_, mark in rows], bool),
        window_starts=np.cumsum([0, *(len(marks) for _, marks in windows[:-1])]),
        window_offsets=np.array([offset for offset, _ in windows], np.int64),
        num_tokens=len(set(positions.tolist())),
        document=Document("doc", "x" * len(positions)),
    )


@pytest.mark.parametrize(("windows", "expected"), JOINS)
def test_join_windows(windows: list[tuple[int, str]], expected: str) -> None:
    pre_entities = marked(windows)
    joined = join_windows(pre_entities)
    assert "".join(str(int(number)) for number in joined.scores[:, 0]) == expected
    assert joined.start is not None
    # Each token once and in order, and an index that counts on through all of the text.
    assert joined.start.tolist() == list(range(len(expected)))
    assert joined.index.tolist() == list(range(1, len(expected) + 1))
    assert (joined.num_windows, joined.num_tokens) == (1, len(expected))
    assert joined.document is pre_entities.document


def test_join_without_offsets() -> None:
    joined = join_windows(without_offsets(marked([(0, "..."), (2, "...")])))
    assert (joined.words.tolist(), joined.start, joined.end) == (["t0", "t1", "t2", "t3", "t4"], None, None)


def test_labelled_tokens_have_a_row_each() -> None:
    units = label_tokens(read((0, "Ann B-PER=.9 O=.1 | ##a O=.8"), (1, "##a O=.8")))
    assert [LABELS[label] for label in units.label] == ["B-PER", "O", "O"]
    assert units.score.tolist() == pytest.approx([0.9, 0.8, 0.8])
    assert (units.first.tolist(), units.stop.tolist()) == ([0, 1, 2], [1, 2, 3])
    assert units.opens_window.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("strategy", "labels", "scores"),
    [
        ("first", ["B-ENT", "I-ENT", "I-ENT"], [0.5, 0.8, 0.6]),
        ("average", ["I-LOC", "I-ENT", "I-ENT"], [0.425, 0.8, 0.6]),
        ("max", ["I-NAME", "I-ENT", "I-ENT"], [0.6, 0.8, 0.6]),
    ],
)
def test_labelled_words_end_with_their_window(strategy: str, labels: list[str], scores: list[float]) -> None:
    micro, soft, com, pany = MICROSOFT.split("|")
    pre_entities = read((0, f"{micro} | {soft} | {com}"), (3, pany))
    units = label_words(pre_entities, AggregationStrategy(strategy))
    assert [LABELS[label] for label in units.label] == labels
    assert units.score.tolist() == pytest.approx(scores)
    assert (units.first.tolist(), units.stop.tolist()) == ([0, 2, 3], [2, 3, 4])
    assert units.opens_window.tolist() == [True, False, True]


@pytest.mark.parametrize("strategy", ["first", "average", "max"])
def test_no_tokens_are_no_words(strategy: str) -> None:
    units = label_words(read((0, "")), AggregationStrategy(strategy))
    lengths = {name: len(column) for name, column in vars(units).items()}
    assert lengths == {"label": 0, "score": 0, "first": 0, "stop": 0, "opens_window": 0}


@pytest.mark.parametrize(
    ("labels", "opens_window", "starts", "stops", "scores"),
    [
        ("", "", [], [], []),
        ("O", "x", [0], [1], [0]),
        ("B-PER I-PER I-PER O", "x...", [0, 3], [3, 4], [1, 3]),
        ("I-PER B-PER B-PER I-PER", "x...", [0, 1, 2], [1, 2, 4], [0, 1, 2.5]),
        ("B-PER I-LOC I-PER PER", "x...", [0, 1, 2], [1, 2, 4], [0, 1, 2.5]),
        ("PER I-PER I-PER PER", "x.x.", [0, 2], [2, 4], [0.5, 2.5]),
        ("PER PER PER", "...", [0], [3], [1]),  # the first unit opens a group in any case
    ],
)
def test_group_units(labels: str, opens_window: str, starts: list[int], stops: list[int], scores: list[float]) -> None:
    """Unit number n scores n."""
    label = np.array([LABELS.index(label) for label in labels.split()], np.int64)
    rows = np.arange(len(label))
    opens = np.array([mark == "x" for mark in opens_window], bool)
    units = Units(label, rows.astype(np.float32), rows, rows + 1, opens)
    groups = group_units(units, SCHEME)
    assert [column.tolist() for column in groups] == [starts, stops]
    assert group_scores(units, *groups).tolist() == scores
