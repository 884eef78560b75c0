"""Results and failures to files: what the plain libraries read back is what was written."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import fastavro
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checks.input_files import guess_input_format
from pipeline.io.fields import DocumentFields
from pipeline.io.files.formats.csv import csv_line, entity_lines, escape_formula
from pipeline.io.files.formats.jsonl import failure_line, result_line
from pipeline.io.files.matching import Shard
from pipeline.io.files.names import guess_output_format, output_files, written_files
from pipeline.io.files.read import read_shard
from pipeline.io.files.write import OUTPUT_FORMATS, WriteFailures, WriteResults
from pipeline.io.records import json_line
from pipeline.schemas import arrow_schema, csv_columns, result_fields, result_row
from transforms.documents import Document, DocumentEntities, Entity, Failure

SECURITY = Path(__file__).parents[2] / "SECURITY.md"


def results(strategy: str) -> list[DocumentEntities]:
    index = 3 if strategy == "none" else None
    rich = (
        Entity("PER", 0.123456789012345, "zoë ##🙂", 0, 5, 'Zoë "🙂"\r\n', index),
        Entity("ORG", 1.0, "a,b", None, None, None, index),
    )
    return [
        DocumentEntities(Document("d1", "Zoë 🙂\u2028\n x"), rich, 7, 2, False, "m", "rev", strategy),
        DocumentEntities(Document("ü/2", ""), (), 0, 1, True, "m", "", strategy),
        DocumentEntities(Document("d1", "a duplicate id"), rich[:1], 7, 1, False, "m", "rev", strategy),
    ]


def write(output: Path | str, output_format: str, strategy: str, include_text: bool, **options: Any) -> None:
    with beam.Pipeline() as pipeline:
        _ = (
            pipeline
            | beam.Create(results(strategy))
            | WriteResults(str(output), output_format, strategy, include_text, **options)
        )


def by_id(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: (row["id"], row["num_windows"]))


# Names


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("out/entities", "jsonl"),
        ("out/x.jsonl.gz", "jsonl"),
        ("x.ndjson", "jsonl"),
        ("gs://b/x.CSV", "csv"),
        ("x.csv.zst", "csv"),
        ("x.avro", "avro"),
        ("x.parquet", "parquet"),
        ("x.pq", "parquet"),
        ("x.txt", "jsonl"),
        ("a.csv/x", "jsonl"),
    ],
)
def test_format_by_ending(path: str, expected: str) -> None:
    assert guess_output_format(path) == expected


@pytest.mark.parametrize(
    ("output", "output_format", "expected"),
    [
        ("out/entities", "jsonl", ("out/entities", ".jsonl")),
        ("out/entities", "csv", ("out/entities", ".csv")),
        ("out/entities", "avro", ("out/entities", ".avro")),
        ("out/entities", "parquet", ("out/entities", ".parquet")),
        ("out/x.jsonl", "jsonl", ("out/x", ".jsonl")),
        ("out/x.JSON.GZ", "jsonl", ("out/x", ".JSON.GZ")),
        ("gs://b/x.csv.xz", "csv", ("gs://b/x", ".csv.xz")),
        ("x.pq", "parquet", ("x", ".pq")),
        # The ending of another format is part of the name.
        ("x.csv", "jsonl", ("x.csv", ".jsonl")),
        ("v1.2/x", "jsonl", ("v1.2/x", ".jsonl")),
    ],
)
def test_prefix_and_suffix(output: str, output_format: str, expected: tuple[str, str]) -> None:
    assert output_files(output, output_format) == expected


@pytest.mark.parametrize(
    ("output", "output_format", "error"),
    [
        ("out/", "jsonl", "no name of a file; expected one at the end"),
        ("", "jsonl", "no name of a file; expected one at the end"),
        ("out/.jsonl", "jsonl", "no name of a file; expected one at the end"),
        ("out/x*", "jsonl", "contains a wildcard; expected none of"),
        ("out[1]/x", "csv", "contains a wildcard; expected none of"),
        ("x.avro.gz", "avro", "expected no .gz"),
        ("x.parquet.zst", "parquet", "expected no .zst"),
    ],
)
def test_names_that_beam_cannot_write_are_refused(output: str, output_format: str, error: str) -> None:
    with pytest.raises(ValueError, match=error) as refusal:
        WriteResults(output, output_format, "first", False)
    assert str(refusal.value).startswith(f"output={output}: ")


def test_the_dead_letters_refusal_names_its_own_flag() -> None:
    with pytest.raises(ValueError, match=r"^dead_letter=out/: no name of a file; expected one"):
        WriteFailures("out/")


def test_an_unknown_format_and_a_csv_with_texts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^output_format=xml: unknown; expected one of jsonl, csv, avro, parquet"):
        WriteResults("x", "xml", "first", False)
    with pytest.raises(ValueError, match=r"^include_text: "):
        WriteResults("x", "csv", "first", True)


# Lines


def test_json_lines_are_in_their_own_script_and_finite() -> None:
    line = result_line(results("first")[0], True)
    assert "Zoë 🙂" in line
    assert "\n" not in line
    assert list(json.loads(line)) == [field.name for field in result_fields("first", True)]
    with pytest.raises(ValueError, match="JSON"):
        json_line({"score": float("nan")})


def test_failure_lines_take_any_bytes() -> None:
    row = json.loads(failure_line(Failure(b"caf\xe9\n", "bad \ud800", "parse", {"source": "f"}, "at", 0.25)))
    assert row == {
        "timestamp": "1970-01-01T00:00:00.250000+00:00",
        "payloadString": "caf\ufffd\n",
        "payloadBytes": base64.b64encode(b"caf\xe9\n").decode(),
        "attributes": [{"key": "source", "value": "f"}],
        "errorMessage": "bad ?",
        "stacktrace": "at",
        "stage": "parse",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("=cmd()", "'=cmd()"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@sum", "'@sum"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("a=b", "a=b"),
        (" =1", " =1"),
        ("\nx", "'\nx"),
        ("＝1＋1", "'＝1＋1"),
        ("'=1", "''=1"),
        ("''-x", "'''-x"),
        ("'tis", "'tis"),
        ("", ""),
        (None, None),
        (-1, -1),
        (-0.5, -0.5),
    ],
)
def test_formulas_are_escaped_in_strings_only(value: Any, expected: Any) -> None:
    assert escape_formula(value) == expected


@given(st.lists(st.sampled_from("'=+-@\t\r\n＝a"), max_size=6).map("".join))
def test_an_escaped_formula_can_be_read_back_as_documented(text: str) -> None:
    escaped = escape_formula(text)
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    names: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?)```", SECURITY.read_text("utf-8"), re.DOTALL)
    exec(code, names)
    assert names["unescape"](escaped) == text


def test_formulas_are_escaped_in_every_string_of_a_row_unless_told_not_to() -> None:
    entity = Entity("=L", 0.5, "-word", 0, 5, "@text")
    result = DocumentEntities(Document("+id", ""), (entity,), 1, 1, False, "=m", "-r", "first")
    assert list(entity_lines(result, True)) == ["'+id,'=L,0.5,'-word,'@text,0,5,'=m,'-r"]
    assert list(entity_lines(result, False)) == ["+id,=L,0.5,-word,@text,0,5,=m,-r"]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('",\r\n')),
        min_size=2,
    )
)
def test_csv_lines_are_read_back(values: list[str]) -> None:
    assert list(csv.reader(io.StringIO(csv_line(values) + "\n", newline=""), strict=True)) == [values]


# Files


def read_jsonl(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def read_avro(path: Path) -> list[dict]:
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        assert reader.codec == "deflate"
        return list(reader)


def read_parquet(path: Path) -> list[dict]:
    table = pq.ParquetFile(path)
    assert table.metadata.num_row_groups == 0 or table.metadata.row_group(0).column(0).compression == "SNAPPY"
    return table.read().to_pylist()


@pytest.mark.parametrize("strategy", ["none", "first"])
@pytest.mark.parametrize("include_text", [False, True])
@pytest.mark.parametrize(
    ("output_format", "reader"), [("jsonl", read_jsonl), ("avro", read_avro), ("parquet", read_parquet)]
)
def test_results_are_read_back(
    tmp_path: Path, output_format: str, reader: Callable[[Path], list[dict]], include_text: bool, strategy: str
) -> None:
    write(tmp_path / "new" / "entities", output_format, strategy, include_text)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name == f"entities-00000-of-00001.{output_format}"
    expected = [result_row(result, include_text) for result in results(strategy)]
    assert by_id(reader(path)) == by_id(expected)
    assert [list(row) for row in reader(path)] == [list(expected[0])] * 3


def test_parquet_files_have_the_schema(tmp_path: Path) -> None:
    write(tmp_path / "x.parquet", "parquet", "none", True)
    (path,) = tmp_path.iterdir()
    assert pq.read_schema(path).equals(arrow_schema(result_fields("none", True)))


@pytest.mark.parametrize("strategy", ["none", "first"])
def test_csv_has_one_row_an_entity(tmp_path: Path, strategy: str) -> None:
    write(tmp_path / "x.csv", "csv", strategy, False)
    path = tmp_path / "x-00000-of-00001.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, strict=True))
    assert tuple(rows[0]) == csv_columns(strategy)
    label = "entity" if strategy == "none" else "entity_group"
    index = {"index": "3"} if strategy == "none" else {}
    person = {
        "id": "d1",
        label: "PER",
        "score": "0.123456789012345",
        "word": "zoë ##🙂",
        "text": 'Zoë "🙂"\r\n',
        "start": "0",
        "end": "5",
        **index,
        "model": "m",
        "model_revision": "rev",
    }
    company = {**person, label: "ORG", "score": "1.0", "word": "a,b", "text": "", "start": "", "end": ""}
    assert sorted(rows, key=lambda row: row[label]) == [company, person, person]


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.bz2", ".jsonl.xz", ".jsonl.zst", ".csv.gz"])
def test_compressed_files_are_whole_and_are_read_as_sources(tmp_path: Path, ending: str) -> None:
    output = f"{tmp_path}/x{ending}"
    output_format = guess_output_format(output)
    write(output, output_format, "first", output_format == "jsonl")
    path = tmp_path / f"x-00000-of-00001{ending}"
    outcomes = list(read_shard(Shard(str(path)), guess_input_format(str(path)), DocumentFields()))
    assert len(outcomes) == 3
    assert all(isinstance(outcome, Document) for outcome in outcomes)
    if ending.endswith(".gz"):
        assert gzip.decompress(path.read_bytes()).count(b"d1") >= 2


@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_no_results_give_one_valid_file(tmp_path: Path, output_format: str) -> None:
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([]) | WriteResults(f"{tmp_path}/x", output_format, "first", False)
    path = tmp_path / f"x-00000-of-00001.{output_format}"
    if output_format == "jsonl":
        assert path.read_bytes() == b""
    elif output_format == "csv":
        assert path.read_text() == ",".join(csv_columns("first")) + "\n"
    else:
        assert (read_avro if output_format == "avro" else read_parquet)(path) == []


def test_the_number_of_shards_can_be_given(tmp_path: Path) -> None:
    write(tmp_path / "x", "csv", "first", False, num_shards=3)
    header = ",".join(csv_columns("first"))
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"x-0000{number}-of-00003.csv" for number in range(3)]
    assert all(path.read_text("utf-8").startswith(header) for path in tmp_path.iterdir())


def test_a_name_without_a_folder_and_a_second_run_of_the_same_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Local checksums are sizes: Beam must not take the old file for the new one.
    monkeypatch.chdir(tmp_path)
    for name in ("old", "new"):
        result = DocumentEntities(Document(name, ""), (), 1, 1, False, "m", "r", "first")
        with beam.Pipeline() as pipeline:
            _ = pipeline | beam.Create([result]) | WriteResults("x", "jsonl", "first", False)
    assert [path.name for path in tmp_path.iterdir()] == ["x-00000-of-00001.jsonl"]
    assert [row["id"] for row in read_jsonl(tmp_path / "x-00000-of-00001.jsonl")] == ["new"]


def test_failures_are_written_as_json_lines(tmp_path: Path) -> None:
    failures = [
        Failure(b"caf\xe9", "f:0: byte 3 of the line is not UTF-8", "parse", {"source": "f"}, "", 1.0),
        Failure(b"", "f: no file matches", "read", timestamp=2.0),
    ]
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(failures) | WriteFailures(f"{tmp_path}/dead/letters")
    rows = read_jsonl(tmp_path / "dead" / "letters-00000-of-00001.jsonl")
    assert sorted((row["stage"], base64.b64decode(row["payloadBytes"])) for row in rows) == [
        ("parse", b"caf\xe9"),
        ("read", b""),
    ]


# What an earlier run left


def test_written_files_are_the_shards_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = ["x-00000-of-00002.jsonl", "x-00001-of-00002.jsonl", "x-123456-of-200000.jsonl"]
    others = [
        "x-00000-of-00002.csv",
        "x-00000-of-00002.jsonl.gz",
        "x-0-of-1.jsonl",
        "x-y-00000-of-00002.jsonl",
        "xx-00000-of-00002.jsonl",
        "x.jsonl",
        "x-notes-of-today.jsonl",
    ]
    for name in (*old, *others):
        (tmp_path / name).write_text("")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / old[0]).write_text("")

    assert written_files(f"{tmp_path}/x", ".jsonl") == [f"{tmp_path}/{name}" for name in old]
    assert written_files(f"{tmp_path}/nowhere/x", ".jsonl") == []
    monkeypatch.chdir(tmp_path)
    assert written_files("x", ".jsonl") == [f"./{name}" for name in old]
