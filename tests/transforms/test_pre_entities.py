"""Columns from Hugging Face's dicts, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms.documents import Document
from transforms.pre_entities import PreEntities, object_column


def token(word: str, *scores: float, **others: Any) -> dict[str, Any]:
    return {"word": word, "scores": np.array(scores, np.float32), **others}


def test_columns_hold_what_the_dicts_say() -> None:
    columns = PreEntities.from_dicts(
        [
            token("micro", 0.9, 0.1, start=3, end=8, index=1, is_subword=False),
            token("##soft", 0.2, 0.8, start=8, end=12, index=2, is_subword=True),
        ]
    )
    assert columns.start is not None
    assert columns.end is not None
    assert np.array_equal(columns.scores, np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    assert columns.words.tolist() == ["micro", "##soft"]
    assert (columns.start.tolist(), columns.end.tolist()) == ([3, 8], [8, 12])
    assert (columns.index.tolist(), columns.is_subword.tolist()) == ([1, 2], [False, True])
    assert (len(columns), columns.num_tokens, columns.num_windows, columns.truncated) == (2, 2, 1, False)


def test_columns_have_the_documented_types() -> None:
    columns = PreEntities.from_dicts([token("a", 0.5, start=0, end=1, index=0, is_subword=False)])
    assert columns.start is not None
    assert columns.end is not None
    assert columns.scores.dtype == np.float32
    assert columns.words.dtype == object
    assert {columns.start.dtype, columns.end.dtype, columns.index.dtype} == {np.dtype(np.int64)}
    assert columns.is_subword.dtype == np.bool_


@pytest.mark.parametrize(
    "offsets",
    [
        [{}, {}],
        [{"start": None, "end": None}, {"start": None, "end": None}],
        [{"start": 0, "end": 1}, {"start": None, "end": None}],
        [{"start": 0, "end": 1}, {}],
    ],
    ids=["absent", "none", "one none", "one absent"],
)
def test_offsets_are_there_for_all_tokens_or_for_none(offsets: list[dict[str, Any]]) -> None:
    columns = PreEntities.from_dicts([token("a", 0.5, **offsets[0]), token("b", 0.5, **offsets[1])])
    assert columns.start is None
    assert columns.end is None
    assert [(row["start"], row["end"]) for row in columns.to_dicts()] == [(None, None)] * 2


def test_offset_zero_is_an_offset() -> None:
    columns = PreEntities.from_dicts([token("", 0.5, start=0, end=0)])
    assert columns.start is not None
    assert columns.start.tolist() == [0]


def test_index_and_is_subword_have_defaults() -> None:
    columns = PreEntities.from_dicts([token("a", 0.5), token("b", 0.5)])
    assert columns.index.tolist() == [0, 1]
    assert columns.is_subword.tolist() == [False, False]


def test_no_tokens() -> None:
    columns = PreEntities.from_dicts([])
    assert (len(columns), columns.num_tokens, columns.start, columns.end) == (0, 0, None, None)
    assert columns.to_dicts() == []


def test_dicts_are_plain_python_beside_their_scores() -> None:
    rows = PreEntities.from_dicts([token("a", 0.5, 0.25, start=4, end=5, index=7, is_subword=True)]).to_dicts()
    (row,) = rows
    assert list(row) == ["word", "scores", "start", "end", "index", "is_subword"]
    assert {name: (value, type(value)) for name, value in row.items() if name != "scores"} == {
        "word": ("a", str),
        "start": (4, int),
        "end": (5, int),
        "index": (7, int),
        "is_subword": (True, bool),
    }
    assert row["scores"].tolist() == [0.5, 0.25]


def test_taken_rows_are_one_window_of_the_same_document() -> None:
    document = Document("doc", "abcd")
    columns = PreEntities(
        scores=np.arange(8, dtype=np.float32).reshape(4, 2),
        words=object_column(["a", "b", "b", "c"]),
        start=np.array([0, 1, 1, 2]),
        end=np.array([1, 2, 2, 3]),
        index=np.array([1, 2, 1, 2]),
        is_subword=np.array([False, True, True, False]),
        window_starts=np.array([0, 2]),
        window_offsets=np.array([0, 1]),
        num_tokens=3,
        truncated=True,
        document=document,
    )
    assert columns.num_windows == 2
    taken = columns.take(np.array([0, 2, 3]))
    assert taken.start is not None
    assert taken.end is not None
    assert taken.scores.tolist() == [[0, 1], [4, 5], [6, 7]]
    assert taken.words.tolist() == ["a", "b", "c"]
    assert (taken.start.tolist(), taken.end.tolist()) == ([0, 1, 2], [1, 2, 3])
    assert (taken.index.tolist(), taken.is_subword.tolist()) == ([1, 1, 2], [False, True, False])
    assert (taken.window_starts.tolist(), taken.window_offsets.tolist()) == ([0], [0])
    assert (taken.num_tokens, taken.truncated, taken.document) == (3, True, document)
    assert len(columns) == 4  # the columns themselves are as they were


@pytest.mark.parametrize("rows", [[], [1]])
def test_rows_are_taken_without_offsets_too(rows: list[int]) -> None:
    columns = PreEntities.from_dicts([token("a", 0.5), token("b", 0.5)]).take(np.array(rows, np.int64))
    assert (len(columns), columns.start, columns.end) == (len(rows), None, None)


@pytest.mark.parametrize(
    "values",
    [
        [],
        ["a"],
        ["ab", "cd"],
        ["a\x00", "\x00"],  # numpy's own strings would lose the zeros
        ["\ud800"],
        [[1, 2], [3, 4]],
        [["a"]],
        [(1, 2), (3, 4)],
        [[1], [2, 3]],
        [None, "a"],
    ],
    ids=repr,
)
def test_object_column_has_one_cell_for_each_value(values: list[Any]) -> None:
    column = object_column(values)
    assert (column.shape, column.dtype) == ((len(values),), object)
    assert column.tolist() == values
