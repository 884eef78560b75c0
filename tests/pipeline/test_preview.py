"""The preview shows entities where they are, and counts them all."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.preview import main, marked

REPOSITORY = Path(__file__).parents[2]
TEXT = "Ann met Ben in Rome."


def entity(start: int | None, end: int | None, label: str = "PER") -> dict[str, Any]:
    return {"entity_group": label, "score": 1.0, "word": "w", "text": None, "start": start, "end": end}


ANN, BEN, ROME = entity(0, 3), entity(8, 11), entity(15, 19, "CITY")


@pytest.mark.parametrize(
    ("text", "entities", "most_characters", "expected"),
    [
        (TEXT, [ANN, BEN, ROME], 400, "Ann[PER] met Ben[PER] in Rome[CITY]."),
        (TEXT, [], 400, TEXT),
        (TEXT, [], 20, TEXT),
        (TEXT, [], 19, "Ann met Ben in Rome …"),
        ("", [], 400, ""),
        ("Ann", [ANN], 3, "Ann[PER]"),
        # A cut between entities, within one, and at the start of one.
        (TEXT, [ANN, BEN, ROME], 5, "Ann[PER] m …"),
        (TEXT, [ANN, BEN, ROME], 9, "Ann[PER] met Ben[PER] …"),
        (TEXT, [ANN, BEN, ROME], 8, "Ann[PER] met  …"),
        (TEXT, [ANN, BEN, ROME], 0, " …"),
        # Entities that overlap, and that have no place.
        (TEXT, [entity(0, 7), ANN, entity(5, 11), BEN], 400, "Ann met[PER] Ben[PER] in Rome."),
        (TEXT, [entity(None, None), BEN], 400, "Ann met Ben[PER] in Rome."),
        # Tokens, which have an `entity`.
        (TEXT, [{"entity": "B-PER", "start": 0, "end": 3}], 400, "Ann[B-PER] met Ben in Rome."),
        # Offsets count code points, and brackets are no markup.
        ("👩‍👧 Zoë", [entity(4, 7)], 400, "👩‍👧 Zoë[PER]"),
        ("[bold]Ann[/bold] [/x]", [entity(6, 9)], 400, "[bold]Ann[PER][/bold] [/x]"),
    ],
)
def test_marked(text: str, entities: list[dict[str, Any]], most_characters: int, expected: str) -> None:
    assert marked({"text": text, "entities": entities}, most_characters).plain == expected


def test_a_label_has_one_colour_on_the_entity_and_on_its_name() -> None:
    shown = marked({"text": TEXT, "entities": [ANN, BEN, ROME]}, 400)
    styles = {shown.plain[span.start : span.end]: str(span.style) for span in shown.spans}
    assert list(styles) == ["Ann", "[PER]", "Ben", "Rome", "[CITY]"]
    colours = {name: style.split()[1] for name, style in styles.items()}
    assert colours["Ann"] == colours["[PER]"] == colours["Ben"]
    assert colours["Rome"] == colours["[CITY]"]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


@pytest.fixture
def results(tmp_path: Path) -> str:
    """Ten documents in two files."""
    rows = [{"id": f"d{number}", "text": TEXT, "entities": [ANN, ROME][: number % 3]} for number in range(10)]
    write(tmp_path / "x-00000-of-00002.jsonl", rows[:7])
    write(tmp_path / "x-00001-of-00002.jsonl", rows[7:])
    return f"{tmp_path}/x-?????-of-?????.jsonl"


def shown(flags: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(flags) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_counts_of_all_documents(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown([results, "--documents=1"], capsys)
    assert re.search(r"^ PER +6 *$", out, re.MULTILINE)
    assert re.search(r"^ CITY +3 *$", out, re.MULTILINE)
    assert f"9 entities in 10 documents; all of them in {results}" in out


@pytest.mark.parametrize(
    ("flags", "ids"),
    [
        (["--documents=0"], []),
        (["--documents=1"], ["d0"]),
        # From all over the results.
        (["--documents=3"], ["d0", "d3", "d6"]),
        (["--documents=10"], [f"d{number}" for number in range(10)]),
        (["--documents=99"], [f"d{number}" for number in range(10)]),
        ([], ["d0", "d1", "d2", "d3", "d4", "d5"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_some_documents_are_shown(
    flags: list[str], ids: list[str], results: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shown([results, *flags], capsys)
    assert re.findall(r"^d\d$", out, re.MULTILINE) == ids
    assert out.count("Ann[PER] met Ben in Rome[CITY].") == len([name for name in ids if int(name[1:]) % 3 == 2])


def test_long_texts_are_cut(results: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown([results, "--documents=2", "--characters=7"], capsys)
    assert out.count("Ann met …") == 1
    assert out.count("Ann[PER] met …") == 1
    assert "Rome" not in out


def test_brackets_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = {"entity_group": "[red]", "score": 1.0, "word": "x", "start": 0, "end": 1}
    write(tmp_path / "x.jsonl", [{"id": "[blue]/[/a]", "text": "x [green]", "entities": [place]}])
    out = shown([f"{tmp_path}/[a-z].jsonl"], capsys)
    assert "[blue]/[/a]\nx[[red]] [green]\n" in out
    assert re.search(r"^ \[red\] +1 *$", out, re.MULTILINE)
    assert f"1 entities in 1 documents; all of them in {tmp_path}/[a-z].jsonl" in out


def test_no_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "x.jsonl", [])
    assert "0 entities in 0 documents" in shown([f"{tmp_path}/x.jsonl"], capsys)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("gone-*.jsonl", "gone-*.jsonl': matches no file"),
        ("bare.jsonl", "expected results written with --include_text"),
        ("x.csv", "x.csv: contains no results in JSON Lines; expected those of --output_format=jsonl"),
        ("x.parquet", "x.parquet: contains no results in JSON Lines"),
        ("other.jsonl", "other.jsonl: contains no results in JSON Lines"),
        ("folder", "folder: cannot be read: Is a directory"),
    ],
)
def test_mistakes(pattern: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "bare.jsonl", [{"id": "a", "entities": [ANN]}])
    (tmp_path / "x.csv").write_text("id,entity\na,PER\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1\x15\xff")
    (tmp_path / "other.jsonl").write_text('{"id": "a", "text": "Ann"}\n')
    (tmp_path / "folder").mkdir()
    assert main([f"{tmp_path}/{pattern}"]) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("python -m pipeline.preview: error: ")
    assert told in line
    assert out == ""


def test_as_a_process(results: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.preview", results, "--documents=3"],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "9 entities in 10 documents" in done.stdout
