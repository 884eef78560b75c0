"""Files of text in other encodings than UTF-8, and files whose names do not say what they are."""

from __future__ import annotations

import bz2
import codecs
import gzip
import json
import logging
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from runs import rows

from pipeline.io.fields import DocumentFields
from pipeline.io.files.read import find_shards, read_shard
from pipeline.io.files.settings import ReadSettings
from pipeline.run import main
from transforms.documents import Document, Failure

TEXTS = ["Ann Smith, 12 Baker Street", "José Ñandú", "Łukasz 東京 🙂", "", "last"]
CONTENTS = {
    "text": "\n".join(TEXTS),
    "jsonl": "\n".join(json.dumps({"id": str(number), "text": text}, ensure_ascii=False) for number, text in enumerate(TEXTS)),
    "csv": "id,text\n" + "\n".join(f'{number},"{text}"' for number, text in enumerate(TEXTS)) + "\n",
}  # fmt: skip
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
}


def read(
    path: Path, input_format: str, encoding: str | None = None, shard_bytes: int | None = None
) -> tuple[list[str], list[Failure]]:
    """The texts of a file, read shard by shard, and its failures."""
    texts, failures = [], []
    for shard in find_shards(str(path), input_format, shard_bytes):
        assert not isinstance(shard, Failure)
        for outcome in read_shard(shard, input_format, DocumentFields(), ReadSettings(encoding)):
            if isinstance(outcome, Document):
                texts.append(outcome.text)
            else:
                failures.append(outcome)
    return texts, failures


@pytest.mark.parametrize("mark", [True, False], ids=["with a mark", "without"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("input_format", sorted(CONTENTS))
def test_the_first_bytes_show_the_encoding(
    input_format: str, line_end: str, encoding: str, mark: bool, tmp_path: Path
) -> None:
    if encoding.startswith("utf-32") and not mark:
        pytest.skip("UTF-32 without a mark is not recognised")
    content = ("\ufeff" if mark else "") + CONTENTS[input_format].replace("\n", line_end)
    (tmp_path / "in").write_bytes(content.encode(encoding))
    expected = (TEXTS, [])
    assert read(tmp_path / "in", input_format) == expected
    assert read(tmp_path / "in", input_format, shard_bytes=16) == expected
    if not mark:
        assert read(tmp_path / "in", input_format, encoding) == expected


@pytest.mark.parametrize("encoding", [None, "utf-16"])
@pytest.mark.parametrize("kind", sorted(COMPRESSIONS))
@pytest.mark.parametrize("input_format", sorted(CONTENTS))
def test_the_first_bytes_show_the_compression(
    input_format: str, kind: str, encoding: str | None, tmp_path: Path
) -> None:
    """A bucket serves a file with `Content-Encoding: gzip` as it is stored, and its name need not end in .gz."""
    (tmp_path / "in").write_bytes(COMPRESSIONS[kind](CONTENTS[input_format].encode(encoding or "utf-8")))
    assert read(tmp_path / "in", input_format) == (TEXTS, [])
    assert read(tmp_path / "in", input_format, shard_bytes=16) == (TEXTS, [])


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zst"])
def test_a_file_that_was_decompressed_on_its_way(ending: str, tmp_path: Path) -> None:
    (tmp_path / f"in.txt{ending}").write_text(CONTENTS["text"], "utf-8")
    assert read(tmp_path / f"in.txt{ending}", "text") == (TEXTS, [])


def test_a_compressed_file_that_is_broken_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "in.txt.gz").write_bytes(b"\x1f\x8c" + gzip.compress(CONTENTS["text"].encode())[2:])
    texts, (failure,) = read(tmp_path / "in.txt.gz", "text")
    assert (texts, "corrupt" in failure.error) == ([], True)


@pytest.mark.parametrize(("encoding", "text"), [
    ("cp1252", "José Ñandú – “quoted” €"),
    ("latin-1", "Münchner Straße"),
    ("shift_jis", "東京都港区 ソ"),
    ("gb18030", "我住在北京市海淀区 🙂"),
    ("euc_kr", "안녕하세요"),
    ("koi8-r", "Москва"),
    ("utf-7", "Łódź"),
    ("cp037", "Ann in EBCDIC"),
    ("utf-8-sig", "José"),
    ("iso2022_jp", "東京"),
])  # fmt: skip
def test_any_encoding_of_python(encoding: str, text: str, tmp_path: Path) -> None:
    lines = [text, "", text[::-1]] * 50
    (tmp_path / "in").write_bytes("\n".join(lines).encode(encoding))
    assert read(tmp_path / "in", "text", encoding) == (lines, [])
    assert read(tmp_path / "in", "text", encoding, shard_bytes=20) == (lines, [])
    content = "id,text\n" + "".join(f"{number},{line}x\n" for number, line in enumerate(lines))
    (tmp_path / "in").write_bytes(content.encode(encoding))
    assert read(tmp_path / "in", "csv", encoding) == ([f"{line}x" for line in lines], [])


@pytest.mark.parametrize(("encoding", "bad"), [
    ("cp1252", b"\x81"), ("utf-16-le", b"\x00\xd8a\x00"), ("shift_jis", b"\xff"), ("ascii", b"\xe9"), ("utf-8", b"\xe9"),
])  # fmt: skip
def test_a_line_that_is_not_in_the_encoding_is_a_failure(encoding: str, bad: bytes, tmp_path: Path) -> None:
    end = "\n".encode(encoding)
    (tmp_path / "in").write_bytes(
        end.join(["good".encode(encoding), "x".encode(encoding) + bad, "fine".encode(encoding)])
    )
    texts, (failure,) = read(tmp_path / "in", "text", encoding)
    assert texts == ["good", "fine"]
    assert "is not UTF-8" in failure.error


@pytest.mark.parametrize(("head", "sentence"), [
    (b"PK\x03\x04\x14\x00", "this is a zip archive or a file of Office; expected the files in it"),
    (b"PAR1\x15\x04", "this is a file of parquet; expected --input_format=parquet"),
    (b"Obj\x01\x04\x14", "this is a file of avro; expected --input_format=avro"),
])  # fmt: skip
@pytest.mark.parametrize("input_format", sorted(CONTENTS))
def test_a_file_that_is_no_text(
    input_format: str, head: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"in.{input_format.replace('text', 'txt')}"
    path.write_bytes(head + b"\x00" * 30)
    _, (failure,) = read(path, input_format)
    assert sentence in failure.error
    assert main([f"--input={path}", f"--output={tmp_path}/out/x"]) == 2
    assert f"--input={str(path)!r}: {sentence}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["utf16", "martian", "zlib", "hex"])
def test_the_name_of_an_encoding(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_bytes("Ann Smith".encode("utf-16"))
    code = main([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", f"--encoding={name}"])
    if name == "utf16":
        assert code == 0
    else:
        assert code == 2
        assert (
            f"--encoding={name}: unknown; expected an encoding of Python, such as cp1252 or utf-16"
            in capsys.readouterr().err
        )


def test_the_program_reads_what_powershell_writes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    text = "My name is José Smith and I live at 12 Baker Street, London."
    (tmp_path / "in.txt").write_bytes(codecs.BOM_UTF16_LE + f"{text}\r\n{text}\r\n".encode("utf-16-le"))
    assert (
        main(
            [
                f"--input={tmp_path}/in.txt",
                f"--output={tmp_path}/out/x",
                "--include_text",
                "--aggregation_strategy=first",
            ]
        )
        == 0
    )
    found = rows(tmp_path / "out")
    assert [row["text"] for row in found] == [text, text]
    assert all("London" in [entity["text"] for entity in row["entities"]] for row in found)
    assert f"{tmp_path}/in.txt: read as text, in UTF-16-LE" in caplog.text


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("Zoë\nAnn\n".encode("cp1252"), 1),
        ("Ann\nZoë\nJosé\n".encode("cp1252"), 2),
        ("Ann\nZoë\nBen\n".encode("cp1252"), None),  # one broken line
        ("Zoë\nJosé\n".encode(), None),
    ],
)
def test_a_first_file_that_is_not_utf8_is_logged(
    content: bytes, line: int | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "in.txt").write_bytes(content)
    assert main([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", "--max_failures=100%"]) == 0
    found = [record.getMessage() for record in caplog.records if "--encoding" in record.getMessage()]
    warning = f"{tmp_path}/in.txt: line {line} is not UTF-8; expected --encoding, such as cp1252, latin-1 or shift_jis"
    assert found == ([warning] if line else [])


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"\x89PNG\r\n\x1a\n", b"SQLite format 3\0", b"\xff\xd8\xff\xe0"])
def test_what_is_no_text_is_rejected(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_bytes(content + b"secret")
    assert main([f"--input={tmp_path}/in.csv", f"--output={tmp_path}/out/x"]) == 2
    error = capsys.readouterr().err
    assert f"--input='{tmp_path}/in.csv': this is a" in error
    assert "secret" not in error
    (failure,) = read_shard(next(iter(find_shards(f"{tmp_path}/in.csv", "csv"))), "csv", DocumentFields())  # type: ignore[arg-type]
    assert isinstance(failure, Failure)
    assert "expected text, such as an export of it" in failure.error
