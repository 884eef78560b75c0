"""JSON files that are no lines: an array, or objects over several lines; and texts in nested objects."""

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import rows

from pipeline.io.fields import DocumentFields
from pipeline.io.files.formats import json_values
from pipeline.io.files.formats.json_values import is_one_value, split_values
from pipeline.io.files.read import find_shards, read_shard
from pipeline.run import main
from transforms.documents import Document, Failure

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "text": 'Ann "Lee", 12 {Baker} [Street]'},
    {"id": "b", "text": "José Ñandú \\", "more": {"to": [{"x": "}"}]}},
    {"id": "c", "text": ""},
]
LAYOUTS = {
    "an array in one line": json.dumps(RECORDS),
    "a pretty array": json.dumps(RECORDS, indent=2, ensure_ascii=False),
    "a pretty array with CRLF": json.dumps(RECORDS, indent="\t").replace("\n", "\r\n"),
    "an array with an object a line": "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
    "pretty objects": "\n".join(json.dumps(record, indent=4) for record in RECORDS),
    "pretty objects with commas": ",\n".join(json.dumps(record, indent=4) for record in RECORDS),
    "lines": "\n".join(map(json.dumps, RECORDS)),
    "arrays one after another": "".join(json.dumps([record]) for record in RECORDS),
}


def read(path: Path, fields: DocumentFields | None = None, shard_bytes: int | None = None) -> list[Document | Failure]:
    outcomes: list[Document | Failure] = []
    for shard in find_shards(str(path), "jsonl", shard_bytes):
        assert not isinstance(shard, Failure)
        outcomes += read_shard(shard, "jsonl", fields or DocumentFields())
    return outcomes


def ids_and_texts(outcomes: list[Document | Failure]) -> list[tuple[str, str]]:
    assert all(isinstance(outcome, Document) for outcome in outcomes), outcomes
    return [(outcome.id, outcome.text) for outcome in outcomes if isinstance(outcome, Document)]


@pytest.mark.parametrize("shard_bytes", [None, 10])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_all_layouts(layout: str, encoding: str, shard_bytes: int | None, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(layout.encode(encoding))
    found = read(tmp_path / "a.json", shard_bytes=shard_bytes)
    assert ids_and_texts(found) == [(record["id"], record["text"]) for record in RECORDS]


@pytest.mark.parametrize("layout", ["an array in one line", "pretty objects", "lines"])
def test_a_document_keeps_its_bytes_and_place(layout: str, tmp_path: Path) -> None:
    records = [{"text": record["text"]} for record in RECORDS]
    content = LAYOUTS[layout] if layout == "lines" else "\n".join(json.dumps(record, indent=1) for record in records)
    if layout == "an array in one line":
        content = json.dumps(records)
    (tmp_path / "a.json").write_bytes(gzip.compress(content.encode()))
    for document in read(tmp_path / "a.json"):
        assert isinstance(document, Document)
        assert document.payload is not None
        assert json.loads(document.payload)["text"] == document.text
        if layout != "lines":
            at = int(document.id.rpartition(":")[2])
            assert content.encode()[at:].startswith(document.payload)


def test_what_is_no_object_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"text": "Ann"}, 7, "x, {", {"text": nope}, null, [{"text": "Ben"}]]')
    found = read(tmp_path / "a.json")
    assert [each.text if isinstance(each, Document) else each.payload for each in found] == [
        "Ann", b"7", b'"x, {"', b'{"text": nope}', b"null", "Ben",
    ]  # fmt: skip


def test_an_object_that_is_not_closed_is_a_failure_with_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'[{"text": "Ann"},\n {"text": "Ben", "more": {}\n')
    document, failure = read(tmp_path / "a.json")
    assert isinstance(document, Document)
    assert isinstance(failure, Failure)
    assert failure.payload == b'{"text": "Ben", "more": {}\n'


def test_a_broken_first_line_is_still_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "Ann", "x":\n{"text": "Ben"}\n{"text": "Cleo"}\n')
    assert [type(each) for each in read(tmp_path / "a.jsonl")] == [Failure, Document, Document]


def test_a_value_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_values, "MAX_RECORD_BYTES", 30)
    (tmp_path / "a.json").write_bytes(b'[{"text": "' + b"x" * 100 + b'"}, {"text": "Ann"}]')
    failure, document = read(tmp_path / "a.json")
    assert isinstance(failure, Failure)
    assert failure.payload == b""
    assert isinstance(document, Document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text('ab{}[]"\\,'), each, max_size=3),
    max_leaves=8,
)


@given(values=st.lists(st.dictionaries(st.text("ab\"{"), JSON, max_size=3)), indent=st.none() | st.integers(0, 2),
       pieces=st.integers(1, 7), escape=st.booleans())  # fmt: skip
def test_values_in_pieces(values: list[dict[str, Any]], indent: int | None, pieces: int, escape: bool) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=escape).encode()
    blocks = [content[at : at + pieces] for at in range(0, len(content), pieces)]
    found = list(split_values(blocks))
    assert [json.loads(value or b"") for _, value in found] == values
    assert all(content[offset:].startswith(value or b"?") for offset, value in found)


def test_lines_are_known_by_the_head_alone(tmp_path: Path) -> None:
    cases = {'{"a": 1}\n{"a": 2}': False, '{"a": 1}': False, "": False, "x\n": False, "[1]": True, " \n[": True,
             '{\n"a": 1\n}': True, '{"a": "x\n': False, '{"text": "' + "x" * 10_000 + '"}\n': False}  # fmt: skip
    for content, expected in cases.items():
        (tmp_path / "a").write_text(content)
        assert is_one_value(str(tmp_path / "a")) is expected, content


CHAT = [
    {"id": 1, "messages": [{"role": "user", "content": "I am Ann Smith."}, {"role": "bot", "content": "Hello Ann."}]},
    {"id": 2, "messages": []},
    {"id": 3, "messages": [{"role": "user", "content": None}]},
    {"id": 4},
]


def test_paths_into_nested_objects(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(CHAT))
    first, *others = read(tmp_path / "a.json", DocumentFields("messages.content"))
    assert isinstance(first, Document)
    assert first.text == "I am Ann Smith.\n\nHello Ann."
    assert [each.error.rpartition(": ")[2] for each in others if isinstance(each, Failure)] == [
        "field 'messages.content' contains no text",
        "field 'messages.content' contains no text",
        "the record has no field 'messages.content'",
    ]


def test_texts_and_lists_of_texts_in_one_path(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "in Rome."}, {"type": "image_url", "url": "x"}, "Bye."]
    messages = [{"content": "I am Ann."}, {"content": None}, {"content": parts}]
    (tmp_path / "a.json").write_text(json.dumps([{"messages": messages}]))
    (document,) = read(tmp_path / "a.json", DocumentFields("messages.content.text"))
    assert isinstance(document, Document)
    assert document.text == "I am Ann.\n\nin Rome.\n\nBye."


def test_several_fields(tmp_path: Path) -> None:
    mails = [
        {"subject": "Hi", "message": {"body": "Ann is here.", "id": "m1"}},
        {"subject": None, "message": {"body": "Ben"}},
        {"subject": "", "message": {"body": ""}},
        {"subject": 7, "message": {"body": "x"}},
        {"other": "x"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(mails))
    *documents, number, none = read(tmp_path / "a.json", DocumentFields("subject, message.body", "message.id"))
    assert [text for _, text in ids_and_texts(documents)] == ["Hi\n\nAnn is here.", "Ben", ""]
    assert documents[0].id == "m1"  # type: ignore[union-attr]
    assert isinstance(number, Failure)
    assert number.error.endswith("field 'subject' contains int, not a string")
    assert isinstance(none, Failure)
    assert none.error.endswith("the record has no field 'subject' or 'message.body'")


def test_a_field_whose_name_has_dots(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"message.body": "Ann", "message": {"body": "Ben"}}')
    assert [text for _, text in ids_and_texts(read(tmp_path / "a.json", DocumentFields("message.body")))] == ["Ann"]


def test_the_program_reads_a_chat_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "chat.json").write_text(json.dumps(CHAT[:1], indent=2))
    flags = [f"--input={tmp_path}/chat.json", f"--output={tmp_path}/out/x", "--include_text"]
    with caplog.at_level(logging.INFO, "pipeline"):
        assert main([*flags, "--text_field=messages.content", "--input_format=json"]) == 0
    assert "chat.json: read as jsonl, an array, or objects of several lines" in caplog.text
    (row,) = rows(tmp_path / "out")
    assert (row["id"], row["text"]) == ("1", "I am Ann Smith.\n\nHello Ann.")


def test_the_error_lists_the_paths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "chat.json").write_text(json.dumps(CHAT))
    assert main([f"--input={tmp_path}/chat.json", f"--output={tmp_path}/out/x"]) == 2
    assert "expected one of id, messages, messages.role, messages.content" in capsys.readouterr().err
