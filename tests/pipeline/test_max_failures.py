"""Runs of which too many documents fail, and the reasons in the summary."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import program, rows

from pipeline.io.failure_reasons import reason_of
from pipeline.run import main
from transforms.documents import Failure

GOOD = json.dumps({"id": "a", "text": "Ann Smith"})
BAD = ['{"body": 1}', '{"body": 2}', "nope", '{"text": 7}', '{"text": null}', '{"text": null}', '{"text": null}']


def run(tmp_path: Path, lines: list[str], *flags: str) -> int:
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    return main([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out/x", *flags])


def test_all_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, BAD[2:]) == 1
    out, err = capsys.readouterr()
    assert err.endswith("beam-ner: error: 5 of 5 documents failed; expected a result, or --max_failures=100%\n")
    assert "5 failures, in " in out
    assert len(rows(tmp_path / "out")) == 5  # they are written all the same


def test_the_summary_names_three_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, [GOOD, *BAD]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if "failures, in" in line)
    *most, last = (line.strip() for line in lines[at + 1 : at + 4])
    assert most == ["3 × field 'text' is null", "2 × the record has no field 'text'"]
    assert "and 1 more reasons" in lines[at + 4]
    assert last in ("1 × the line is not JSON from character N on", "1 × field 'text' contains int, not a string")


def test_nothing_to_read_is_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path, [""]) == 0


@pytest.mark.parametrize(
    ("most", "code"), [("0", 1), ("6", 1), ("7", 0), ("87%", 1), ("87.5%", 0), ("100%", 0), ("0%", 1)]
)
def test_the_limit(most: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, [GOOD, *BAD], f"--max_failures={most}") == code
    error = f"beam-ner: error: 7 of 8 documents failed, more than --max_failures={most}"
    assert (error in capsys.readouterr().err) is bool(code)


@pytest.mark.parametrize("value", ["x", "-1", "101%", "5 %", "1e3", ""])
def test_values_that_are_no_limit(value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, [GOOD], f"--max_failures={value}") == 2
    assert f"--max_failures={value}: invalid; expected a number of records, or a percentage" in capsys.readouterr().err


def test_reasons_come_from_other_processes(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(BAD * 50))
    flags = [f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out/x", "--direct_num_workers=2"]
    done = program(*flags, "--runner=FnApiRunner", "--direct_running_mode=multi_processing")
    assert done.returncode == 1
    assert "150 × field 'text' is null" in done.stdout


@pytest.mark.parametrize(
    ("error", "source", "reason"),
    [
        ("a b.csv:17: field 'x7' is null", "a b.csv", "field 'x7' is null"),
        ("a.gz: reading stopped after 3 records: the gzip stream ends early, after 70 compressed bytes", "a.gz",
         "reading stopped after N records: the gzip stream ends early, after N compressed bytes"),
        ("a.csv:9: the record has 3 fields, the header has 2", "a.csv", "the record has 3 fields, the header has 2"),
        ("a (bytes 0 to 9): reading stopped", "a", "reading stopped"),
        ("projects/p/subscriptions/s:123: byte 4 of the message is not UTF-8", "", "byte N of the message is not UTF-8"),
        ("classify failed with RuntimeError", "a.csv", "classify failed with RuntimeError"),
    ],
)  # fmt: skip
def test_reasons_are_without_places_and_numbers(error: str, source: str, reason: str) -> None:
    attributes = {"source": source} if source else {}
    assert reason_of(Failure(b"", error, "read", attributes)) == f"read: {reason}"
