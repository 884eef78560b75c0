"""The program on `gs://` paths does what it does on local ones."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from services.clients import REPOSITORY, environment_of
from services.storage_server import StorageServer

from pipeline.run import main
from transforms.checkpoints.files import content_hash

TEXTS = {
    "address": "My name is Ann Smith and I live at 12 Baker Street, London NW1 6XE.",
    "empty": "",
    "han": "東京 My name is Ann Smith and my email is bruce@example.org 東京",
    "mail": "My name is Emily Clark, and my email is jane.doe@example.com",
}


def jsonl(texts: dict[str, str]) -> bytes:
    return "".join(json.dumps({"id": name, "text": text}) + "\n" for name, text in texts.items()).encode()


def csv(texts: dict[str, str]) -> bytes:
    return "".join(f'"{name}","{text}"\n' for name, text in {"id": "text", **texts}.items()).encode()


def avro(texts: dict[str, str]) -> bytes:
    fields = [{"name": "id", "type": "string"}, {"name": "text", "type": "string"}]
    file = io.BytesIO()
    rows = [{"id": name, "text": text} for name, text in texts.items()]
    fastavro.writer(file, {"type": "record", "name": "Doc", "fields": fields}, rows)
    return file.getvalue()


def parquet(texts: dict[str, str]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), file)
    return file.getvalue()


def put(folder: str | Path, files: dict[str, bytes]) -> None:
    """Writes files into a folder, local or in a bucket."""
    for name, content in files.items():
        if isinstance(folder, Path):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        else:
            with FileSystems.create(f"{folder}/{name}", compression_type="uncompressed") as file:
                file.write(content)


def files_in(folder: str | Path) -> dict[str, bytes]:
    """All files below a folder, local or in a bucket, by name."""
    if isinstance(folder, Path):
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    paths = [file.path for file in FileSystems.match([f"{folder}/**"])[0].metadata_list]
    return {
        path.removeprefix(f"{folder}/"): FileSystems.open(path, compression_type="uncompressed").read()
        for path in paths
    }


def rows(files: dict[str, bytes], prefix: str) -> list[dict[str, Any]]:
    lines = [line for name, data in files.items() if name.startswith(prefix) for line in data.splitlines()]
    return sorted(map(json.loads, lines), key=lambda row: row.get("id", ""))


def run(folder: str | Path, source: str, output: str, *flags: str) -> None:
    assert main([f"--input={folder}/{source}", f"--output={folder}/{output}", *flags]) == 0


def assert_same(results: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Scores within 1e-3, all else equal."""

    def scores(rows: list[dict[str, Any]]) -> list[float]:
        return [entity["score"] for row in rows for entity in row["entities"]]

    def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "entities": [{**entity, "score": 0} for entity in row["entities"]]} for row in rows]

    assert bare(results) == bare(expected)
    assert scores(results) == pytest.approx(scores(expected), abs=1e-3)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the program finds in local files."""
    folder = tmp_path_factory.mktemp("local")
    put(folder, {"in.jsonl": jsonl(TEXTS)})
    run(folder, "in.jsonl", "out/x", "--aggregation_strategy=first", "--include_text")
    results = rows(files_in(folder), "out/x-0")
    assert [row["id"] for row in results] == sorted(TEXTS)
    assert sum(len(row["entities"]) for row in results) > 5
    return results


def test_the_program_as_a_process(bucket: str, storage_server: StorageServer, expected: list[dict[str, Any]]) -> None:
    """A glob over plain, compressed, empty and cut files; results and failures lie where the flags say."""
    first, second = ({name: TEXTS[name] for name in names} for names in (("address", "empty"), ("han", "mail")))
    cut = gzip.compress(jsonl({"lost": "x" * 1000}))[:-20]
    files = {"a.jsonl": jsonl(first) + b"\xff no json\n", "b.jsonl": b"", "c.jsonl.gz": gzip.compress(jsonl(second))}
    put(bucket, {**{f"in/{name}": content for name, content in files.items()}, "in/d.jsonl.gz": cut})
    put(bucket, {"in/deep/e.jsonl": jsonl({"not": "matched"})})
    flags = [
        f"--input={bucket}/in/*.jsonl*",
        f"--output={bucket}/out/x",
        f"--dead_letter={bucket}/lost/y",
        "--aggregation_strategy=first",
        "--include_text",
        "--num_shards=2",
        "--input_format=jsonl",
    ]
    command = [sys.executable, "-m", "services.run_program", *flags]
    result = subprocess.run(
        command, cwd=REPOSITORY, env=environment_of(storage_server), capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    written = {name: data for name, data in files_in(bucket).items() if not name.startswith("in/")}
    assert sorted(written) == [
        "lost/y-00000-of-00001.jsonl",
        "out/x-00000-of-00002.jsonl",
        "out/x-00001-of-00002.jsonl",
    ]
    assert_same(rows(written, "out/"), expected)
    failures = rows(written, "lost/")
    assert len(failures) == 2
    assert "the gzip stream ends early" in "".join(failure["errorMessage"] for failure in failures)
    assert f"{bucket}/lost/y-" in result.stdout


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl.bz2", bz2.compress(jsonl(TEXTS))),
        ("in.csv", csv(TEXTS)),
        ("in.csv.gz", gzip.compress(csv(TEXTS))),
        ("in.avro", avro(TEXTS)),
        ("in.parquet", parquet(TEXTS)),
    ],
)
def test_every_input_format(name: str, content: bytes, bucket: str, expected: list[dict[str, Any]]) -> None:
    put(bucket, {name: content})
    run(bucket, name, "out/x", "--aggregation_strategy=first", "--include_text")
    assert_same(rows(files_in(bucket), "out/x-0"), expected)


READERS: dict[str, Callable[[bytes], list[dict[str, Any]]]] = {
    ".jsonl.gz": lambda data: [json.loads(line) for line in gzip.decompress(data).splitlines()],
    ".avro": lambda data: list(fastavro.reader(io.BytesIO(data))),
    ".parquet": lambda data: pq.read_table(io.BytesIO(data)).to_pylist(),
}


@pytest.mark.parametrize("ending", READERS)
def test_every_output_format(ending: str, bucket: str, expected: list[dict[str, Any]]) -> None:
    put(bucket, {"in.jsonl": jsonl(TEXTS)})
    run(bucket, "in.jsonl", f"out/x{ending}", "--aggregation_strategy=first", "--include_text")
    files = files_in(f"{bucket}/out")
    assert sorted(files) == [f"x-00000-of-00001{ending}", "x-failures-00000-of-00001.jsonl"]
    results = READERS[ending](files[f"x-00000-of-00001{ending}"])
    assert_same(sorted(results, key=lambda row: row["id"]), expected)


@pytest.mark.parametrize("shards", [(3, 1), (1, 2)], ids=["fewer", "more"])
def test_a_second_run_leaves_only_its_own_files(shards: tuple[int, int], bucket: str) -> None:
    put(bucket, {"one.jsonl": jsonl(TEXTS) + b"no json\n", "two.jsonl": jsonl({"only": TEXTS["mail"]})})
    put(bucket, {"out/x-old-00000-of-00001.jsonl": b"of a neighbour"})
    run(bucket, "one.jsonl", "out/x", f"--num_shards={shards[0]}")
    run(bucket, "two.jsonl", "out/x", f"--num_shards={shards[1]}")
    files = files_in(f"{bucket}/out")
    own = [f"x-0000{number}-of-0000{shards[1]}.jsonl" for number in range(shards[1])]
    assert sorted(files) == [*own, "x-failures-00000-of-00001.jsonl", "x-old-00000-of-00001.jsonl"]
    assert [row["id"] for row in rows(files, "x-0")] == ["only"]
    assert files["x-failures-00000-of-00001.jsonl"] == b""


def test_a_file_of_several_shards(bucket: str, expected: list[dict[str, Any]]) -> None:
    lines = jsonl(TEXTS).splitlines(keepends=True)
    put(bucket, {"in.jsonl": (b"\n" * (3 << 20)).join(lines)})  # blank lines between, 9 MiB of them
    run(bucket, "in.jsonl", "out/x", "--aggregation_strategy=first", "--include_text")
    files = files_in(f"{bucket}/out")
    assert_same(rows(files, "x-0"), expected)
    assert files["x-failures-00000-of-00001.jsonl"] == b""


def test_a_model_in_a_bucket(
    bucket: str, checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "cache"))
    model = checkpoint("bert_cased")
    put(bucket, {f"model/{name}": content for name, content in files_in(model).items()})
    put(bucket, {"in.jsonl": jsonl(TEXTS)})
    put(tmp_path, {"in.jsonl": jsonl(TEXTS)})
    run(bucket, "in.jsonl", "out/x", "--aggregation_strategy=first", f"--model={bucket}/model")
    run(tmp_path, "in.jsonl", "out/x", "--aggregation_strategy=first", f"--model={model}")
    results, expected = (rows(files_in(folder), "out/x-0") for folder in (bucket, tmp_path))
    assert {row["model"] for row in results} == {f"{bucket}/model"}
    assert {row["model_revision"] for row in results} == {content_hash(model)}
    assert_same(results, [{**row, "model": f"{bucket}/model"} for row in expected])
    assert len(list((tmp_path / "cache" / "checkpoints").glob("*/model.safetensors"))) == 1


def test_a_damaged_model_is_told_in_one_sentence(
    bucket: str,
    storage_server: StorageServer,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "cache"))
    put(bucket, {f"model/{name}": content for name, content in files_in(checkpoint("bert_cased")).items()})
    put(bucket, {"in.jsonl": jsonl(TEXTS)})
    weights = storage_server.root / bucket.removeprefix("gs://") / "model" / "model.safetensors"
    with weights.open("r+b") as file:
        file.seek(-4, io.SEEK_END)
        file.write(b"beef")
    flags = [f"--input={bucket}/in.jsonl", f"--output={bucket}/out/x", f"--model={bucket}/model"]
    assert main(flags) == 2
    said = capsys.readouterr().err
    assert f"model='{bucket}/model': damaged: model.safetensors" in said
    assert said.count("\n") == 1
    assert files_in(f"{bucket}/out") == {}


@pytest.mark.parametrize(
    ("source", "output", "code", "message"),
    [
        (
            "gs://no-such-bucket/in.jsonl",
            "{bucket}/out/x",
            2,
            "--input='gs://no-such-bucket/in.jsonl': matches no file",
        ),
        ("{bucket}/nothing-*.jsonl", "{bucket}/out/x", 2, "--input='{bucket}/nothing-*.jsonl': matches no file"),
        ("{bucket}/in.jsonl", "gs://no-such-bucket/out/x", 1, "the run failed: "),
    ],
    ids=["no bucket", "no file", "no bucket for the output"],
)
def test_what_is_not_there_is_told(
    source: str, output: str, code: int, message: str, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(bucket, {"in.jsonl": jsonl(TEXTS)})
    assert main([f"--input={source.format(bucket=bucket)}", f"--output={output.format(bucket=bucket)}"]) == code
    error = capsys.readouterr().err
    assert error.startswith(f"beam-ner: error: {message.format(bucket=bucket)}")
    assert error.count("\n") == 1
    assert code == 2 or "no-such-bucket" in error
