"""Whole runs of the program with the embedded model: what goes in, and what lies there afterwards.

The files in `golden/` are what the program wrote when its results were last looked at. After a change that is meant to
change them, `RENEW_GOLDEN=1 python -m pytest tests/pipeline/test_program.py -k golden` writes them anew; look at the
difference before you commit it.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.io.localfilesystem import LocalFileSystem
from shelf import PREFIX, ShelfFileSystem

from pipeline.run import main
from transforms import AggregationStrategy, TokenClassifier

REPOSITORY = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
FILLER = "The committee met again in the afternoon and agreed to wait for the report before it spoke to the press. " * 7
LONG = "".join(f"{FILLER}My name is {name}. " for name in ["Ann Smith", "Tom Baker", "Emily Clark", "Karen Miller"])
# Short and plain, so that the model is sure of every token and no machine's rounding changes a label.
TEXTS = {
    "address": "My name is Ann Smith and I live at 12 Baker Street, London NW1 6XE.",
    "blank": " \t ",
    "decomposed": "Jose\u0301 Garci\u0301a lives at 4 Elm Street, Boston.",
    "emoji": "👩‍👩‍👧‍👦 👍🏽 My name is Robert Brown 🙂",
    "empty": "",
    "german": "Name: José Ñandú. Anschrift: Münchner Straße 5, 80331 München.",
    "han": "東京 My name is Ann Smith and my email is bruce@example.org 東京",
    "long": LONG,
    "mail": "My name is Emily Clark, and my email is jane.doe@example.com",
    "plain": "The weather is nice today.",
    "quotes": 'She said "my name is Karen Miller, I live at 7 Hill Road, Leeds", and left.',
    "special": "[CLS] Tom Baker [SEP] 9 Elm Street [MASK] [PAD]",
    "two lines": "My name is Susan Clark,\nand I live at 7 Hill Road, Leeds.",
}


def write_jsonl(path: Path, texts: dict[str, str]) -> None:
    lines = [json.dumps({"id": name, "text": text}, ensure_ascii=False) for name, text in texts.items()]
    content = "".join(f"{line}\n" for line in lines).encode()
    compress: dict[str, Callable[[bytes], bytes]] = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".xz": lzma.compress,
        ".zst": zstandard.compress,
    }
    path.write_bytes(compress.get(path.suffix, bytes)(content))


def write_csv(path: Path, texts: dict[str, str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "text"), *texts.items()])


def write_avro(path: Path, texts: dict[str, str]) -> None:
    fields = [{"name": "id", "type": "string"}, {"name": "text", "type": "string"}]
    with path.open("wb") as file:
        rows = [{"id": name, "text": text} for name, text in texts.items()]
        fastavro.writer(file, {"type": "record", "name": "Doc", "fields": fields}, rows)


def write_parquet(path: Path, texts: dict[str, str]) -> None:
    pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The texts as JSON Lines."""
    write_jsonl(tmp_path / "in.jsonl", TEXTS)
    return tmp_path / "in.jsonl"


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Two short texts and a line that is none, for runs in which it does not matter what is found."""
    path = tmp_path / "few.jsonl"
    write_jsonl(path, {name: TEXTS[name] for name in ("address", "mail")})
    path.write_bytes(path.read_bytes() + b"not json\n")
    return path


def run(source: Path | str, output: Path | str, *flags: str) -> None:
    assert main([f"--input={source}", f"--output={output}", *flags]) == 0


def rows(folder: Path, pattern: str = "x-?????-of-?????.jsonl") -> list[dict[str, Any]]:
    """The rows of all shards, ordered by id."""
    contents = [(path.suffix, path.read_bytes()) for path in folder.glob(pattern)]
    lines = [
        line for suffix, data in contents for line in (gzip.decompress(data) if suffix == ".gz" else data).splitlines()
    ]
    return sorted(map(json.loads, lines), key=lambda row: row.get("id", ""))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def scores(results: list[dict[str, Any]]) -> list[float]:
    return [entity["score"] for result in results for entity in result["entities"]]


def without_scores(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**result, "entities": [{**entity, "score": None} for entity in result["entities"]]} for result in results]


def assert_same(results: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Scores within 1e-3, all else as it is, the order of the fields too."""
    assert without_scores(results) == without_scores(expected)
    assert scores(results) == pytest.approx(scores(expected), abs=1e-3)
    assert [json.dumps(row) for row in without_scores(results)] == [json.dumps(row) for row in without_scores(expected)]


def golden(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / name).read_text("utf-8").splitlines()]


def summary(out: str) -> dict[str, int]:
    """The counts that the program prints at its end."""
    counts = re.findall(r"^ *([\d,]+) (documents|results|failures|entities|tokens)\b", out, re.MULTILINE)
    assert len(counts) == 5, out
    return {what: int(count.replace(",", "")) for count, what in counts}


# What is found


@pytest.mark.parametrize("strategy", ["none", "first"])
def test_results_are_the_golden_ones(strategy: str, source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x", f"--aggregation_strategy={strategy}")
    results = rows(tmp_path / "out")
    if os.environ.get("RENEW_GOLDEN"):
        lines = [json.dumps(row, ensure_ascii=False) for row in results]
        (GOLDEN / f"{strategy}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
        pytest.skip("renewed; this run has compared nothing")
    assert_same(results, golden(f"{strategy}.jsonl"))


def test_csv_is_the_golden_one(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x.csv", "--aggregation_strategy=first")
    content = (tmp_path / "out/x-00000-of-00001.csv").read_bytes()
    if os.environ.get("RENEW_GOLDEN"):
        (GOLDEN / "first.csv").write_bytes(content)
        pytest.skip("renewed; this run has compared nothing")
    found, expected = (
        list(csv.DictReader(text.decode("utf-8").splitlines(keepends=True)))
        for text in (content, (GOLDEN / "first.csv").read_bytes())
    )
    assert [float(row.pop("score")) for row in found] == pytest.approx(
        [float(row.pop("score")) for row in expected], abs=1e-3
    )
    assert found == expected
    assert len(found) == sum(len(row["entities"]) for row in golden("first.jsonl"))


@pytest.fixture(scope="module")
def classify() -> TokenClassifier:
    return TokenClassifier("rampart", special_tokens="text")


@pytest.mark.parametrize(("flags", "id"), [([], "'=id"), (["--csv_formulas=keep"], "=id")], ids=["escape", "keep"])
def test_a_spreadsheet_runs_no_cell_unless_it_is_meant_to(flags: list[str], id: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", {"=id": TEXTS["address"]})
    run(tmp_path / "in.jsonl", tmp_path / "out/x.csv", *flags)
    with (tmp_path / "out/x-00000-of-00001.csv").open(newline="", encoding="utf-8") as file:
        assert {row["id"] for row in csv.DictReader(file)} == {id}


@pytest.mark.parametrize("strategy", [strategy.value for strategy in AggregationStrategy])
def test_results_are_those_of_the_classifier(
    strategy: str, classify: TokenClassifier, source: Path, tmp_path: Path
) -> None:
    run(source, tmp_path / "out/x", f"--aggregation_strategy={strategy}", "--include_text")
    results = rows(tmp_path / "out")
    for result in results:
        assert result["text"] == TEXTS[result["id"]]
        for entity in result["entities"]:
            assert entity["text"] == result["text"][entity["start"] : entity["end"]]
        expected = classify(result["text"], aggregation_strategy=strategy)
        for entity, own in zip(result["entities"], expected, strict=True):
            assert {**entity, "score": None} == {**own, "score": None, "text": entity["text"]}
            assert entity["score"] == pytest.approx(own["score"], abs=1e-3)
    assert [result["id"] for result in results] == sorted(TEXTS)
    assert {result["id"]: result["num_windows"] for result in results if result["num_windows"] > 1} == {"long": 2}


# Formats


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("in.jsonl", write_jsonl),
        ("in.jsonl.gz", write_jsonl),
        ("in.jsonl.bz2", write_jsonl),
        ("in.jsonl.xz", write_jsonl),
        ("in.jsonl.zst", write_jsonl),
        ("in.csv", write_csv),
        ("in.avro", write_avro),
        ("in.parquet", write_parquet),
    ],
)
def test_every_input_format_gives_the_same(
    name: str, write: Callable[[Path, dict[str, str]], None], tmp_path: Path
) -> None:
    write(tmp_path / name, TEXTS)
    run(tmp_path / name, tmp_path / "out/x", "--aggregation_strategy=first")
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))


def test_lines_of_text_give_the_same_under_other_ids(tmp_path: Path) -> None:
    texts = {name: text for name, text in TEXTS.items() if "\n" not in text}
    path = tmp_path / "in.txt"
    path.write_text("".join(f"{text}\n" for text in texts.values()), "utf-8")
    run(path, tmp_path / "out/x", "--aggregation_strategy=first", "--include_text")
    named = {text: name for name, text in texts.items()}
    results = rows(tmp_path / "out")
    data = path.read_bytes()
    for result in results:
        offset = int(result["id"].removeprefix(f"{path}:"))
        text = result.pop("text")
        assert data[offset:].startswith(f"{text}\n".encode())
        result["id"] = named[text]
    expected = [row for row in golden("first.jsonl") if row["id"] in texts]
    assert_same(sorted(results, key=lambda row: row["id"]), expected)


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".avro", ".parquet"])
def test_every_output_format_holds_the_same(ending: str, source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / f"out/x{ending}", "--aggregation_strategy=first")
    assert names(tmp_path / "out") == [f"x-00000-of-00001{ending}", "x-failures-00000-of-00001.jsonl"]
    path = tmp_path / f"out/x-00000-of-00001{ending}"
    if ending == ".avro":
        with path.open("rb") as file:
            results: list[Any] = list(fastavro.reader(file))
    elif ending == ".parquet":
        results = pq.read_table(path).to_pylist()
    else:
        results = rows(tmp_path / "out", path.name)
    assert_same(sorted(results, key=lambda row: row["id"]), golden("first.jsonl"))


def test_formats_can_be_forced(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.dat", {"a": TEXTS["address"]})
    run(tmp_path / "in.dat", tmp_path / "out/x.v1", "--input_format=csv", "--output_format=csv")
    header, *lines = (tmp_path / "out/x.v1-00000-of-00001.csv").read_text("utf-8").splitlines()
    assert header == "id,entity,score,word,text,start,end,index,model,model_revision"
    assert [line.split(",")[1] for line in lines][:2] == ["B-GIVEN_NAME", "B-SURNAME"]


# Flags of the results


def test_ignored_labels_replace_the_usual_one(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x", "--aggregation_strategy=first", "--ignore_labels=GIVEN_NAME, SURNAME")
    found = {entity["entity_group"] for row in rows(tmp_path / "out") for entity in row["entities"]}
    usual = {entity["entity_group"] for row in golden("first.jsonl") for entity in row["entities"]}
    assert {"GIVEN_NAME", "SURNAME"} <= usual
    assert found == usual - {"GIVEN_NAME", "SURNAME"} | {"O"}


def test_entities_below_the_score_are_left_out(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x", "--aggregation_strategy=first", "--min_score=0.99")
    expected = [
        {**row, "entities": [entity for entity in row["entities"] if entity["score"] >= 0.99]}
        for row in golden("first.jsonl")
    ]
    assert_same(rows(tmp_path / "out"), expected)
    assert 0 < len(scores(expected)) < len(scores(golden("first.jsonl")))


def test_as_many_shards_as_asked_for(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x", "--num_shards=3", "--aggregation_strategy=first")
    assert [name for name in names(tmp_path / "out") if "failures" not in name] == [
        f"x-0000{number}-of-00003.jsonl" for number in range(3)
    ]
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))


def test_fields_of_other_names(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"key": 7, "body": "Ann Smith", "id": "no", "text": "no"}\n', "utf-8")
    run(tmp_path / "in.jsonl", tmp_path / "out/x", "--text_field=body", "--id_field=key", "--include_text")
    (row,) = rows(tmp_path / "out")
    assert (row["id"], row["text"]) == ("7", "Ann Smith")


def test_missing_ids_are_the_same_in_every_run(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    lines = [json.dumps({"text": f"text {number}"}) + "\n" for number in range(5)]
    path.write_text("".join(lines), "utf-8")
    for output in ("one", "two"):
        run(path, tmp_path / output / "x", "--include_text")
    found = {row["id"]: row["text"] for row in rows(tmp_path / "one")}
    assert found == {f"{path}:{number * len(lines[0])}": f"text {number}" for number in range(5)}
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_a_text_that_is_cut_says_so(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(source, tmp_path / "out/x", "--aggregation_strategy=first", "--long_text=truncate")
    results = rows(tmp_path / "out")
    assert [row["id"] for row in results if row["truncated"]] == ["long"]
    (cut,), (whole,) = ([row for row in found if row["id"] == "long"] for found in (results, golden("first.jsonl")))
    assert (cut["num_windows"], cut["num_tokens"]) == (1, whole["num_tokens"])
    assert max(entity["end"] for entity in cut["entities"]) < max(entity["end"] for entity in whole["entities"])
    assert f"{len(TEXTS)} results, 1 of them truncated, in" in capsys.readouterr().out


# Files


def test_file_urls_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("Ann Smith\n")
    assert main([f"--input=file://{tmp_path}/*.txt", f"--output=file://{tmp_path}/out/x.jsonl"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "out"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "x-00000-of-00001.jsonl",
        "x-failures-00000-of-00001.jsonl",
    ]


def test_a_glob_with_an_empty_file_among_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(TEXTS):
        write_jsonl(tmp_path / f"part-{number:02}.jsonl.gz", {name: TEXTS[name]})
    write_jsonl(tmp_path / "part-zz.jsonl.gz", {})
    write_jsonl(tmp_path / "other.jsonl.gz", {"not": "matched"})
    run(tmp_path / "part-*.jsonl.gz", tmp_path / "out/x", "--aggregation_strategy=first")
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))
    assert summary(capsys.readouterr().out)["failures"] == 0


@pytest.mark.parametrize("name", ["in.jsonl", "in.csv"])
def test_an_input_of_empty_files_alone(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(b"id,text\n" if name == "in.csv" else b"")
    run(tmp_path / name, tmp_path / "out/x")
    assert rows(tmp_path / "out") == []
    assert names(tmp_path / "out") == ["x-00000-of-00001.jsonl", "x-failures-00000-of-00001.jsonl"]
    assert set(summary(capsys.readouterr().out).values()) == {0}


@pytest.fixture
def writable_shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the shelf be written too."""

    def on_disk(paths: Any) -> Any:
        return paths.removeprefix(PREFIX) if isinstance(paths, str) else [on_disk(path) for path in paths]

    for name in ("create", "mkdirs", "rename", "delete", "size", "checksum", "last_updated", "metadata"):

        def call(_: Any, *arguments: Any, name: str = name) -> Any:
            return getattr(LocalFileSystem(None), name)(*map(on_disk, arguments))

        monkeypatch.setattr(ShelfFileSystem, name, call)


@pytest.mark.usefixtures("writable_shelf")
def test_a_remote_file_system(source: Path, tmp_path: Path) -> None:
    run(f"{PREFIX}{tmp_path}/*.jsonl", f"{PREFIX}{tmp_path}/out/x", "--aggregation_strategy=first", "--num_shards=2")
    assert names(tmp_path / "out") == [
        "x-00000-of-00002.jsonl",
        "x-00001-of-00002.jsonl",
        "x-failures-00000-of-00001.jsonl",
    ]
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))
    # A run with fewer shards takes away what it does not replace.
    run(f"{PREFIX}{source}", f"{PREFIX}{tmp_path}/out/x", "--aggregation_strategy=first", "--num_shards=1")
    assert "x-00001-of-00002.jsonl" not in names(tmp_path / "out")
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))


# A second run


@pytest.mark.parametrize("shards", [(3, 1), (1, 2)], ids=["fewer", "more"])
def test_a_second_run_leaves_only_its_own_files(shards: tuple[int, int], few: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    write_jsonl(other, {"only": TEXTS["mail"]})
    run(few, tmp_path / "out/x", f"--num_shards={shards[0]}")
    run(other, tmp_path / "out/x", f"--num_shards={shards[1]}")
    assert [row["id"] for row in rows(tmp_path / "out")] == ["only"]
    expected = [f"x-0000{number}-of-0000{shards[1]}.jsonl" for number in range(shards[1])]
    assert names(tmp_path / "out") == [*expected, "x-failures-00000-of-00001.jsonl"]
    assert rows(tmp_path / "out", "x-failures-*") == []


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".avro"])
def test_the_same_run_again_gives_the_same_files(ending: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "in.jsonl", {"plain": TEXTS["plain"], "empty": ""})
    run(tmp_path / "in.jsonl", tmp_path / f"out/x{ending}")
    first = names(tmp_path / "out")
    run(tmp_path / "in.jsonl", tmp_path / f"out/x{ending}")
    assert first == [f"x-00000-of-00001{ending}", "x-failures-00000-of-00001.jsonl"]
    assert names(tmp_path / "out") == first


def test_a_run_spares_the_files_of_its_neighbours(few: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    others = [
        "x-00000-of-00001.txt",
        "x-failures-00000-of-00001.jsonl",  # of a run whose output is x-failures
        "x-old-00000-of-00001.jsonl",
        "xx-00000-of-00001.jsonl",
    ]
    for name in others:
        (tmp_path / "out" / name).write_text("mine", "utf-8")
    run(few, tmp_path / "out/x", f"--dead_letter={tmp_path}/lost/y")
    assert names(tmp_path / "out") == ["x-00000-of-00001.jsonl", *others]
    assert {(tmp_path / "out" / name).read_text("utf-8") for name in others} == {"mine"}


def test_a_run_that_cannot_start_spares_the_files_of_the_last(few: Path, tmp_path: Path) -> None:
    run(few, tmp_path / "out/x")
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main([f"--input={few}", f"--output={tmp_path}/out/x", "--min_score=2"]) == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


# What fails


def test_failures_lie_beside_the_results(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("", ".csv"):
        run(few, tmp_path / f"out{ending}/x{ending}")
        (failure,) = rows(tmp_path / f"out{ending}", "x-failures-00000-of-00001.jsonl")
        assert failure["errorMessage"].endswith("the line is not JSON from character 0 on")
        assert failure["payloadString"] == "not json"
        assert failure["stage"] == "parse"
        assert {"key": "source", "value": str(few)} in failure["attributes"]
        counts = summary(capsys.readouterr().out)
        assert (counts["documents"], counts["results"], counts["failures"]) == (3, 2, 1)


@pytest.mark.parametrize("dead_letter", ["lost/y", "lost/y.jsonl.gz"])
def test_failures_can_lie_elsewhere(dead_letter: str, few: Path, tmp_path: Path) -> None:
    run(few, tmp_path / "out/x", f"--dead_letter={tmp_path}/{dead_letter}")
    assert names(tmp_path / "out") == ["x-00000-of-00001.jsonl"]
    (name,) = names(tmp_path / "lost")
    assert re.fullmatch(r"y-00000-of-00001\.jsonl(\.gz)?", name)
    assert name.endswith(".gz") == dead_letter.endswith(".gz")
    assert [failure["payloadString"] for failure in rows(tmp_path / "lost", name)] == ["not json"]


# The summary


def test_the_summary_counts_what_was_written(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source.write_bytes(source.read_bytes() + b'not json\n[]\n{"id": "no text"}\n')
    run(source, tmp_path / "out/x", "--aggregation_strategy=first")
    out = capsys.readouterr().out
    results, failures = rows(tmp_path / "out"), rows(tmp_path / "out", "x-failures-*")
    assert summary(out) == {
        "documents": len(TEXTS) + 3,
        "results": len(results),
        "failures": len(failures),
        "entities": len(scores(results)),
        "tokens": sum(row["num_tokens"] for row in results),
    }
    assert (len(results), len(failures)) == (len(TEXTS), 3)
    assert f"tokens in {sum(row['num_windows'] for row in results)} windows" in out
    assert f"{len(TEXTS)} results, in {tmp_path}/out/x-?????-of-?????.jsonl" in out
    assert f"3 failures, in {tmp_path}/out/x-failures-?????-of-?????.jsonl" in out
    assert "truncated" not in out
    assert "defect" not in out


def test_a_second_run_in_a_process_counts_its_own(
    few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("one", "two"):
        run(few, tmp_path / output / "x")
        assert summary(capsys.readouterr().out)["documents"] == 3
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


# Other models


def test_a_checkpoint_in_a_folder(checkpoint: Callable[[str], Path], source: Path, tmp_path: Path) -> None:
    folder = checkpoint("bert_cased")
    run(source, tmp_path / "out/x", f"--model={folder}", "--aggregation_strategy=average", "--stride=20")
    classify = TokenClassifier(folder, aggregation_strategy="average", stride=20, special_tokens="text")
    for row in rows(tmp_path / "out"):
        assert row["model"] == str(folder)
        assert row["model_revision"] == classify.model_revision
        expected = [(found["entity_group"], found["start"], found["end"]) for found in classify(TEXTS[row["id"]])]
        assert [(found["entity_group"], found["start"], found["end"]) for found in row["entities"]] == expected


def test_a_tokenizer_without_offsets(checkpoint: Callable[[str], Path], few: Path, tmp_path: Path) -> None:
    run(few, tmp_path / "out/x", f"--model={checkpoint('slow_wordpiece')}", "--engine=torch")
    entities = [entity for row in rows(tmp_path / "out") for entity in row["entities"]]
    assert entities
    assert {(entity["start"], entity["end"], entity["text"]) for entity in entities} == {(None, None, None)}


def test_another_tokenizer(checkpoint: Callable[[str], Path], source: Path, tmp_path: Path) -> None:
    model, tokenizer = str(checkpoint("bert_cased")), str(checkpoint("electra_uncased"))  # the smaller vocabulary
    run(source, tmp_path / "out/x", f"--model={model}", f"--tokenizer={tokenizer}", "--engine=torch")
    with_other = TokenClassifier(model, tokenizer=tokenizer, engine="torch", special_tokens="text")
    with_own = TokenClassifier(model, engine="torch", special_tokens="text")
    for row in rows(tmp_path / "out"):
        words = [(entity["entity"], entity["word"]) for entity in row["entities"]]
        assert words == [(found["entity"], found["word"]) for found in with_other(TEXTS[row["id"]])]
        if row["id"] == "address":
            assert words != [(found["entity"], found["word"]) for found in with_own(TEXTS[row["id"]])]


# Beam


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=1", "--job_name=x"],
        ["--runner=DirectRunner"],
        ["--runner=BundleBasedDirectRunner"],
        ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    ],
    ids=" ".join,
)
def test_flags_of_beam_are_passed_on(flags: list[str], source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "out/x", "--aggregation_strategy=first", *flags)
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))


# As a process


@pytest.mark.parametrize("command", ["python -m pipeline", "beam-ner"])
def test_the_program_as_a_process(command: str, source: Path, tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("beam-ner")
    if command == "beam-ner" and not script.exists():
        pytest.skip("the package is not installed, so there is no console script")
    done = subprocess.run(
        [
            *([script] if command == "beam-ner" else [sys.executable, "-m", "pipeline"]),
            f"--input={source}",
            f"--output={tmp_path}/out/x",
            "--aggregation_strategy=first",
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert summary(done.stdout)["documents"] == len(TEXTS)
    assert "Traceback" not in done.stderr
    assert_same(rows(tmp_path / "out"), golden("first.jsonl"))
