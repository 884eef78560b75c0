"""Small files that expand to much: one failure, no more memory than the bound, and reading goes on behind it."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import tracemalloc
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.io import records
from pipeline.io.fields import DocumentFields
from pipeline.io.files import lines
from pipeline.io.files.formats import csv_rows
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import read_shard
from transforms.documents import Document, Failure

BOUND = 1_000_000
BOMB = 64_000_000
# The bound, twice while a line is put together, and what is unpacked at a time, which of zstd is some megabytes.
MOST_MEMORY = 2 * BOUND + 20_000_000

GOOD = {
    "text": (b"Ann\n", b"Bob\n"),
    "jsonl": (b'{"text": "Ann"}\n', b'{"text": "Bob"}\n'),
    "csv": (b"text\nAnn\n", b"Bob\n"),
}
COMPRESSORS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.compressobj(9, zlib.DEFLATED, 31),
    ".bz2": bz2.BZ2Compressor,
    ".xz": lambda: lzma.LZMACompressor(preset=0),
    ".zst": lambda: zstandard.ZstdCompressor().compressobj(),
}


@pytest.fixture(autouse=True)
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (lines, csv_rows):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", BOUND)


def packed(pieces: Iterable[bytes], ending: str) -> bytes:
    compressor = COMPRESSORS[ending]()
    return b"".join([*map(compressor.compress, pieces), compressor.flush()])


def zeros(size: int) -> Iterator[bytes]:
    return (b"\0" * 1_000_000 for _ in range(size // 1_000_000))


def outcomes_and_memory(path: Path, input_format: str) -> tuple[list[Document | Failure], int]:
    tracemalloc.start()
    try:
        outcomes = list(read_shard(Shard(str(path)), input_format, DocumentFields()))
        return outcomes, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("ending", COMPRESSORS)
@pytest.mark.parametrize("input_format", GOOD)
def test_an_endless_line_is_one_failure(tmp_path: Path, input_format: str, ending: str) -> None:
    first, last = GOOD[input_format]
    path = tmp_path / f"a.{input_format}{ending}"
    path.write_bytes(packed([first, *zeros(BOMB), b"\n" + last], ending))
    assert path.stat().st_size < BOMB / 500
    outcomes, memory = outcomes_and_memory(path, input_format)
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Document)] == ["Ann", "Bob"]
    (failure,) = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert failure.error.startswith(f"{path}:{len(first)}: the ")
    assert failure.error.endswith(f"a line of more than {BOUND} bytes, which are not read") or failure.error.endswith(
        f"the line has more than {BOUND} bytes, which are not read"
    )
    assert (failure.attributes, failure.payload) == ({"source": str(path)}, b"")
    assert memory < MOST_MEMORY


def test_a_bomb_at_the_end_and_one_of_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * (BOUND - 1) + b"\n" + b"y" * BOUND + b"\n" + b"z" * (BOUND + 1))
    outcomes, _ = outcomes_and_memory(path, "text")
    fine, *failures = outcomes
    assert isinstance(fine, Document)
    assert len(fine.text) == BOUND - 1
    assert [outcome.error.split(":")[1] for outcome in failures if isinstance(outcome, Failure)] == [
        str(BOUND),
        str(2 * BOUND + 1),
    ]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(b'"x\n",' * 250_000, id="quotes that close, in a record that never ends"),
        pytest.param(b'"' + b"x\n" * 600_000, id="a quote that never closes"),
    ],
)
def test_a_record_of_csv_that_never_ends(tmp_path: Path, record: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text\nAnn\n" + record)
    tracemalloc.start()
    outcomes = read_shard(Shard(str(path)), "csv", DocumentFields())
    first, failure = next(outcomes), next(outcomes)
    assert tracemalloc.get_traced_memory()[1] < 30 * BOUND
    tracemalloc.stop()
    assert isinstance(first, Document)
    assert isinstance(failure, Failure)
    assert failure.error == f"{path}:9: the record has more than {BOUND} bytes"
    assert BOUND < len(failure.payload) < BOUND + 10
    # Behind it, the next record begins at the next line; nothing is passed over.
    rest = b"".join(outcome.payload for outcome in outcomes)
    assert failure.payload + rest == record


@pytest.mark.parametrize(
    ("input_format", "module", "record", "error"),
    [
        ("jsonl", records, b'{"text": [' + b"[]," * 200 + b"[]]}\n", "the line's JSON may have more than 100 values"),
        ("jsonl", records, b'{"text": {' + b'"a":{},' * 200 + b'"b":1}}\n', "the line's JSON may have more than"),
        ("csv", csv_rows, b"a," * 200 + b"a\n", "the record may have more than 100 fields"),
    ],
)
def test_a_record_of_countless_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, input_format: str, module: Any, record: bytes, error: str
) -> None:
    monkeypatch.setattr(module, "MAX_RECORD_VALUES", 100)
    first, last = GOOD[input_format]
    path = tmp_path / "a"
    path.write_bytes(first + record + last)
    outcomes, _ = outcomes_and_memory(path, input_format)
    assert [type(outcome) for outcome in outcomes] == [Document, Failure, Document]
    failure = outcomes[1]
    assert isinstance(failure, Failure)
    assert failure.error.startswith(f"{path}:{len(first)}: {error}")
    assert failure.payload.strip() == record.strip()


def avro(fields: list[Any], records: list[Any], codec: str = "null") -> bytes:
    """An Avro file of one block; fastavro itself writes no zstandard without another package."""
    schema = {"type": "record", "name": "R", "fields": fields}
    file = io.BytesIO()
    if codec != "zstandard":
        fastavro.writer(file, schema, records, codec=codec, sync_interval=2 * BOMB)
        return file.getvalue()
    header = {
        "type": "record",
        "name": "Header",
        "fields": [
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": 16}},
        ],
    }
    block = io.BytesIO()
    for record in records:
        fastavro.schemaless_writer(block, schema, record)
    meta = {"avro.codec": codec.encode(), "avro.schema": json.dumps(schema).encode()}
    file.write(b"Obj\x01")
    fastavro.schemaless_writer(file, header, {"meta": meta, "sync": b"0123456789abcdef"})
    fastavro.schemaless_writer(file, "long", len(records))
    fastavro.schemaless_writer(file, "bytes", zstandard.compress(block.getvalue()))
    file.write(b"0123456789abcdef")
    return file.getvalue()


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz", "zstandard"])
def test_a_block_of_avro_that_expands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str) -> None:
    monkeypatch.setattr("pipeline.io.files.formats.avro_blocks.MAX_RECORD_BYTES", BOUND)
    text = [{"name": "text", "type": "string"}]
    path = tmp_path / "a.avro"
    path.write_bytes(avro(text, [{"text": "Ann"}], codec))
    assert [type(outcome) for outcome in outcomes_and_memory(path, "avro")[0]] == [Document]
    path.write_bytes(avro(text, [{"text": "\0" * BOMB}], codec))
    (failure,), memory = outcomes_and_memory(path, "avro")
    assert isinstance(failure, Failure)
    assert failure.error == (
        f"{path}: reading stopped after 0 records: a block has more than {BOUND} bytes once it is decompressed"
    )
    assert memory < MOST_MEMORY


_NOTHING = {"type": "record", "name": "Nothing", "fields": [{"name": "x", "type": "null"}]}


@pytest.mark.parametrize(
    ("fields", "record", "error"),
    [
        ([{"name": "text", "type": "null"}], {"text": None}, "the records take no bytes"),
        *(
            (
                [{"name": "text", "type": "string"}, {"name": "more", "type": more}],
                {"text": "Ann", "more": value},
                "the schema has lists of values that take no bytes",
            )
            for more, value in [
                ({"type": "array", "items": "null"}, [None]),
                (["null", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}], [b""]),
                ({"type": "map", "values": {"type": "array", "items": _NOTHING}}, {"a": [{"x": None}]}),
                (
                    {
                        "type": "record",
                        "name": "Both",
                        "fields": [
                            {"name": "one", "type": _NOTHING},
                            {"name": "list", "type": {"type": "array", "items": "Nothing"}},
                        ],
                    },
                    {"one": {"x": None}, "list": [{"x": None}]},
                ),
            ]
        ),
    ],
)
def test_lists_of_avro_whose_values_take_no_bytes(
    tmp_path: Path, fields: list[Any], record: dict[str, Any], error: str
) -> None:
    path = tmp_path / "a.avro"
    path.write_bytes(avro(fields, [record], "null"))
    (failure,), _ = outcomes_and_memory(path, "avro")
    assert isinstance(failure, Failure)
    assert failure.error == f"{path}: reading stopped after 0 records: {error}"


def test_other_lists_of_avro_are_read(tmp_path: Path) -> None:
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "branches", "type": {"type": "array", "items": ["null", "Tree"]}}],
    }
    path = tmp_path / "a.avro"
    more = {"branches": [None, {"branches": []}]}
    path.write_bytes(
        avro(
            [{"name": "text", "type": "string"}, {"name": "more", "type": tree}],
            [{"text": "Ann", "more": more}],
            "null",
        )
    )
    (document,), _ = outcomes_and_memory(path, "avro")
    assert isinstance(document, Document)
    assert json.loads(document.payload) == {"text": "Ann", "more": more}


def test_a_long_text_of_parquet_that_stands_there_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.io.files.formats.parquet._BATCH_BYTES", BOUND)
    path = tmp_path / "a.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 300 + [None, 1], pa.int32()), ["x" * BOUND, "Ann"])
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", store_schema=False)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    lengths = []
    for outcome in read_shard(Shard(str(path)), "parquet", DocumentFields()):
        lengths.append(len(outcome.text) if isinstance(outcome, Document) else None)
        assert pa.total_allocated_bytes() - before < MOST_MEMORY
    assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    tracemalloc.stop()
    assert lengths == [BOUND] * 300 + [None, 3]
