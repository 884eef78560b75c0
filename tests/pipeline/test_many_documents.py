"""Many documents through the whole graph, with a stub for the model's arithmetic: all come out, and are counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.overhead import SUBJECTS, records, run

DOCUMENTS = 20_000


@pytest.mark.parametrize("subject", SUBJECTS)
def test_all_documents_come_out(subject: str, tmp_path: Path) -> None:
    count = DOCUMENTS if subject == "beam" else DOCUMENTS // 10
    source = tmp_path / "in.jsonl"
    with source.open("w") as file:
        file.writelines(records(count))
        file.write("no JSON\n")
    summary, _ = run(subject, source, tmp_path / "out" / "x")
    assert (summary.documents, summary.results, summary.failures) == (count + 1, count, 1)
    rows = [json.loads(line) for path in tmp_path.glob("out/x-0*.jsonl") for line in path.open()]
    assert sorted(int(row["id"]) for row in rows) == list(range(count))
    assert summary.entities == sum(len(row["entities"]) for row in rows)
    assert summary.tokens == sum(row["num_tokens"] for row in rows)
    if subject == "all but the model":
        assert summary.tokens > 20 * count
        assert summary.entities > count
