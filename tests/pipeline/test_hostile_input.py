"""What nobody should send leaves as one result or one failure each, costs its neighbours nothing, and is not quoted."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from poison import GOOD, MARK, READ, REFUSED, raw, record

from pipeline.run import main
from transforms import PreEntities
from transforms.aggregation import rules
from transforms.tokenization.fast import FastTokenization


def rows(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob(pattern)) for line in path.read_bytes().splitlines()]


def summary_line(documents: int, failures: int) -> list[str]:
    return [f"{documents} documents", f"{documents - failures} results", f"{failures} failures"]


def payloads(failures: list[dict[str, Any]]) -> list[bytes]:
    return [base64.b64decode(failure["payloadBytes"]) for failure in failures]


def assert_nothing_is_quoted(
    failures: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> str:
    """Looks for the mark wherever it must not be; gives what the program printed."""
    out, err = capsys.readouterr()
    for failure in failures:
        assert MARK not in failure["errorMessage"]
        assert MARK not in failure["stacktrace"]
        assert MARK not in json.dumps(failure["attributes"])
    assert MARK not in out
    assert MARK not in err
    assert MARK not in caplog.text
    assert caplog.records  # so the log was looked at
    return out


def assert_places_hold(results: list[dict[str, Any]]) -> None:
    for row in results:
        for entity in row["entities"]:
            assert entity["text"] == row["text"][entity["start"] : entity["end"]]


def test_sixty_hostile_lines_of_json(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    hostile = [*READ.values(), *(line for line, _ in REFUSED.values())]
    assert len(hostile) == 60
    good = [record(text, id=name) for name, text in GOOD.items()]
    lines = [*hostile, *good]
    random.Random(7).shuffle(lines)
    # The first line's byte order mark belongs to the file, and blank lines to nobody.
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n \r\n\n".join(lines))
    (tmp_path / "good.jsonl").write_bytes(b"\n".join(good))
    flags = ["--aggregation_strategy=first", "--include_text"]
    assert main([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out/x", *flags]) == 0

    results, failures = rows(tmp_path / "out", "x-0*"), rows(tmp_path / "out", "x-failures-*")
    out = assert_nothing_is_quoted(failures, caplog, capsys)
    assert len(results) + len(failures) == 60 + len(GOOD)
    assert [line for line in summary_line(60 + len(GOOD), len(REFUSED)) if line not in out] == []

    # Each failure is one of the lines, byte for byte, with its own reason and its own place.
    told = dict(zip(payloads(failures), failures, strict=True))
    assert sorted(payloads(failures)) == sorted(line for line, _ in REFUSED.values())
    for name, (line, reason) in REFUSED.items():
        assert reason in told[line]["errorMessage"], name
        assert told[line]["stage"] == "parse"
    data = (tmp_path / "in.jsonl").read_bytes()
    for line, failure in told.items():
        offset = int(failure["errorMessage"].removeprefix(f"{tmp_path}/in.jsonl:").partition(":")[0])
        assert data[offset : offset + len(line)] == line

    # Each result repeats the text of one of the lines.
    texts = [json.loads(line)["text"] for line in READ.values()]
    assert sorted(row["text"] for row in results) == sorted([*texts, *GOOD.values()])
    assert_places_hold(results)
    found = {row["text"]: row for row in results}
    long = found[json.loads(READ["300 KB"])["text"]]
    assert [entity["text"] for entity in long["entities"]][-2:] == ["Ann", "Smith"]
    assert {row["id"] for row in results} >= {"twice", "special", str(10**400), "nan", "a\r\nb", "  ", "False"}
    assert [row["id"] for row in results].count("twice") == 2

    assert main([f"--input={tmp_path}/good.jsonl", f"--output={tmp_path}/alone/x", *flags]) == 0
    alone = rows(tmp_path / "alone", "x-0*")
    assert [row["id"] for row in alone] == list(GOOD)
    for row in alone:
        beside = found[row["text"]]
        assert {**beside, "entities": []} == {**row, "entities": []}
        assert len(beside["entities"]) == len(row["entities"]) > 0
        for one, other in zip(beside["entities"], row["entities"], strict=True):
            assert {**one, "score": None} == {**other, "score": None}
            assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def test_hostile_lines_of_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    read = [
        *(line.decode() for line in READ.values() if len(line) < 9000 and not line.endswith(b"\r")),
        f"{MARK} \0\x1b[31m\x07",
        f"{MARK}\r in the midst, \u2028\u2029\x85\x0b\x0c",
        "\ufeffnot at the beginning",
        "e" + "\u0301" * 5000,
        MARK + "x" * 200_000,
        *("", " ", "", "\t"),
        *GOOD.values(),
    ]
    refused = [
        f"{MARK} caf\xe9".encode("latin-1"),
        f"{MARK}\ud800".encode("utf-8", "surrogatepass"),
        f"{MARK} ".encode() + b"\xc0\xaf\xf8\x88\x80\x80\x80",
        f"{MARK}".encode("utf-16-le") + b"\xff\xfe",
        bytes(byte for byte in range(256) if byte not in b"\r\n") + MARK.encode(),
    ]
    lines = [*(text.encode() for text in read), *refused]
    random.Random(7).shuffle(lines)
    # Lines end as on Windows or as elsewhere; the last one does not end at all.
    data = b"\xef\xbb\xbf" + b"".join(line + (b"\r\n", b"\n")[number % 2] for number, line in enumerate(lines)) + b"end"
    (tmp_path / "in.txt").write_bytes(data)
    flags = ["--aggregation_strategy=first", "--include_text"]
    assert main([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", *flags]) == 0

    results, failures = rows(tmp_path / "out", "x-0*"), rows(tmp_path / "out", "x-failures-*")
    out = assert_nothing_is_quoted(failures, caplog, capsys)
    assert sorted(row["text"] for row in results) == sorted([*read, "end"])
    assert sorted(payloads(failures)) == sorted(refused)
    assert [line for line in summary_line(len(lines) + 1, len(refused)) if line not in out] == []
    assert_places_hold(results)
    for row in results:
        offset = int(row["id"].removeprefix(f"{tmp_path}/in.txt:"))
        assert data[offset:].removeprefix(b"\xef\xbb\xbf" if offset == 0 else b"").startswith(row["text"].encode())
    found = {row["text"]: [entity["text"] for entity in row["entities"]] for row in results}
    assert found[GOOD["good 1"]] == ["Ann", "Smith", "12", "Baker Street", "London", "NW1 6XE"]


@pytest.mark.parametrize("stage", ["classify", "group"])
def test_an_error_that_quotes_the_text_is_not_repeated(
    stage: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    encode, find_entities = FastTokenization.encode, rules.find_entities

    def encode_or_quote(self: FastTokenization, texts: Sequence[str], words: bool = False) -> list[Any]:
        if MARK in "".join(texts):
            raise ValueError(f"cannot read {texts}")
        return encode(self, texts, words)

    def find_or_quote(pre_entities: PreEntities, *arguments: Any, **settings: Any) -> list[Any]:
        if MARK in pre_entities.document.text:
            raise ValueError(f"cannot group {pre_entities.document.text}")
        return find_entities(pre_entities, *arguments, **settings)

    if stage == "classify":
        monkeypatch.setattr(FastTokenization, "encode", encode_or_quote)
    else:
        monkeypatch.setattr(rules, "find_entities", find_or_quote)
    lines = [record(text, id=name) for name, text in GOOD.items()]
    lines[1:1] = [raw(f"{MARK}   é"), record(f"another {MARK}", id="b")]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    assert main([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out/x"]) == 0

    results, failures = rows(tmp_path / "out", "x-0*"), rows(tmp_path / "out", "x-failures-*")
    out = assert_nothing_is_quoted(failures, caplog, capsys)
    assert [row["id"] for row in results] == list(GOOD)
    assert payloads(failures) == lines[1:3]
    assert {failure["stage"] for failure in failures} == {stage}
    assert {failure["errorMessage"] for failure in failures} == {f"{stage} failed with ValueError"}
    assert all("or_quote" in failure["stacktrace"] for failure in failures)
    assert [line for line in summary_line(5, 2) if line not in out] == []


@pytest.mark.parametrize("damage", ["cut in half", "a byte changed", "neither compressed nor text", "nothing at all"])
def test_a_damaged_file_is_one_failure_more(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    randomly = random.Random(7)
    lines = [record(f"{MARK} {randomly.random()}", id=f"b{number}") for number in range(200)]
    whole = gzip.compress(b"\n".join(lines))
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(
        {
            "cut in half": whole[: len(whole) // 2],
            "a byte changed": whole[:-6] + b"?" + whole[-5:],
            "neither compressed nor text": b"\xff" + b"\n".join(lines),
            "nothing at all": b"",
        }[damage]
    )
    for good in ("a", "c"):
        (tmp_path / f"{good}.jsonl.gz").write_bytes(gzip.compress(record(GOOD["good 1"], id=good)))
    assert main([f"--input={tmp_path}/*.jsonl.gz", f"--output={tmp_path}/out/x"]) == 0

    results, failures = rows(tmp_path / "out", "x-0*"), rows(tmp_path / "out", "x-failures-*")
    out = assert_nothing_is_quoted(failures, caplog, capsys)
    ids = {row["id"] for row in results}
    assert {"a", "c"} <= ids
    (failure,) = (failure for failure in failures if failure["stage"] == "read")
    assert failure["errorMessage"].startswith(f"{path}: reading stopped after ")
    assert {"key": "source", "value": str(path)} in failure["attributes"]
    assert failure["payloadBytes"] == ""
    # A line that the cut goes through is a failure of its own.
    assert all(failure["stage"] == "parse" for failure in failures if failure["payloadBytes"])
    assert [line for line in summary_line(len(results) + len(failures), len(failures)) if line not in out] == []
    read = len(ids - {"a", "c"})
    assert ids == {"a", "c", *(f"b{number}" for number in range(read))}
    if damage == "cut in half":
        assert 20 < read < 180
    elif damage != "a byte changed":
        assert read == 0
