"""The same input gives the same rows, however it is cut into batches, dealt out to workers, ordered and grouped."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from texts import ODD_TEXTS

from pipeline.run import main
from transforms import Document, DocumentEntities, PreEntities, TokenClassifier
from transforms.aggregation.rules import EntityRules
from transforms.beam.ner import group_document

PEOPLE = ["Ann Smith", "José Ñandú", "Siobhán O'Neil", "Li Wei"]
TEXTS = [
    *ODD_TEXTS,
    *(f"My name is {name} and I live at {7 * number} Baker Street, London. " * (1 + 12 * number) for number, name in enumerate(PEOPLE)),
]  # fmt: skip
TOLERANCE = 1e-4
BUDGETS = (64, 512, 2048)


@dataclass(frozen=True)
class Models:
    """The embedded model, once for each size of batch, and what it says of each text alone."""

    by_budget: Mapping[int, TokenClassifier]
    alone: list[PreEntities]
    entities: list[DocumentEntities]


def found(scored: PreEntities) -> DocumentEntities:
    return group_document(scored, EntityRules.of("first"))


@pytest.fixture(scope="module")
def models() -> Models:
    by_budget = {
        budget: TokenClassifier(special_tokens="text", precision="fp32", max_batch_tokens=budget) for budget in BUDGETS
    }
    alone = [by_budget[2048].classify([Document(str(number), text)])[0] for number, text in enumerate(TEXTS)]
    scored = [outcome for outcome in alone if isinstance(outcome, PreEntities)]
    assert len(scored) == len(TEXTS)
    # Where two labels are as likely, rounding may name another: that must not be what is compared.
    for outcome in scored:
        if len(outcome):
            second, first = np.sort(outcome.scores, axis=1)[:, -2:].T
            assert (first - second > 2 * TOLERANCE).all()
    return Models(by_budget, scored, [found(outcome) for outcome in scored])


def assert_same_entities(ours: Any, theirs: Any) -> None:
    for one, other in zip(ours.entities, theirs.entities, strict=True):
        assert (one.label, one.start, one.end, one.word, one.text) == (
            other.label, other.start, other.end, other.word, other.text,
        )  # fmt: skip
        assert abs(one.score - other.score) <= TOLERANCE


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    numbers=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=30),
    cuts=st.sets(st.integers(1, 29), max_size=6),
    workers=st.integers(1, 4),
    budget=st.sampled_from(BUDGETS),
)
def test_neighbours_batches_and_workers_change_nothing(
    models: Models, numbers: list[int], cuts: set[int], workers: int, budget: int
) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(numbers)), len(numbers)]
    groups = [
        [Document(str(number), TEXTS[number]) for number in numbers[start:stop]]
        for start, stop in itertools.pairwise(bounds)
    ]
    with ThreadPoolExecutor(workers) as pool:
        scored = [outcome for group in pool.map(models.by_budget[budget].classify, groups) for outcome in group]
    for number, outcome in zip(numbers, scored, strict=True):
        alone = models.alone[number]
        assert isinstance(outcome, PreEntities)
        assert outcome.words.tolist() == alone.words.tolist()
        np.testing.assert_allclose(outcome.scores, alone.scores, atol=TOLERANCE)
        assert_same_entities(found(outcome), models.entities[number])


@pytest.mark.parametrize(
    ("files", "flags"),
    [
        (1, ["--max_batch_tokens=128"]),
        (3, ["--direct_running_mode=multi_threading", "--direct_num_workers=2"]),
        (5, ["--direct_running_mode=multi_processing", "--direct_num_workers=2", "--max_batch_tokens=512"]),
    ],
    ids=["small batches", "threads", "processes"],
)
def test_order_files_and_workers_change_no_row(models: Models, tmp_path: Path, files: int, flags: list[str]) -> None:
    order = random.Random(files).sample(range(len(TEXTS)), len(TEXTS))
    for file in range(files):
        lines = [json.dumps({"id": str(number), "text": TEXTS[number]}) + "\n" for number in order[file::files]]
        (tmp_path / f"in-{file}.jsonl").write_text("".join(lines), "utf-8")
    common = ["--aggregation_strategy=first", "--precision=fp32", "--special_tokens=text"]
    assert main([f"--input={tmp_path}/in-*.jsonl", f"--output={tmp_path}/out/x", *common, *flags]) == 0
    rows = [json.loads(line) for path in (tmp_path / "out").glob("x-0*") for line in path.read_bytes().splitlines()]  # fmt: skip
    assert sorted(int(row["id"]) for row in rows) == list(range(len(TEXTS)))
    for row in rows:
        expected = models.entities[int(row["id"])]
        assert (row["num_tokens"], row["num_windows"]) == (expected.num_tokens, expected.num_windows)
        for one, other in zip(row["entities"], expected.entities, strict=True):
            assert [one[key] for key in ("entity_group", "start", "end", "word", "text")] == [
                other.label, other.start, other.end, other.word, other.text,
            ]  # fmt: skip
            assert abs(one["score"] - other.score) <= TOLERANCE
