"""The plan as a user runs it: the real model over a sample, and mistakes told in one sentence."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from services.pubsub_broker import Broker

from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.options import NerOptions
from pipeline.plan.command import main
from pipeline.plan.measure import read_sample
from pipeline.plan.model import Assumptions, Measured

SECRET = "Quillfeather"
PART_BYTES = 8 * 1024 * 1024  # of a file of lines
MEASURED = Measured(
    documents=1000, failures=0, processes=2, documents_per_second=100.0, process_mib=1000.0, load_seconds=3.0,
    tokens=60.0, bytes_in=400.0, bytes_out=600.0, model="rampart", engine="openvino", precision="fp32",
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with some input and an earlier plan, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"id": str(n), "text": f"My name is Ann {SECRET}, number {n}."}) for n in range(40)]
    Path("in.jsonl").write_text("\n".join([*lines, "no JSON"]) + "\n", "utf-8")
    earlier = {"measured": asdict(MEASURED), "assumptions": asdict(Assumptions(part_bytes=PART_BYTES)), "warnings": []}
    Path("measured.json").write_text(json.dumps(earlier), "utf-8")
    return tmp_path


def plan(*flags: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*flags, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(*flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(flags) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("beam-ner-plan: error: ")
    assert err.count("\n") == 1
    return err.removeprefix("beam-ner-plan: error: ")


def test_measuring(here: Path, capsys: pytest.CaptureFixture[str]) -> None:

    flags = ["--input=in.jsonl", "--aggregation_strategy=first", "--documents=1e6", "--worker_types=n2-standard-8"]
    flags += ["--sample_seconds=0.01"]
    assert main([*flags, "--json"]) == 0
    out, err = capsys.readouterr()
    assert SECRET not in out + err
    found = json.loads(out)
    measured = found["measured"]
    assert (measured["documents"], measured["failures"], measured["precision"]) == (40, 0, "fp32")
    assert measured["documents_per_second"] > 0
    assert 100 < measured["process_mib"] < 4000
    assert measured["bytes_in"] == pytest.approx(
        sum(len(line) for line in Path("in.jsonl").read_bytes().splitlines()[:40]) / 40
    )
    assert measured["bytes_out"] > 100
    assert 10 < measured["tokens"] < 20
    assert any("the input contains 40 documents" in warning for warning in found["warnings"])
    assert found["assumptions"]["part_bytes"] == PART_BYTES
    (one,) = found["estimates"]
    assert (one["worker"], one["documents"], one["speed"]["processes"]) == ("n2-standard-8", 1_000_000, 8)
    assert sorted(path.name for path in here.iterdir()) == ["in.jsonl", "measured.json"]  # nothing is written

    # What was measured can be used again.
    Path("mine.json").write_text(out)
    again = plan("--measured=mine.json", "--documents=1e6", "--worker_types=n2-standard-8", capsys=capsys)
    assert (again["estimates"], again["measured"]) == (found["estimates"], measured)


def test_a_sample_is_from_all_over_the_input(here: Path) -> None:
    for name in "abc":
        Path(f"{name}.txt").write_text("".join(f"{name} {n}\n" for n in range(10)))
    options = parse(["--input=?.txt", "--output=out/x"])
    config = NerConfig.from_options(options.view_as(NerOptions))
    assert [document.text for document in read_sample(config, 7).documents] == "a 0,b 0,c 0,a 1,b 1,c 1,a 2".split(",")
    assert len(read_sample(config, 100).documents) == 30


def test_a_stream_is_not_sampled(pubsub: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    topic, subscription = "projects/test-project/topics/t-1", "projects/test-project/subscriptions/s-1"
    pubsub.create_topic(topic)
    pubsub.create_subscription(subscription, topic)
    for flag in ("input", "replay"):
        told = refusal(f"--{flag}={subscription}", capsys=capsys)
        assert told.startswith(
            f"--{flag}='{subscription}': neither files nor in BigQuery; expected a file with some of its texts"
        )


def test_tables(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--measured=measured.json", "--hours=2"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "1,000,000 documents, 2 hours",
        "1,000,000,000,000 documents",
        "400 MB of records in",
        "600 MB of JSON",
    ):
        assert part in shown
    assert "list prices of 20" in shown
    assert "--rates" in shown  # for the GPU's speed


def test_files_of_ones_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rates.json").write_text('{"mine-2": 1000, "g2-standard-4": 500}')
    Path("prices.json").write_text(
        '{"prices": {"vcpu_hour": 1, "memory_gib_hour": 0, "disk_gib_hour": 0, "accelerator_hour": {"nvidia-l4": 2},'
        ' "date": "2030-01-01", "source": "us"}, "workers": {"mine-2": {"vcpus": 2, "memory_gib": 4}}}'
    )
    found = plan(
        "--measured=measured.json", "--rates=rates.json", "--prices=prices.json", "--workers=1", "--documents=3600000",
        "--efficiency=1", "--startup_minutes=0", "--worker_types=mine-2,g2-standard-4", capsys=capsys,
    )  # fmt: skip
    # An hour of 2 processors; two hours of 4 and a GPU.
    assert [(one["hours"], one["dollars"]) for one in found["estimates"]] == [(1.0, 2.0), (2.0, 12.0)]
    assert found["prices"]["source"] == "us"


MISTAKES = {
    "no input": ([], ["--input: missing; expected"]),
    "a flag of nobody": (["--input=in.jsonl", "--hors=3"], ["--hors: not a flag"]),
    "both aims": (["--hours=1", "--workers=3"], ["--hours and --workers", "one of them"]),
    "no documents": (["--documents=0"], ["--documents=0", "at least 1"]),
    "no number": (["--hours=soon"], ["--hours=soon", "number"]),
    "too efficient": (["--efficiency=2"], ["--efficiency=2", "between 0.01 and 1"]),
    "a deadline too near": (["--measured=measured.json", "--hours=0.01"], ["--hours=0.01", "--startup_minutes=5"]),
    "an unknown type": (["--worker_types=n2-standard-8,z9"], ["'z9'", "n2-standard-8"]),
    "no type": (["--worker_types=,"], ["--worker_types", "empty; expected"]),
    "a ratio without a number": (["--core_ratio=n2"], ["--core_ratio=n2", "n2=0.8"]),
    "a ratio of nothing": (["--core_ratio=n2=0"], ["--core_ratio=n2=0", "n2=0.8"]),
    "no rates": (["--rates=none.json"], ["--rates=none.json", "cannot be read"]),
    "rates in no JSON": (["--rates=in.jsonl"], ["--rates=in.jsonl", "not JSON"]),
    "rates below 0": (["--rates={-1}"], ["the rate of 'g2-standard-4' is not a number above 0"]),
    "rates of a type nobody knows": (["--rates={other}"], ["'other-1' is unknown; expected one of"]),
    "prices without a date": (["--prices={undated}"], ["--prices=", "a date and a source"]),
    "an unknown price": (["--prices={odd}"], ["'vcpu' is unknown", "vcpu_hour"]),
    "a worker without memory": (["--prices={small}"], ["memory_gib of 'x-1'"]),
    "measured twice": (["--measured=measured.json", "--input=in.jsonl"], ["--input=in.jsonl", "--measured=measured.json"]),
    "measured otherwise": (["--measured={-1}"], ["--measured=", "expected what --json writes"]),
    "no files": (["--input=projects/p-x1/subscriptions/s"], ["--input="]),
    "a GPU": (["--input=in.jsonl", "--device=cuda:0"], ["--device='cuda:0'", "--rates"]),
    "nothing to read": (["--input=bad.jsonl"], ["bad.jsonl", "1 failures"]),
}  # fmt: skip


@pytest.mark.parametrize(("flags", "parts"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(
    flags: list[str], parts: list[str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "{-1}": '{"g2-standard-4": -1}',
        "{other}": '{"other-1": 1}',
        "{undated}": '{"prices": {"vcpu_hour": 1}}',
        "{odd}": '{"prices": {"vcpu": 1, "date": "2030-01-01", "source": "us"}}',
        "{small}": '{"workers": {"x-1": {"vcpus": 1}}}',
    }
    Path("bad.jsonl").write_text("no JSON\n")
    for mark, content in files.items():
        Path("file.json").write_text(content) if any(mark in flag for flag in flags) else None
        flags = [flag.replace(mark, "file.json") for flag in flags]
    told = refusal(*flags, capsys=capsys)
    for part in parts:
        assert part in told
