"""Fields of the record that travel to the result, in every format."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import rows

from pipeline.io.fields import BadRecordError, Column, DocumentFields
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import read_shard
from pipeline.io.kept_fields import kept_fields, kept_values
from pipeline.run import main
from pipeline.schemas import KeptField
from transforms.beam.coders import DocumentCoder
from transforms.documents import Document, Failure

WHEN = datetime(2026, 11, 28, 4, 5, 6, 7, timezone.utc)
RECORDS: list[dict[str, Any]] = [
    {"id": "a", "text": "Ann Smith", "n": 7, "score": 0.5, "ok": True, "lang": "de", "more": {"tags": ["x"]}},
    {"id": "b", "text": "Ben", "n": None, "lang": "日本"},
]


def write_parquet(path: Path) -> None:
    table = pa.table(
        {
            "id": ["a", "b"],
            "text": ["Ann Smith", "Ben"],
            "n": pa.array([7, None], pa.int32()),
            "score": [0.5, float("nan")],
            "ok": [True, None],
            "raw": [b"\xff", None],
            "when": pa.array([WHEN, None], pa.timestamp("us", "UTC")),
            "price": pa.array([Decimal("12.50"), None]),
            "more": [{"lang": "de", "tags": ["x"]}, None],
        }
    )
    pq.write_table(table, path)


def run(source: Path, output: Path, *flags: str) -> None:
    assert main([f"--input={source}", f"--output={output}", *flags]) == 0


def test_json_to_json(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    run(tmp_path / "a.jsonl", tmp_path / "out/x", "--keep_fields=n, lang,more.tags")
    assert [row["fields"] for row in rows(tmp_path / "out")] == [
        {"n": 7, "lang": "de", "more.tags": ["x"]},
        {"n": None, "lang": "日本", "more.tags": None},
    ]
    run(tmp_path / "a.jsonl", tmp_path / "all/x", "--keep_fields=*")
    assert [row["fields"] for row in rows(tmp_path / "all")] == [
        {name: value for name, value in record.items() if name not in ("id", "text")} for record in RECORDS
    ]


def test_json_to_columns_that_are_strings(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, RECORDS)))
    run(tmp_path / "a.jsonl", tmp_path / "out/x.parquet", "--keep_fields=n,lang,more,more.tags")
    (path,) = (tmp_path / "out").glob("x-*.parquet")
    assert [row["fields"] for row in pq.read_table(path).to_pylist()] == [
        {"n": "7", "lang": "de", "more": '{"tags": ["x"]}', "more.tags": '["x"]'},
        {"n": None, "lang": "日本", "more": None, "more.tags": None},
    ]


EXPECTED = {"n": 7, "score": 0.5, "ok": True, "raw": b"\xff", "when": WHEN, "price": "12.50",
            "more": '{"lang": "de", "tags": ["x"]}'}  # fmt: skip


@pytest.mark.parametrize("ending", ["parquet", "avro"])
def test_types_are_kept_where_the_format_has_them(ending: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    run(tmp_path / "a.parquet", tmp_path / f"out/x.{ending}", "--keep_fields=*")
    (path,) = (tmp_path / "out").glob(f"x-0*.{ending}")
    if ending == "parquet":
        found = pq.read_table(path).to_pylist()
    else:
        with path.open("rb") as file:
            found = [record for record in fastavro.reader(file) if isinstance(record, dict)]
    first, second = (row["fields"] for row in found)
    assert first == EXPECTED
    assert second.pop("score") != second.get("score")  # NaN
    assert set(second.values()) == {None}


def test_types_become_json(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    run(tmp_path / "a.parquet", tmp_path / "out/x", "--keep_fields=*")
    first, second = (row["fields"] for row in rows(tmp_path / "out"))
    assert first == {**EXPECTED, "raw": "/w==", "when": WHEN.isoformat(), "more": {"lang": "de", "tags": ["x"]}}
    assert second["score"] == "nan"


def test_a_nested_field_of_parquet(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet")
    run(tmp_path / "a.parquet", tmp_path / "out/x.parquet", "--keep_fields=more.lang")
    (path,) = (tmp_path / "out").glob("x-*.parquet")
    assert [row["fields"] for row in pq.read_table(path).to_pylist()] == [{"more.lang": "de"}, {"more.lang": None}]


def test_csv_to_csv(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,Kunde Nr.\n1,Ann Smith lives in Rome,=7\n2,-,8\n")
    run(tmp_path / "a.csv", tmp_path / "out/x.csv", "--keep_fields=Kunde Nr.", "--aggregation_strategy=first")
    (path,) = (tmp_path / "out").glob("x-0*.csv")
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert {row["Kunde Nr."] for row in found} == {"'=7"}  # a formula is escaped here too


def test_a_record_whose_field_has_another_type_fails_alone(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "text": ["Ann", "Ben"], "n": [2**63 - 1, 1]})
    pq.write_table(table, tmp_path / "a.parquet")
    fields = DocumentFields(keep=(KeptField("n", "BOOLEAN", "n"),))
    for failure in read_shard(Shard(f"{tmp_path}/a.parquet"), "parquet", fields):
        assert isinstance(failure, Failure)
        assert failure.error.endswith("field 'n' contains int, which is not BOOLEAN, its type in the first file")


@pytest.mark.parametrize(
    ("value", "kind"), [(2**63, "INTEGER"), (True, "INTEGER"), ("x", "FLOAT"), (1, "BOOLEAN"), ("\ud800", "STRING")]
)
def test_values_that_do_not_fit(value: Any, kind: Any) -> None:
    with pytest.raises(BadRecordError) as error:
        kept_values({"n": value}, DocumentFields(keep=(KeptField("n", kind, "n"),)))
    assert "field 'n'" in str(error.value)


def test_fields_go_through_the_coder() -> None:
    document = Document("a", "x", fields={"n": 2**70, "b": [1.5, None, {"ü": "🙂"}]})
    assert DocumentCoder().decode(DocumentCoder().encode(document)) == document
    assert DocumentCoder().decode(DocumentCoder().encode(Document("a", "x"))) == Document("a", "x")


def test_columns_for_all_fields() -> None:
    columns = [Column("id", "STRING"), Column("body", "RECORD"), Column("body.text", "STRING"), Column("n", "INTEGER"),
               Column("to", "RECORD"), Column("to.name", "STRING"), Column("a-b", "BYTES")]  # fmt: skip
    found = kept_fields("*", columns, DocumentFields("body.text"), complete=True, naming="avro")
    assert found == (KeptField("n", "INTEGER", "n"), KeptField("to", "STRING", "to"), KeptField("a-b", "BYTES", "a_b"))


MISTAKES = {
    "unknown": ("a.csv", ["--keep_fields=x"], "--keep_fields='x': not a field of the input; expected names of its"),
    "twice": ("a.csv", ["--keep_fields=n,n"], "--keep_fields='n,n': 'n' is there 2 times; expected once"),
    "text": ("a.txt", ["--keep_fields=n"], "--keep_fields='n': texts have no fields; expected none for text"),
    "open": ("a.jsonl", ["--keep_fields=*", "--output_format=avro"], "--keep_fields='*': the fields of JSON are not"),
    "one column": ("a.csv", ["--keep_fields=a b,a-b", "--output_format=avro"], "'a-b': the same column a_b as 'a b'"),
    "a result's": ("a.csv", ["--keep_fields=word", "--output_format=csv"], "'word': also a column of the results"),
}


@pytest.mark.parametrize(("name", "flags", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(
    name: str, flags: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,text,n,a b,a-b,word\n")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}')
    assert main([f"--input={tmp_path}/{name}", f"--output={tmp_path}/out/x", *flags]) == 2
    assert sentence in capsys.readouterr().err


# Parquet's own troubles


def test_a_column_of_lists_is_seen_before_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"text": [["Ann"], ["Ben"]]}), tmp_path / "a.parquet")
    assert main([f"--input={tmp_path}/a.parquet", f"--output={tmp_path}/out/x"]) == 2
    problem = f"--text_field='text': the column of {tmp_path}/a.parquet is list<element: string>; expected strings"
    assert problem in capsys.readouterr().err


def test_a_column_of_lists_in_a_later_file_fails_row_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [["Ann"], ["Ben"]]}), tmp_path / "a.parquet")
    found = list(read_shard(Shard(f"{tmp_path}/a.parquet"), "parquet", DocumentFields()))
    assert [each.error.rpartition(": ")[2] for each in found if isinstance(each, Failure)] == [
        "field 'text' contains list, not a string"
    ] * 2


def test_values_for_which_python_has_no_form_are_shown_as_arrow_does(tmp_path: Path) -> None:
    times = pa.array([1_700_000_000_000_000_000, 1_700_000_000_000_000_001, None], pa.timestamp("ns"))
    days = pa.array([253_402_300_800_000, 1, 2], pa.timestamp("ms"))  # the first is in the year 10000
    for name, ids in (("ns", times), ("ms", days)):
        pq.write_table(pa.table({"id": ids, "text": ["Ann", "Ben", "Cleo"]}), tmp_path / f"{name}.parquet")
    outcomes = {
        name: list(read_shard(Shard(f"{tmp_path}/{name}.parquet"), "parquet", DocumentFields()))
        for name in ("ns", "ms")
    }
    ids = {name: [getattr(each, "id", None) for each in found] for name, found in outcomes.items()}
    assert ids["ns"] == ["2023-11-14 22:13:20", "2023-11-14 22:13:20.000000001", f"{tmp_path}/ns.parquet:2"]
    assert ids["ms"][1:] == ["1970-01-01 00:00:00.001000", "1970-01-01 00:00:00.002000"]
    assert str(ids["ms"][0]).startswith("10000-01-01")


def test_types_do_not_matter_in_json(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"id": ["a"], "text": ["Ann"], "n": [1], "u": pa.array([2**64 - 1], pa.uint64())}),
        tmp_path / "1.parquet",
    )
    pq.write_table(pa.table({"id": ["b", "c"], "text": ["Ben", "Cleo"], "n": ["x", None]}), tmp_path / "2.parquet")
    run(tmp_path / "*.parquet", tmp_path / "out/x", "--keep_fields=*")
    assert [row["fields"] for row in sorted(rows(tmp_path / "out"), key=lambda row: row["id"])] == [
        {"n": 1, "u": 2**64 - 1}, {"n": "x", "u": None}, {"n": None, "u": None}
    ]  # fmt: skip


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text,番号,,\n1,Ann,7,,\n")
    run(tmp_path / "a.csv", tmp_path / "out/x.parquet", "--keep_fields=*")
    (path,) = (tmp_path / "out").glob("x-*.parquet")
    assert [row["fields"] for row in pq.read_table(path).to_pylist()] == [{"番号": "7"}]


@pytest.mark.parametrize(
    ("naming", "column"), [("avro", "__a_b"), ("bigquery", "番号a_b"), ("parquet", "番号a b"), ("json", "番号a b")]
)
def test_names_of_columns(naming: Any, column: str) -> None:
    (field,) = kept_fields("番号a b", [Column("番号a b")], DocumentFields(), complete=True, naming=naming)
    assert field.column == column
