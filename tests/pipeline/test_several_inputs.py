"""Several inputs are read as one; and a file as a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import rows

from pipeline.command_line import parse
from pipeline.io.files.read import find_shards
from pipeline.io.files.settings import ReadSettings
from pipeline.options import NerOptions
from pipeline.process.signals import _names_a_stream
from pipeline.run import main
from transforms.documents import Failure


def write(path: Path, *names: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps({"id": name, "text": f"{name} Smith"}) + "\n" for name in names))
    return path


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    write(tmp_path / "more" / "c.jsonl", "Cleo")
    return [str(write(tmp_path / "a.jsonl", "Ann")), str(write(tmp_path / "b.jsonl", "Ben", "Bob"))]


def ids(folder: Path) -> list[str]:
    return sorted(row["id"] for row in rows(folder) if "stage" not in row)


@pytest.mark.parametrize(
    "inputs",
    [
        ["--input", "{0}", "--input", "{1}", "--input={more}"],
        ["--input", "{0}", "{1}", "{more}/*.jsonl"],  # as a shell makes it of a glob
        ["--input={0}", "--input", "{folder}/?.jsonl", "{more}/"],  # one file is matched twice
    ],
)
def test_several_inputs_are_read_as_one(inputs: list[str], paths: list[str], tmp_path: Path) -> None:
    flags = [each.format(*paths, folder=tmp_path, more=tmp_path / "more") for each in inputs]
    assert main([*flags, f"--output={tmp_path}/out/x"]) == 0
    assert ids(tmp_path / "out") == ["Ann", "Ben", "Bob", "Cleo"]


def test_one_of_several_that_matches_nothing_is_a_mistake(
    paths: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--input", *paths, f"{tmp_path}/gone-*", f"--output={tmp_path}/out/x"]) == 2
    assert f"--input='{tmp_path}/gone-*': matches no file" in capsys.readouterr().err


def test_a_pattern_without_a_match_in_a_worker_is_a_failure(paths: list[str], tmp_path: Path) -> None:
    found = list(find_shards([*paths, f"{tmp_path}/gone-*"], "jsonl"))
    assert [type(each) is Failure for each in found] == [False, False, True]


def test_several_dead_letters(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": name, "body": "Ann Smith"}) + "\n7\n")
        flags = [f"--input={tmp_path}/{name}.jsonl", f"--output={tmp_path}/first/{name}", "--text_field=body"]
        assert main([*flags, "--max_document_chars=5"]) in (0, 1)
    dead = [f"{tmp_path}/first/{name}-failures-*" for name in ("a", "b")]
    assert main(["--replay", *dead, f"--output={tmp_path}/out/x", "--text_field=body"]) == 0
    assert ids(tmp_path / "out") == ["a", "b"]


def test_the_flags_of_a_stream_are_known_early() -> None:
    assert _names_a_stream(["--input", "projects/p/subscriptions/s"])
    assert _names_a_stream(["--replay=projects/p/subscriptions/s", "--input"])
    assert not _names_a_stream(["--input", "a.jsonl", "b.jsonl", "--output", "projects/p/topics/t"])


def test_options_hold_all_inputs() -> None:
    options = parse(["--input", "a", "b", "--input=c", "--output=x"]).view_as(NerOptions)
    assert options.input == ["a", "b", "c"]


# Whole texts


def test_a_file_is_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "ann.txt").write_text("Dear Ann,\n\nI live in Rome.\r\nBen\n")
    (folder / "empty.txt").write_text("")
    (folder / "wide.txt").write_bytes("Łukasz".encode("utf-16"))
    (folder / "bad.txt").write_bytes(b"caf\xe9")
    (folder / "cover.png").write_bytes(b"\x89PNG")
    flags = [f"--output={tmp_path}/out/x", "--include_text", "--input_format=whole_text"]
    assert main([f"--input={folder}", *flags]) == 0
    found = {row["id"]: row["text"] for row in rows(tmp_path / "out") if "entities" in row and "id" in row}
    assert found == {
        f"{folder}/ann.txt": "Dear Ann,\n\nI live in Rome.\r\nBen\n",
        f"{folder}/empty.txt": "",
        f"{folder}/wide.txt": "Łukasz",
    }
    (failure,) = [row for row in rows(tmp_path / "out") if "stage" in row]
    assert failure["errorMessage"] == f"{folder}/bad.txt: byte 3 of the file is not UTF-8"
    again = [f"--replay={tmp_path}/out/x-failures-*", f"--output={tmp_path}/again/x", "--include_text"]
    assert main(again) == 1
    assert "1 failures" in capsys.readouterr().out  # it is still not UTF-8


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.io.fields import DocumentFields
    from pipeline.io.files.formats import whole_text
    from pipeline.io.files.matching import Shard
    from pipeline.io.files.read import read_shard

    monkeypatch.setattr(whole_text, "MAX_RECORD_BYTES", 10)
    (tmp_path / "a.txt").write_text("x" * 11)
    (failure,) = read_shard(Shard(f"{tmp_path}/a.txt"), "whole_text", DocumentFields(), ReadSettings())
    assert isinstance(failure, Failure)
    assert "the file has more than 10 bytes" in failure.error
