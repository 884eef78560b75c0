"""The plan of a precision, on a processor that has it and on one that has not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.plan.command import main


def test_a_plan_names_the_precision_that_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import openvino

    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": f"My name is Ann Smith, number {n}."}) + "\n" for n in range(20)))
    flags = [
        f"--input={source}",
        "--precision=bf16",
        "--sample_seconds=0.01",
        "--sample_documents=20",
        "--documents=1e6",
    ]
    assert main([*flags, "--worker_types=c3-standard-8,n2-standard-8", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    with_amx, without = (one["speed"]["documents_per_second"] for one in plan["estimates"])
    assert with_amx > 0
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert (plan["measured"]["precision"], plan["warnings"], without) == ("bf16", [], None)
    else:
        sentence = (
            "--precision=bf16: this processor has no bf16; openvino computes in fp32;"
            " worker types with bf16 may be faster than this plan"
        )
        assert (plan["measured"]["precision"], plan["warnings"], without) == ("fp32", [sentence], with_amx)
