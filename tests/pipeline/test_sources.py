"""Files to documents: whatever is in them comes out once, as a document or as a failure."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import apache_beam as beam
import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pipeline.checks.input_files import check_fields, guess_input_format
from pipeline.io.compression import COMPRESSION_ENDINGS, decompress
from pipeline.io.fields import DocumentFields
from pipeline.io.files import lines as lines_module
from pipeline.io.files.content import binary_format_of, compression_of, encoding_of
from pipeline.io.files.formats import avro_blocks, csv_rows
from pipeline.io.files.formats.registry import INPUT_FORMATS, peek_columns
from pipeline.io.files.lines import shard_lines, split_lines
from pipeline.io.files.matching import Shard, match_files, read_blocks, split_file, unmatched_by_beam
from pipeline.io.files.read import ReadDocuments, find_shards, read_shard
from pipeline.io.records import UnreadableError
from transforms.documents import Document, Failure

FIELDS = DocumentFields()


def read(path: Path, input_format: str, fields: DocumentFields = FIELDS) -> tuple[list[Document], list[Failure]]:
    """What a whole file gives, with the path's folder cut from ids and sentences."""
    outcomes = list(read_shard(Shard(str(path)), input_format, fields))
    documents = [outcome for outcome in outcomes if isinstance(outcome, Document)]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    assert len(documents) + len(failures) == len(outcomes)
    assert all(document.attributes == {"source": str(path)} for document in documents)
    assert all(failure.attributes["source"] == str(path) for failure in failures)
    return documents, failures


def ids_and_texts(documents: list[Document], path: Path) -> list[tuple[str, str]]:
    return [(document.id.replace(str(path), "F"), document.text) for document in documents]


def errors(failures: list[Failure], path: Path) -> list[tuple[str, str, bytes]]:
    return [(failure.stage, failure.error.replace(str(path), "F"), failure.payload) for failure in failures]


# Names of formats


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.txt", "text"),
        ("logs/a.LOG.gz", "text"),
        ("tickets/*.jsonl.gz", "jsonl"),
        ("gs://b/x-*.jsonl.gz", "jsonl"),
        ("x.ndjson.zst", "jsonl"),
        ("x.json", "jsonl"),
        ("x.csv.bz2", "csv"),
        ("x.csv.xz", "csv"),
        ("x.avro", "avro"),
        ("x.parquet", "parquet"),
        ("part-?.pq", "parquet"),
    ],
)
def test_format_by_ending(path: str, expected: str) -> None:
    assert guess_input_format(path) == expected


@pytest.mark.parametrize("path", ["x", "x.gz", "tickets/*", "x.avro.gz", "x.parquet.zst", "x.jsonl.zip", "jsonl", ""])
def test_unknown_endings_are_refused_with_the_known_ones(path: str) -> None:
    with pytest.raises(ValueError, match=r"--input_format") as refusal:
        guess_input_format(path)
    assert all(
        name in str(refusal.value) for name in (*(set(INPUT_FORMATS) - {"whole_text"}), ".ndjson", ".pq", ".zst")
    )


# Matching


def test_patterns_match_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.txt", "a.txt", "c.csv", "one[1].txt"):
        (tmp_path / name).write_text("x\n")
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "d.txt").write_text("x\n")

    def matched(pattern: str) -> list[str]:
        return [file.path for file in match_files(pattern)]

    monkeypatch.chdir(tmp_path)
    assert matched("*.txt") == ["./a.txt", "./b.txt", "./one[1].txt"]
    assert matched("a.txt") == ["a.txt"]
    assert matched(f"{tmp_path}/?.txt") == [f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"]
    assert f"{tmp_path}/deeper/d.txt" in matched(f"{tmp_path}/**.txt")
    assert matched(f"{tmp_path}/one[1].txt") == [f"{tmp_path}/one[1].txt"]
    assert matched(f"{tmp_path}/none-*.txt") == []
    assert matched(f"{tmp_path}/nowhere/*.txt") == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["link.jsonl", "part.jsonl"]),
        ("**.jsonl", ["link.jsonl"]),  # what is in the folder is read
        ("*", ["link.jsonl", "part.jsonl"]),  # of the folders only that which is named as a file
        ("l*", ["link.jsonl"]),
        ("?ink.jsonl", ["link.jsonl"]),
        ("link.jsonl", []),  # which matches no file
        ("*.csv", []),
    ],
)
def test_what_only_looks_like_a_file(
    pattern: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("part.jsonl", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "part.jsonl" / "x.jsonl").write_text("{}\n")
    (tmp_path / "link.jsonl").symlink_to("nowhere")
    assert [
        path.removeprefix(f"{tmp_path}/") for path, _ in unmatched_by_beam(f"{tmp_path}/{pattern}", (".jsonl",))
    ] == expected
    monkeypatch.chdir(tmp_path)
    assert [path for path, _ in unmatched_by_beam(pattern, (".jsonl",))] == [f"./{name}" for name in expected]


def test_a_pattern_without_files_is_one_failure(tmp_path: Path) -> None:
    (failure,) = find_shards(f"{tmp_path}/*.txt", "text")
    assert isinstance(failure, Failure)
    assert (failure.stage, failure.error) == ("read", f"{tmp_path}/*.txt: no file matches")


@pytest.mark.parametrize(
    ("name", "input_format", "shards"),
    [
        ("a.txt", "text", 3),
        ("a.jsonl", "jsonl", 3),
        ("a.csv", "csv", 1),
        ("a.txt.gz", "text", 1),
        ("a.jsonl.zst", "jsonl", 1),
        ("a.avro", "avro", 3),
        ("a.parquet", "parquet", 3),
    ],
)
def test_which_files_are_split(tmp_path: Path, name: str, input_format: str, shards: int) -> None:
    path = tmp_path / name
    path.write_bytes(b"x" * 25)
    assert len(list(find_shards(str(path), input_format, shard_bytes=10))) == shards


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 95])
def test_shards_cover_a_file_once(size: int) -> None:
    shards = split_file("f", size, 10)
    assert shards[0].start == 0
    assert shards[-1].end is None
    assert [shard.end for shard in shards[:-1]] == [shard.start for shard in shards[1:]]


# Lines


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [("F:0", "")]),
        (b"\r\n", [("F:0", "")]),
        (b"\n\n", [("F:0", ""), ("F:1", "")]),
        (b"one", [("F:0", "one")]),
        (b"one\n", [("F:0", "one")]),
        (b"one\n\ntwo", [("F:0", "one"), ("F:4", ""), ("F:5", "two")]),
        (b"one\r\ntwo\r\n", [("F:0", "one"), ("F:5", "two")]),
        # A lone CR, a form feed and Unicode's line separators end no line.
        (b"a\rb\n", [("F:0", "a\rb")]),
        (b"a\r", [("F:0", "a\r")]),
        (b"a\x0cb\xe2\x80\xa8c\xc2\x85d\n", [("F:0", "a\x0cb\u2028c\x85d")]),
        # The byte order mark is no text, but counts as bytes; elsewhere it is text.
        (b"\xef\xbb\xbfone\ntwo\n", [("F:0", "one"), ("F:7", "two")]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\n", [("F:0", "")]),
        (b"a\n\xef\xbb\xbfb\n", [("F:0", "a"), ("F:2", "\ufeffb")]),
        ("Zoë 🙂\n漢字\n".encode(), [("F:0", "Zoë 🙂"), ("F:10", "漢字")]),
        (b"a\x00b\n", [("F:0", "a\x00b")]),
        (b"  \t\n", [("F:0", "  \t")]),
    ],
)
def test_text_lines(tmp_path: Path, content: bytes, expected: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    documents, failures = read(path, "text")
    assert ids_and_texts(documents, path) == expected
    assert failures == []


def test_a_line_that_is_not_utf8_fails_alone_with_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ncaf\xe9 secret\r\ntwo\n")
    documents, failures = read(path, "text")
    assert ids_and_texts(documents, path) == [("F:0", "one"), ("F:17", "two")]
    assert errors(failures, path) == [("parse", "F:4: byte 3 of the line is not UTF-8", b"caf\xe9 secret")]
    assert failures[0].attributes["id"] == f"{path}:4"


def sharded(path: Path, shard_bytes: int) -> list[tuple[int, bytes]]:
    return [line for shard in split_file(str(path), path.stat().st_size, shard_bytes) for line in shard_lines(shard)]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.just(b"\xef\xbb\xbf") | st.binary(max_size=12).map(lambda line: line.replace(b"\n", b""))),
    last=st.sampled_from([b"", b"\n"]),
    shard_bytes=st.integers(1, 40),
    bom=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_any_shards_give_each_line_once(
    tmp_path: Path, lines: list[bytes], last: bytes, shard_bytes: int, bom: bytes
) -> None:
    content = bom + b"\n".join(lines) + last
    assume(
        compression_of("a.txt", content) is None and encoding_of(content) == "utf-8" and not binary_format_of(content)
    )
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    expected, offset = [], 0
    for line in content.split(b"\n"):
        expected.append((offset, line if offset else line.removeprefix(b"\xef\xbb\xbf")))
        offset += len(line) + 1
    if not expected[-1][1]:
        expected.pop()  # what follows the last LF is no line unless there is something
    assert [(offset, line.removesuffix(b"\n")) for offset, line in sharded(path, shard_bytes)] == expected


@given(content=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_blocks_of_any_size_give_the_same_lines(content: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    blocks = [content[start:end] for start, end in pairwise(edges)]
    assert list(split_lines(blocks)) == list(split_lines([content]))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all blocks that are read for lines."""
    sizes: list[int] = []

    def counted(path: str, start: int = 0, encoding: str | None = None) -> Iterator[bytes]:
        for block in read_blocks(path, start, encoding):
            sizes.append(len(block))
            yield block

    monkeypatch.setattr(lines_module, "read_blocks", counted)
    return sizes


@pytest.mark.parametrize("shard_bytes", [64 * 1024 * 1024, 1024 * 1024])
def test_a_long_line_takes_linear_time(
    tmp_path: Path, shard_bytes: int, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the bytes that are read and put together: all shards' together are no more than a few times the file's."""
    path = tmp_path / "a.txt"
    size = path.write_bytes(b"first\n" + b"x" * 60_000_000 + b"\nlast\n")
    joined: list[int] = []

    def noted(pieces: list[bytes], *rest: int) -> bytes | None:
        joined.append(sum(map(len, pieces)))
        return line_of(pieces, *rest)

    line_of = lines_module._line
    monkeypatch.setattr(lines_module, "_line", noted)
    found = sharded(path, shard_bytes)
    assert [(offset, len(line)) for offset, line in found] == [(0, 6), (6, 60_000_001), (60_000_007, 5)]
    assert sum(taken) <= 4 * size
    assert sum(joined) == size


def test_a_shard_within_a_long_line_reads_no_further_than_its_end(tmp_path: Path, taken: list[int]) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 10_000_000)
    assert list(shard_lines(Shard(str(path), 1_000_000, 2_000_000))) == []
    assert sum(taken) <= 2 * 1024 * 1024


# Compression


def several_frames(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor()
    half = len(data) // 2
    return compressor.compress(data[:half]) + compressor.compress(data[half:])


def several_members(data: bytes) -> bytes:
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:])


COMPRESSORS: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("gzip", ".gz", gzip.compress),
    ("gzip members", ".gz", several_members),
    ("gzip, padded with zeros", ".gz", lambda data: several_members(data) + b"\0" * 100_000),
    ("bzip2", ".bz2", bz2.compress),
    ("bzip2 streams", ".bz2", lambda data: bz2.compress(data[:100]) + bz2.compress(data[100:])),
    ("zstd", ".zst", lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data)),
    ("zstd, size unknown", ".zst", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
    ("zstd frames", ".zst", several_frames),
    ("zstd, skippable frame", ".zst", lambda data: b"\x50\x2a\x4d\x18\x02\0\0\0ab" + several_frames(data)),
    ("xz", ".xz", lzma.compress),
    ("xz streams", ".xz", lambda data: lzma.compress(data[:100]) + b"\0" * 4 + lzma.compress(data[100:])),
]
IDS = [name for name, *_ in COMPRESSORS]
# What is cut off the zeros after a stream is nothing of it.
UNPADDED = [case for case in COMPRESSORS if "padded" not in case[0]]
UNPADDED_IDS = [name for name, *_ in UNPADDED]


# Long enough for several blocks of bzip2, and hard enough to compress for a cut to fall within.
LINES = [f"{number} {number * 2654435761 % 2**61:x} {number * 40503 % 2**31:x}" for number in range(60_000)]
CONTENT = ("\n".join(LINES) + "\n").encode()


@pytest.mark.parametrize(("name", "ending", "compress"), COMPRESSORS, ids=IDS)
def test_whole_streams_are_read_whole(
    tmp_path: Path, name: str, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"a.txt{ending}"
    path.write_bytes(compress(CONTENT))
    documents, failures = read(path, "text")
    assert [document.text for document in documents] == LINES
    assert documents[1].id == f"{path}:{len(LINES[0]) + 1}"
    assert failures == []


@pytest.mark.parametrize(("name", "ending", "compress"), UNPADDED, ids=UNPADDED_IDS)
def test_a_stream_cut_short_gives_what_came_before_and_one_failure(
    tmp_path: Path, name: str, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    stream = compress(CONTENT)
    path = tmp_path / f"a.txt{ending}"
    # At 6 tenths, for half of a file of two members is a whole file.
    path.write_bytes(stream[: len(stream) * 6 // 10])
    documents, failures = read(path, "text")
    texts = [document.text for document in documents]
    # xz keeps its data in one block here, and gives what it has of it, as the others do.
    assert 10_000 < len(texts) < len(LINES)
    assert texts == LINES[: len(texts)]
    kind, size = COMPRESSION_ENDINGS[ending], path.stat().st_size
    assert errors(failures, path) == [
        (
            "read",
            f"F: reading stopped after {len(texts)} records: the {kind} stream ends early, after {size} compressed bytes",
            b"",
        )
    ]


def decompressed(stream: bytes, ending: str) -> tuple[bytes, bool]:
    """What a stream gives, and whether it gives it without complaint."""
    found = b""
    try:
        for block in decompress([stream], COMPRESSION_ENDINGS[ending]):
            found += block
    except UnreadableError:
        return found, False
    return found, True


@pytest.mark.parametrize(("name", "ending", "compress"), UNPADDED, ids=UNPADDED_IDS)
def test_every_cut_of_a_stream_is_noticed(name: str, ending: str, compress: Callable[[bytes], bytes]) -> None:
    data = b"".join(b"%d\n" % number for number in range(60))
    stream = compress(data)
    for cut in range(len(stream)):
        found, complete = decompressed(stream[:cut], ending)
        assert data.startswith(found)
        if complete:
            # A cut between two members leaves two whole files: nothing in the first tells of the second.
            rest, rest_complete = decompressed(stream[cut:].lstrip(b"\0"), ending)
            assert rest_complete
            assert found + rest == data
    assert decompressed(stream, ending) == (data, True)


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst", ".xz"])
def test_what_is_neither_compressed_nor_text_is_corrupt_or_too_short(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.txt{ending}"
    for content in (b"", b"plain secret text, and long enough for any header\xff\n" * 3):
        path.write_bytes(content)
        documents, failures = read(path, "text")
        assert documents == []
        assert [failure.stage for failure in failures] == ["read"]
        assert "ends early" in failures[0].error or "is corrupt" in failures[0].error
        assert "secret" not in failures[0].error + failures[0].stacktrace


def test_garbage_after_the_stream_is_a_failure_after_all_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\n") + b"garbage")
    documents, failures = read(path, "text")
    assert [document.text for document in documents] == ["one", "two"]
    assert "corrupt" in failures[0].error


def test_a_cut_within_a_record_loses_no_part_of_it_as_a_document(tmp_path: Path) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    head = compressor.compress(b'{"text": "one"}\n{"text": "tw') + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(head)
    documents, failures = read(path, "jsonl")
    assert [document.text for document in documents] == ["one"]
    assert [failure.stage for failure in failures] == ["read"]


# JSON Lines


def test_jsonl_documents(tmp_path: Path) -> None:
    rows = [
        b'\xef\xbb\xbf{"id": "a", "text": "one"}',
        b"",
        b'  {"text": "", "id": null, "n": NaN}\r',
        b'{"id": "", "text": "Zo\\u00eb \\ud83d\\ude42"}',
        b" \t\r",
        b'{"id": 7, "text": "x"}',
        b'{"id": true, "text": "x"}',
        b'{"id": "a", "text": "a duplicate id"}',
        '{"text": "漢字"}'.encode(),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(rows))
    offsets = [sum(len(row) + 1 for row in rows[:number]) for number in range(len(rows))]
    documents, failures = read(path, "jsonl")
    assert ids_and_texts(documents, path) == [
        ("a", "one"),
        (f"F:{offsets[2]}", ""),
        (f"F:{offsets[3]}", "Zoë 🙂"),
        ("7", "x"),
        ("True", "x"),
        ("a", "a duplicate id"),
        (f"F:{offsets[8]}", "漢字"),
    ]
    assert [document.payload for document in documents][1:3] == [rows[2].removesuffix(b"\r"), rows[3]]
    assert failures == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"text": "secret"', "the line is not JSON from character 17 on"),
        (b"secret", "the line is not JSON from character 0 on"),
        (b'{"text": "secret"} {"text": "secret"}', "the line is not JSON from character 19 on"),
        (b'["secret"]', "the line's JSON is list, not an object"),
        (b"null", "the line's JSON is NoneType, not an object"),
        (b'{"body": "secret"}', "the record has no field 'text'"),
        (b'{"text": null}', "field 'text' is null"),
        (b'{"text": 5}', "field 'text' contains int, not a string"),
        (b'{"text": ["secret"]}', "field 'text' contains list, not a string"),
        (b'{"text": "secret \\ud800"}', "field 'text' is not valid Unicode"),
        (b'{"text": "secret", "id": "\\udfff"}', "field 'id' is not valid Unicode"),
        (b'{"text": "secret", "id": {"a": 1}}', "field 'id' contains dict, which is not an id"),
        (b'{"text": "secret \xff"}', "byte 17 of the line is not UTF-8"),
        (b'{"text": "secret", "n": ' + b"9" * 5000 + b"}", "the line's JSON contains an integer with too many digits"),
        (b'{"text": ' + b"[" * 200_000, "the line's JSON is nested too deeply"),
        ('{"text": "secret"}'.encode("utf-16-le"), "the line is not JSON from character 1 on"),
    ],
)
def test_jsonl_failures_keep_the_line_and_quote_nothing(tmp_path: Path, line: bytes, error: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "before"}\n' + line + b'\n{"text": "after"}\n')
    documents, failures = read(path, "jsonl")
    assert [document.text for document in documents] == ["before", "after"]
    assert errors(failures, path) == [("parse", f"F:19: {error}", line)]
    assert failures[0].stacktrace == ""


def test_a_failure_knows_its_records_id(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": 5}\n{}\n')
    _, failures = read(path, "jsonl")
    assert [failure.attributes["id"] for failure in failures] == ["5", f"{path}:10"]


def test_other_fields_can_hold_text_and_id(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "no", "text": "no", "nr": 1, "body": "yes"}\n')
    documents, _ = read(path, "jsonl", DocumentFields("body", "nr"))
    assert [(document.id, document.text) for document in documents] == [("1", "yes")]


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(ANY_TEXT.filter(bool), ANY_TEXT)), escape=st.booleans())
def test_jsonl_round_trip(tmp_path: Path, rows: list[tuple[str, str]], escape: bool) -> None:
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": name, "text": text}, ensure_ascii=escape) + "\n" for name, text in rows]
    path.write_bytes("".join(lines).encode())
    documents, failures = read(path, "jsonl")
    assert [(document.id, document.text) for document in documents] == rows
    assert failures == []


# CSV


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"id,text\na,one\nb,two", [("a", "one"), ("b", "two")]),
        (b'\xef\xbb\xbf"id","text"\r\na,one\r\n', [("a", "one")]),
        (b'id,text\n1,"a, ""b""\r\nc\n\nd"\n2,x\n', [("1", 'a, "b"\r\nc\n\nd'), ("2", "x")]),
        (b"text,other\none,1\n,2\n", [("F:11", "one"), ("F:17", "")]),
        (b"id,text\n,one\n", [("F:8", "one")]),
        (b'\n\nid,text\n\na,""\n\n', [("a", "")]),
        ("id,text\né,漢字 🙂\u2028x\n".encode(), [("é", "漢字 🙂\u2028x")]),
        # Excel leaves columns without a name behind.
        (b"id,text,,\na,one,,\n", [("a", "one")]),
        (b"id,text\n", []),
        (b"id,text", []),
    ],
)
def test_csv_documents(tmp_path: Path, content: bytes, expected: list[tuple[str, str]]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    documents, failures = read(path, "csv")
    assert ids_and_texts(documents, path) == expected
    assert failures == []


def test_csv_documents_keep_their_records_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\r\n1,"a\r\nb"\r\n2,c\r\n')
    documents, _ = read(path, "csv")
    assert [document.payload for document in documents] == [b'1,"a\r\nb"\r\n', b"2,c\r\n"]


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (b"x\n", "the record has 1 fields, the header has 2"),
        (b"x,secret,secret\n", "the record has 3 fields, the header has 2"),
        (b"x,caf\xe9 secret\n", "byte 5 of the record is not UTF-8"),
        (b'x,"secret\n caf\xe9"\n', "byte 14 of the record is not UTF-8"),
        (b'x,"secret"more"\n', "the record is not CSV: ',' expected after '\"'"),
        (b"x,secret\rsecret\n", "the record is not CSV: "),
    ],
)
def test_csv_failures_keep_the_record_and_reading_goes_on(tmp_path: Path, record: bytes, error: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\na,one\n" + record + b"b,two\n")
    documents, failures = read(path, "csv")
    assert ids_and_texts(documents, path) == [("a", "one"), ("b", "two")]
    assert [(failure.stage, failure.payload) for failure in failures] == [("parse", record)]
    assert failures[0].error.startswith(f"{path}:14: {error}")
    assert "secret" not in failures[0].error


def test_an_unclosed_quote_leaves_out_its_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\na,one\nb,"two\nc,three\n')
    documents, failures = read(path, "csv")
    assert ids_and_texts(documents, path) == [("a", "one"), ("c", "three")]
    assert errors(failures, path) == [("parse", "F:14: the record is not CSV: unexpected end of data", b'b,"two\n')]


def test_an_unclosed_quote_swallows_no_more_than_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "FIELD_SIZE_LIMIT", 20)
    path = tmp_path / "a.csv"
    path.write_bytes(b'id,text\na,"' + b"x\n" * 11 + b"b,two\nc,three\n")
    documents, failures = read(path, "csv")
    assert ids_and_texts(documents, path) == [("b", "two"), ("c", "three")]
    assert "field larger than field limit" in failures[0].error
    assert b"".join(failure.payload for failure in failures) == b'a,"' + b"x\n" * 11


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "there is no header row"),
        (b"\n\n", "there is no header row"),
        (b"id,secret\na,b\n", "0 of the 2 columns are named 'text'"),
        (b"text,text\na,b\n", "2 of the 2 columns are named 'text'"),
        (b"id,text,id\na,b,c\n", "2 of the 3 columns are named 'id'"),
        (b"id,text,\xe9\na,b,c\n", "the header row is not CSV in UTF-8"),
        (b'"id,text\na,b\n', "the header row is not CSV in UTF-8"),
    ],
)
def test_csv_files_without_a_usable_header_are_one_failure(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    documents, failures = read(path, "csv")
    assert documents == []
    assert errors(failures, path) == [("read", f"F: reading stopped after 0 records: {error}", b"")]


def test_a_csv_field_of_2_mb(tmp_path: Path) -> None:
    text = 'a "quoted", field\n' * 120_000
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["id", "text"], ["1", text], ["2", "x"]])
    documents, failures = read(path, "csv")
    assert [document.text for document in documents] == [text, "x"]
    assert failures == []


# The standard library reads a NUL since Python 3.11.
CSV_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from('",\r\n'), max_size=20
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(CSV_TEXT.filter(bool), CSV_TEXT)),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_csv_round_trip(tmp_path: Path, rows: list[tuple[str, str]], quoting: int) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=quoting).writerows([("id", "text"), *rows])
    documents, failures = read(path, "csv")
    assert [(document.id, document.text) for document in documents] == rows
    assert failures == []


def test_a_compressed_csv_cut_within_quotes(tmp_path: Path) -> None:
    content = ("id,text\n" + "".join(f'{number},"{line}\n"\n' for number, line in enumerate(LINES))).encode()
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(content)[:100_000])
    documents, failures = read(path, "csv")
    assert [document.text for document in documents] == [line + "\n" for line in LINES[: len(documents)]]
    assert len(documents) > 1000
    assert [failure.stage for failure in failures] == ["read"]


# Avro

AVRO = {
    "type": "record",
    "name": "Doc",
    "fields": [
        {"name": "id", "type": ["null", "long", "string"]},
        {"name": "text", "type": ["null", "string", "bytes"]},
        {"name": "when", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0},
    ],
}


def write_avro(path: Path, rows: list[dict], **options: object) -> None:
    with path.open("wb") as file:
        fastavro.writer(file, AVRO, [{"when": 0, **row} for row in rows], **options)


def block_starts(path: Path) -> list[int]:
    with path.open("rb") as file:
        return [block.offset for block in fastavro.block_reader(file)]


def read_shards(path: Path, input_format: str, shard_bytes: int) -> list[list[Document | Failure]]:
    """What each shard of a file gives."""
    shards = find_shards(str(path), input_format, shard_bytes)
    return [list(read_shard(shard, input_format, FIELDS)) for shard in shards if isinstance(shard, Shard)]


def test_avro_documents_and_failures(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    rows = [
        {"id": "a", "text": "Zoë 🙂"},
        {"id": 5, "text": ""},
        {"id": None, "text": b"caf\xc3\xa9"},
        {"id": "", "text": "x"},
        {"id": "n", "text": None},
        {"id": "b", "text": b"\xff secret"},
    ]
    write_avro(path, rows, codec="deflate")
    documents, failures = read(path, "avro")
    block = f"F:{block_starts(path)[0]}"
    assert ids_and_texts(documents, path) == [("a", "Zoë 🙂"), ("5", ""), (f"{block}.2", "café"), (f"{block}.3", "x")]
    assert [(stage, error) for stage, error, _ in errors(failures, path)] == [
        ("parse", f"{block}.4: field 'text' is null"),
        ("parse", f"{block}.5: field 'text' is not valid Unicode"),
    ]
    assert [failure.attributes["id"] for failure in failures] == ["n", "b"]
    assert json.loads(failures[1].payload) == {
        "id": "b",
        "text": "\udcff secret",
        "when": "1970-01-01 00:00:00+00:00",
    }
    assert json.loads(documents[0].payload or b"")["text"] == "Zoë 🙂"


def test_an_avro_string_that_is_not_utf8_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": str(number), "text": f"text {number}"} for number in range(3)])
    path.write_bytes(path.read_bytes().replace(b"text 1", b"text \xff"))
    documents, failures = read(path, "avro")
    assert [document.id for document in documents] == ["0", "2"]
    assert errors(failures, path)[0][1] == f"F:{block_starts(path)[0]}.1: field 'text' is not valid Unicode"


def test_avro_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": number, "text": line} for number, line in enumerate(LINES[:2000])], sync_interval=4000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    documents, failures = read(path, "avro")
    texts = [document.text for document in documents]
    assert 500 < len(texts) < 2000
    assert texts == LINES[: len(texts)]
    assert [failure.stage for failure in failures] == ["read"]
    assert failures[0].error.startswith(f"{path}: reading stopped after {len(texts)} records: ")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=40),
    codec=st.sampled_from(["null", "deflate", "bzip2"]),
    sync_interval=st.integers(1, 400),
    shard_bytes=st.integers(1, 600),
    marker=st.sampled_from([b"A", b"ab", bytes(range(15))]),
)
def test_any_shards_give_each_avro_record_once(
    tmp_path: Path, texts: list[str], codec: str, sync_interval: int, shard_bytes: int, marker: bytes
) -> None:
    """Of texts that begin as the marker does, too; 0xff, with which it ends, is in no text."""
    path = tmp_path / "a.avro"
    rows = [{"id": None, "text": text} for text in texts]
    write_avro(path, rows, codec=codec, sync_interval=sync_interval, sync_marker=(marker * 15)[:15] + b"\xff")
    expected = [
        (f"{path}:{block.offset}.{number}", record["text"])
        for block in fastavro.block_reader(path.open("rb"))
        for number, record in enumerate(block)
    ]
    shards = read_shards(path, "avro", shard_bytes)
    assert [(each.id, each.text) for shard in shards for each in shard] == expected  # type: ignore[union-attr]
    assert [text for _, text in expected] == texts


def test_a_marker_across_two_steps_of_the_search_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": number, "text": line} for number, line in enumerate(LINES[:600])], sync_interval=500)
    starts = block_starts(path)
    assert len(starts) > 20
    for step in (1, 15, 16, 17, 100):
        monkeypatch.setattr(avro_blocks, "_STEP_BYTES", step)
        shards = read_shards(path, "avro", 700)
        assert [each.id for shard in shards for each in shard] == [str(number) for number in range(600)]  # type: ignore[union-attr]


def test_a_broken_avro_block_costs_no_other_shard_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": number, "text": line} for number, line in enumerate(LINES[:2000])], sync_interval=1000)
    starts = block_starts(path)
    broken = len(starts) // 2
    data = bytearray(path.read_bytes())
    data[starts[broken] : starts[broken] + 100] = b"\xff" * 100
    path.write_bytes(data)
    shards = read_shards(path, "avro", 5000)
    failed = [number for number, shard in enumerate(shards) if isinstance(shard[-1], Failure)]
    assert failed == [starts[broken] // 5000]
    assert f"(bytes {5000 * failed[0]} to {5000 * failed[0] + 5000}): reading stopped" in shards[failed[0]][-1].error  # type: ignore[union-attr]
    found = [int(each.id) for shard in shards for each in shard if isinstance(each, Document)]
    lost = set(range(2000)) - set(found)
    assert len(found) == len(set(found))
    assert lost == set(range(min(lost), max(lost) + 1))
    assert 0 < len(lost) <= 2000 * 5000 // len(data) + 50


def to_snappy(path: Path, change: Callable[[bytes], bytes] = bytes) -> None:
    """Packs the blocks of a file anew, as the Avro specification has it; `change` may spoil each."""
    raw = path.read_bytes()
    with path.open("rb") as file:
        blocks = list(fastavro.block_reader(file))
    header = raw[: blocks[0].offset]
    new = header.replace(b"\x08null", b"\x0csnappy")
    for block in blocks:
        data = block.bytes_.read()
        packed = change(pa.compress(data, codec="snappy", asbytes=True) + zlib.crc32(data).to_bytes(4, "big"))
        for number in (block.num_records, len(packed)):
            written = io.BytesIO()
            fastavro.schemaless_writer(written, "long", number)
            new += written.getvalue()
        new += packed + header[-16:]
    path.write_bytes(new)


def test_avro_in_snappy(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": number, "text": line} for number, line in enumerate(LINES[:500])], sync_interval=1000)
    to_snappy(path)
    found = [each for shard in read_shards(path, "avro", 3000) for each in shard]
    assert [each.text for each in found] == LINES[:500]  # type: ignore[union-attr]


@pytest.mark.parametrize(("change", "problem"), [
    (lambda block: block[:-1] + bytes([block[-1] ^ 1]), "the block does not match its checksum"),
    (lambda block: b"\xff\xff\xff\xff\x0f" + block[2:], "the block is larger than its bytes can contain"),
    (lambda block: b"\xff" * 9, "the block does not contain its size"),
    (lambda block: b"\x20\xff\xff" + block[3:], "the block cannot be decompressed"),
    (lambda block: b"", "the block does not contain its size"),
], ids=["checksum", "bomb", "size", "stream", "nothing"])  # fmt: skip
def test_broken_snappy(tmp_path: Path, change: Callable[[bytes], bytes], problem: str) -> None:
    path = tmp_path / "a.avro"
    write_avro(path, [{"id": 0, "text": LINES[0]}])
    to_snappy(path, change)
    documents, failures = read(path, "avro")
    assert documents == []
    assert errors(failures, path) == [("read", f"F: reading stopped after 0 records: {problem}", b"")]


def test_a_text_that_quotes_the_files_marker_gives_no_false_record(tmp_path: Path) -> None:
    path = tmp_path / "a.avro"
    marker = b"0123456789abcdef"
    text = f"before {marker.decode()} " + "x" * 500
    write_avro(path, [{"id": 0, "text": text}, {"id": 1, "text": "y"}], sync_marker=marker, codec="null")
    quoted = path.read_bytes().rindex(b"before") + 7
    whole, part = (list(read_shard(Shard(str(path), start), "avro", FIELDS)) for start in (0, quoted))
    assert [each.id for each in whole] == ["0", "1"]  # type: ignore[union-attr]
    assert [each.stage for each in part] == ["read"]  # type: ignore[union-attr]


# Parquet


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=50), max_size=60),
    row_group_size=st.integers(1, 30),
    shard_bytes=st.integers(1, 3000),
)
def test_any_shards_give_each_parquet_row_once(
    tmp_path: Path, texts: list[str], row_group_size: int, shard_bytes: int
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, row_group_size=row_group_size)
    shards = read_shards(path, "parquet", shard_bytes)
    found = [(each.id, each.text) for shard in shards for each in shard]  # type: ignore[union-attr]
    assert found == [(f"{path}:{number}", text) for number, text in enumerate(texts)]


def test_parquet_shards_are_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": LINES[:3000]}), path, row_group_size=500)
    shards = read_shards(path, "parquet", path.stat().st_size // 6)
    assert sum(bool(shard) for shard in shards) >= 4
    assert max(map(len, shards)) <= 1000


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
    ],
    ids=str,
)
def test_parquet_text_columns(tmp_path: Path, kind: pa.DataType) -> None:
    path = tmp_path / "a.parquet"
    texts = ["Zoë 🙂", "", None, "x"]
    column = pa.array([text and text.encode() for text in texts], pa.binary()).cast(pa.string())
    target = kind.value_type if pa.types.is_dictionary(kind) else kind
    column = column.cast(target)
    if pa.types.is_dictionary(kind):
        column = column.dictionary_encode().cast(kind)
    table = pa.table({"other": [1, 2, 3, 4], "text": column, "id": pa.array([10, None, 30, 40])})
    pq.write_table(table, path)
    documents, failures = read(path, "parquet")
    assert ids_and_texts(documents, path) == [("10", "Zoë 🙂"), ("F:1", ""), ("40", "x")]
    assert errors(failures, path) == [("parse", "F:2: field 'text' is null", b'{"id": 30, "text": null}')]


def test_parquet_rows_of_several_groups_and_batches(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": LINES[:3000]}), path, row_group_size=700)
    documents, failures = read(path, "parquet")
    assert ids_and_texts(documents, path) == [(f"F:{number}", line) for number, line in enumerate(LINES[:3000])]
    assert failures == []


def test_a_parquet_string_that_is_not_utf8_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    raw = pa.array([b"one", b"\xff secret", b"two"])
    strings = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"text": strings}), path)
    documents, failures = read(path, "parquet")
    assert ids_and_texts(documents, path) == [("F:0", "one"), ("F:2", "two")]
    assert errors(failures, path)[0][1] == "F:1: field 'text' is not valid Unicode"


def test_a_corrupt_parquet_page_ends_the_file_with_one_failure(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": LINES[:4000]}), path, row_group_size=1000, use_dictionary=False)
    data = bytearray(path.read_bytes())
    start = pq.read_metadata(path).row_group(2).column(0).data_page_offset
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    documents, failures = read(path, "parquet")
    assert [document.text for document in documents] == LINES[: len(documents)]
    assert 1000 <= len(documents) <= 2000
    assert [failure.stage for failure in failures] == ["read"]


# Any format


@pytest.mark.parametrize("input_format", ["avro", "parquet"])
@pytest.mark.parametrize("content", [b"", b"secret", b"PAR1 secret PAR1", b"Obj\x01secret"])
def test_files_of_another_kind_are_one_failure(tmp_path: Path, input_format: str, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    documents, failures = read(path, input_format)
    assert documents == []
    assert [(failure.stage, failure.payload) for failure in failures] == [("read", b"")]
    assert failures[0].error.startswith(f"{path}: reading stopped after 0 records: ")
    assert "secret" not in failures[0].error
    with pytest.raises(ValueError, match="cannot be read as"):
        peek_columns(str(path), input_format)


@pytest.mark.parametrize("input_format", ["avro", "parquet"])
def test_columns_are_missed_once_a_file(tmp_path: Path, input_format: str) -> None:
    path = tmp_path / "a"
    if input_format == "avro":
        write_avro(path, [{"id": 1, "text": "x"}])
    else:
        pq.write_table(pa.table({"id": [1, 2], "text": ["x", "y"], "when": [0, 0]}), path)
    documents, failures = read(path, input_format, DocumentFields("body"))
    assert documents == []
    assert errors(failures, path) == [
        ("read", "F: reading stopped after 0 records: 0 of the 3 columns are named 'body'", b"")
    ]


@pytest.mark.parametrize("input_format", INPUT_FORMATS)
def test_a_folder_in_place_of_a_file_is_one_failure(tmp_path: Path, input_format: str) -> None:
    (empty,) = find_shards(str(tmp_path), input_format)
    assert isinstance(empty, Failure)
    assert empty.error == f"{tmp_path}/*: no file matches"
    failures = list(read_shard(Shard(str(tmp_path)), input_format, FIELDS))  # a folder took the file's place meanwhile
    assert errors(failures, tmp_path) == [("read", "F: reading stopped after 0 records: IsADirectoryError", b"")]
    assert "open" in failures[0].stacktrace


def test_a_file_name_that_is_not_utf8_gives_ids_that_are(tmp_path: Path) -> None:
    path = f"{tmp_path}/a\udcff.txt"
    try:
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"one\n")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    (found,) = match_files(f"{tmp_path}/*.txt")
    (document,) = read_shard(Shard(found.path), "text", FIELDS)
    assert isinstance(document, Document)
    assert document.id == f"{tmp_path}/a\\udcff.txt:0"


# Columns


def test_peeked_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfid,text\n1,2\n"))
    (tmp_path / "a.jsonl").write_bytes(b'{"b": 1}\nbad\n[]\n\n{"a": 1, "b": 2}\n')
    (tmp_path / "many.jsonl").write_bytes(b'{"a": 1}\n' * 100 + b'{"b": 1}\n')
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 9)[:-4])
    (tmp_path / "a.txt").write_bytes(b"one\n")
    write_avro(tmp_path / "a.avro", [])
    pq.write_table(pa.table({"text": ["x"], "nested": [{"a": 1}]}), tmp_path / "a.parquet")

    def peek(name: str) -> list[str]:
        return [column.name for column in peek_columns(str(tmp_path / name), guess_input_format(name))]

    assert peek("a.csv.gz") == ["id", "text"]
    assert peek("a.jsonl") == ["b", "a"]
    assert peek("many.jsonl") == ["a"]
    assert peek("cut.jsonl.gz") == ["a"]
    assert peek("a.txt") == []
    assert peek("a.avro") == ["id", "text", "when"]
    assert peek("a.parquet") == ["text", "nested", "nested.a"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "there is no header row"),
        (
            b"id,secret\n",
            "--text_field='text': 0 of the 2 columns of .* have this name; expected the name of the column with the text",
        ),
        (b"text,text\n", "--text_field='text': 2 of the 2 columns of .* have this name; expected one"),
    ],
)
def test_csv_files_without_a_text_column_are_refused(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=error) as refusal:
        check(path, "csv")
    assert str(path) in str(refusal.value)
    assert "secret" not in str(refusal.value)


def check(path: Path, input_format: str) -> None:
    check_fields(peek_columns(str(path), input_format), str(path), input_format, FIELDS)


def test_files_that_have_the_text_or_cannot_tell_are_not_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n")
    (tmp_path / "a.txt").write_bytes(b"")
    (tmp_path / "a.jsonl").write_bytes(b"")
    for name in ("a.csv", "a.txt", "a.jsonl"):
        check(tmp_path / name, guess_input_format(name))
    with pytest.raises(ValueError, match="FileNotFoundError"):
        check(tmp_path / "none.jsonl", "jsonl")


# The transform


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^input_format=xml: unknown; expected one of text, whole_text, jsonl, csv"):
        ReadDocuments("a.xml", "xml")


def test_documents_and_failures_of_many_shards(tmp_path: Path) -> None:
    for name in "ab":
        lines = [json.dumps({"id": f"{name}{number}", "text": "x" * number}) for number in range(40)]
        lines.insert(7, "not json")
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    (tmp_path / "c.jsonl").mkdir()
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "from gzip"}\n')[:-1])
    pipeline = beam.Pipeline()
    result = pipeline | "Read" >> ReadDocuments(f"{tmp_path}/?.jsonl*", "jsonl", shard_bytes=100)
    texts = result.documents | "Texts" >> beam.Map(_id_and_length)
    problems = result.failures | "Errors" >> beam.Map(_stage_and_error)
    expected = [(f"{name}{number}", number) for name in "ab" for number in range(40)]
    assert_that(texts, equal_to([*expected, (f"{tmp_path}/d.jsonl.gz:0", 9)]), label="Documents")
    offset = sum(len(json.dumps({"id": f"a{number}", "text": "x" * number})) + 1 for number in range(7))
    assert_that(
        problems,
        equal_to(
            [("parse", f"{tmp_path}/{name}.jsonl:{offset}: the line is not JSON from character 0 on") for name in "ab"]
            + [
                ("read", f"{tmp_path}/c.jsonl: is a folder; expected the files in it"),
                (
                    "read",
                    f"{tmp_path}/d.jsonl.gz: reading stopped after 1 records: "
                    f"the gzip stream ends early, after {(tmp_path / 'd.jsonl.gz').stat().st_size} compressed bytes",
                ),
            ]
        ),
        label="Failures",
    )
    run = pipeline.run()
    run.wait_until_finish()
    counters: Counter[str] = Counter()  # each of two steps has its own of one name
    for counter in run.metrics().query(MetricsFilter().with_namespace("ner"))["counters"]:
        counters[counter.key.metric.name] += counter.committed
    assert counters == {"documents_read": 81, "read_failures": 4}


def test_a_pattern_without_files_reads_nothing_and_says_so(tmp_path: Path) -> None:
    with beam.Pipeline() as pipeline:
        result = pipeline | ReadDocuments(f"{tmp_path}/none.csv", "csv")
        assert_that(result.documents, equal_to([]), label="Documents")
        errors_only = result.failures | beam.Map(_stage_and_error)
        assert_that(errors_only, equal_to([("read", f"{tmp_path}/none.csv: no file matches")]), label="Failures")


def _id_and_length(document: Document) -> tuple[str, int]:
    return document.id, len(document.text)


def _stage_and_error(failure: Failure) -> tuple[str, str]:
    return failure.stage, failure.error


def test_blocks_of_an_open_file_end_with_it() -> None:
    stream = io.BytesIO(gzip.compress(CONTENT))
    assert b"".join(decompress(iter(lambda: stream.read(1000), b""), "gzip")) == CONTENT
