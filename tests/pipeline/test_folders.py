"""A folder as input: its files with the endings of one format are read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from runs import rows

from pipeline.io.files.read import find_shards
from pipeline.run import main

LINE = json.dumps({"id": "a", "text": "Ann"}).encode() + b"\n"


def run(folder: Path, *flags: str) -> int:
    return main([f"--input={folder}", f"--output={folder.parent}/out/x", *flags])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    (folder / "a.jsonl").write_bytes(LINE)
    (folder / "b.JSONL.gz").write_bytes(gzip.compress(LINE * 2))
    (folder / "more" / "c.jsonl").write_bytes(LINE)
    return folder


@pytest.mark.parametrize("ending", ["", "/"])
def test_files_of_one_format_are_read(ending: str, folder: Path, tmp_path: Path) -> None:
    assert main([f"--input={folder}{ending}", f"--output={tmp_path}/out/x"]) == 0
    assert len(rows(tmp_path / "out")) == 3


def test_what_is_left_out_is_said(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / ".DS_Store").write_bytes(b"\0")
    assert run(folder) == 0
    assert len(rows(tmp_path / "out")) == 3
    (line,) = [record.getMessage() for record in caplog.records if "are not read" in record.getMessage()]
    assert line.startswith("2 files in the folder are not read, since their endings are not those of jsonl: ")


def test_several_formats(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "d.csv").write_text("id,text\na,Ann\n")
    for given in (folder, f"{folder}/*"):
        assert main([f"--input={given}", f"--output={tmp_path}/out/x"]) == 2
        error = capsys.readouterr().err
        assert (
            f"--input='{given}': files of several formats: 2 of jsonl, 1 of csv; expected --input_format, or a glob"
            in error
        )
    assert run(folder, "--input_format=csv") == 0
    assert len(rows(tmp_path / "out")) == 1


def test_files_without_a_known_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert run(folder) == 2
    assert (
        f"--input='{folder}': a folder without a file; expected one with files, or '{folder}/**'"
        in capsys.readouterr().err
    )
    (folder / "a.eml").write_text("Ann\nBob\n")
    (folder / "b").write_text("Tom\n")
    assert run(folder) == 2
    assert "unknown ending; expected --input_format" in capsys.readouterr().err
    assert run(folder, "--input_format=text") == 0
    assert len(rows(tmp_path / "out")) == 3


def test_the_ending_of_a_glob_is_that_of_its_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--input={folder}/*", f"--output={tmp_path}/out/x"]) == 0
    assert len(rows(tmp_path / "out")) == 3
    (folder / "notes.pdf").write_bytes(b"%PDF")
    assert main([f"--input={folder}/*", f"--output={tmp_path}/out/x"]) == 2  # it would be read too
    assert "unknown ending" in capsys.readouterr().err


def test_the_results_in_the_same_folder_are_not_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--input={folder}", f"--output={folder}/x"]) == 0
    assert main([f"--input={folder}", f"--output={folder}/x"]) == 2
    assert "which is a file of this run's output" in capsys.readouterr().err


def test_a_folder_on_another_file_system_ends_in_a_slash(folder: Path) -> None:
    found = [str(shard) for shard in find_shards(f"{folder}/", "jsonl")]
    assert found == [f"{folder}/a.jsonl", f"{folder}/b.JSONL.gz"]


def test_names_with_a_backslash_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (r"a\b.jsonl", r"\.jsonl", "c, d [x].jsonl"):
        (folder / name).write_bytes(LINE)
    (folder / "more").mkdir()
    (folder / "more" / r"e\f.jsonl").write_bytes(LINE)
    for number, given in enumerate((folder, f"{folder}/*", f"{folder}/*.jsonl")):
        assert main([f"--input={given}", f"--output={tmp_path}/{number}/x", "--input_format=jsonl"]) == 0
        assert len(rows(tmp_path / str(number))) == 3
    assert main([f"--input={folder}/**.jsonl", f"--output={tmp_path}/all/x"]) == 0
    assert len(rows(tmp_path / "all")) == 4


def test_a_name_that_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    folder = tmp_path / "letters [2001]"
    folder.mkdir()
    for name in ("a[1].jsonl", "a1.jsonl", "b?.jsonl", "b1.jsonl"):
        (folder / name).write_text(json.dumps({"id": name, "text": "Ann"}))
    flags = [f"--output={tmp_path}/out/x"]
    assert main(["--input", *map(str, sorted(folder.iterdir())), *flags]) == 0
    assert sorted(row["id"] for row in rows(tmp_path / "out")) == ["a1.jsonl", "a[1].jsonl", "b1.jsonl", "b?.jsonl"]
    for given in (folder, f"{folder}/"):
        assert main([f"--input={given}", *flags]) == 0
        assert len(rows(tmp_path / "out")) == 4


def test_two_asterisks_match_no_folder_too(folder: Path, tmp_path: Path) -> None:
    assert main([f"--input={folder}/**/*.jsonl", f"--output={tmp_path}/out/x"]) == 0
    assert len(rows(tmp_path / "out")) == 2  # a.jsonl, more/c.jsonl


def test_other_spellings_of_a_path_are_the_same_file(folder: Path, tmp_path: Path) -> None:
    spellings = [f"{folder}/a.jsonl", f"{folder}/./a.jsonl", f"{folder}/more/../a.jsonl"]
    assert main(["--input", *spellings, f"--output={tmp_path}/out/x"]) == 0
    assert len(rows(tmp_path / "out")) == 1
