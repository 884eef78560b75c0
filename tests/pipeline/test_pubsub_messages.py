"""What a message becomes, and what a result or a failure becomes as a message: plain values, no server."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace

import pytest
from outputs import failure_payload

from pipeline.io.fields import DocumentFields
from pipeline.io.outcomes import Receipt
from pipeline.io.pubsub.messages import (
    MAX_MESSAGE_BYTES,
    BadTimestampError,
    Message,
    attribute_problem,
    fits,
    message_bytes,
    parse_timestamp,
)
from pipeline.io.pubsub.publishing import Outgoing
from pipeline.io.pubsub.read import document_of_message
from pipeline.io.pubsub.write import message_of_failure, message_of_result, result_attributes
from pipeline.io.replay import document_of_failure_row
from pipeline.schemas import failure_json_row
from transforms.documents import Document, DocumentEntities, Entity, Failure

FIELDS = DocumentFields()
BOM = b"\xef\xbb\xbf"


def read(data: bytes, input_format: str = "jsonl", **attributes: str) -> Document | Failure:
    message = Message(data, attributes, "m7", 1.5, "receipt")
    return document_of_message(message, input_format, FIELDS, source="s", id_attribute="key", timestamp_attribute="at")


DOCUMENTS = [
    # data, format, attributes -> id, text, time
    (b"Ann", "text", {}, "m7", "Ann", 1.5),
    (b"Ann", "text", {"key": "k"}, "k", "Ann", 1.5),
    (b"Ann", "text", {"key": ""}, "m7", "Ann", 1.5),
    (b"", "text", {"key": "k"}, "k", "", 1.5),
    ("Zoë 🙂\n".encode(), "text", {}, "m7", "Zoë 🙂\n", 1.5),
    (BOM + b"Ann", "text", {}, "m7", "Ann", 1.5),
    (b"Ann", "text", {"at": "2026-01-02T03:04:05.25Z"}, "m7", "Ann", 1767323045.25),
    (b"Ann", "text", {"at": "1767323045250"}, "m7", "Ann", 1767323045.25),
    (b'{"text": "Ann"}', "jsonl", {}, "m7", "Ann", 1.5),
    (b'{"text": "Ann", "id": 7}', "jsonl", {}, "7", "Ann", 1.5),
    (b'{"text": "Ann", "id": ""}', "jsonl", {}, "m7", "Ann", 1.5),
    (b'{"text": "Ann", "id": "j"}', "jsonl", {"key": "k"}, "k", "Ann", 1.5),
    (BOM + b' {"text": "Ann", "n": NaN}\r\n', "jsonl", {}, "m7", "Ann", 1.5),
    (b'{"text": ""}', "jsonl", {}, "m7", "", 1.5),
]


@pytest.mark.parametrize(("data", "input_format", "attributes", "name", "text", "timestamp"), DOCUMENTS)
def test_document_of_message(
    data: bytes, input_format: str, attributes: dict[str, str], name: str, text: str, timestamp: float
) -> None:
    document = read(data, input_format, **attributes)
    assert isinstance(document, Document)
    assert (document.id, document.text, document.timestamp) == (name, text, timestamp)
    assert (document.attributes, document.receipt) == (attributes, "receipt")
    assert Failure.of_document(document, "x", "classify").payload == data


FAILURES = [
    # data, format, attributes -> in the sentence
    (b"caf\xe9 SECRET", "text", {}, "byte 3 of the message is not UTF-8"),
    (BOM + b"caf\xe9", "text", {}, "byte 6 of the message is not UTF-8"),
    (b"SECRET", "jsonl", {}, "the message is not JSON from character 0 on"),
    (b"", "jsonl", {"a": "b"}, "the message is not JSON"),
    (b'["SECRET"]', "jsonl", {}, "the message's JSON is list, not an object"),
    (b'{"body": "SECRET"}', "jsonl", {}, "no field 'text'"),
    (b'{"text": ["SECRET"]}', "jsonl", {}, "field 'text' contains list"),
    (b'{"text": "\\udfff SECRET"}', "jsonl", {}, "field 'text' is not valid Unicode"),
    (b'{"text": "a", "id": {"SECRET": 1}}', "jsonl", {}, "field 'id' contains dict"),
    (b'{"text": ' + b"[" * 100_000, "jsonl", {}, "nested too deeply"),
    (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "jsonl", {}, "too many digits"),
    (b"Ann", "text", {"at": "SECRET"}, "attribute 'at' is neither RFC 3339 nor epoch milliseconds"),
    (b"Ann", "text", {"at": "9" * 400}, "attribute 'at'"),
]


@pytest.mark.parametrize(("data", "input_format", "attributes", "told"), FAILURES)
def test_failure_of_message(data: bytes, input_format: str, attributes: dict[str, str], told: str) -> None:
    failure = read(data, input_format, **attributes)
    assert isinstance(failure, Failure)
    assert failure.error.startswith("s:m7: ")
    assert told in failure.error
    assert "SECRET" not in failure.error
    assert (failure.payload, failure.stage, failure.receipt) == (data, "parse", "receipt")
    assert failure.attributes == {**attributes, "id": "m7"}


ANN, JSON_ANN = gzip.compress(b"Ann"), gzip.compress(b'{"text": "Ann", "id": "j"}')


@pytest.mark.parametrize(("data", "input_format", "attributes", "name"), [
    (ANN, "text", {"content-encoding": "gzip"}, "m7"),
    (ANN, "text", {"Content-Encoding": "GZIP", "key": "k"}, "k"),
    (gzip.compress(b"A") + gzip.compress(b"nn"), "text", {"content-encoding": "gzip"}, "m7"),
    (JSON_ANN, "jsonl", {"CONTENT-ENCODING": "Gzip"}, "j"),
    (b"Ann", "text", {"content-encoding": "identity"}, "m7"),
])  # fmt: skip
def test_a_compressed_message(data: bytes, input_format: str, attributes: dict[str, str], name: str) -> None:
    document = read(data, input_format, **attributes)
    assert isinstance(document, Document)
    assert (document.id, document.text, document.attributes) == (name, "Ann", attributes)
    failed = Failure.of_document(document, "x", "classify")
    assert failed.payload == data  # as it came, however large it is once it is decompressed
    assert result_attributes(result(id="d", attributes=attributes)).keys() == {"id"} | (attributes.keys() & {"key"})
    again = document_of_failure_row(failure_json_row(failed), input_format, FIELDS)
    assert isinstance(again, Document)
    assert (again.id, again.text, again.payload) == (name, "Ann", data)


BOMB = gzip.compress(bytes(2**20)) * 257


@pytest.mark.parametrize(("data", "told"), [
    (BOMB, "the message has more than 268435456 bytes once it is decompressed"),
    (ANN[:-1], "the gzip stream ends early, after"),
    (b"", "the gzip stream ends early, after 0 compressed bytes"),
    (b"Ann, in plain text", "the gzip stream is corrupt near compressed byte"),
    (ANN[:12] + b"x" + ANN[13:], "the gzip stream is corrupt near compressed byte"),
    (gzip.compress(b"caf\xe9"), "byte 3 of the message is not UTF-8"),
])  # fmt: skip
def test_a_message_that_cannot_be_decompressed_fails_with_its_bytes(data: bytes, told: str) -> None:
    failure = read(data, "text", **{"content-encoding": "gzip"})
    assert isinstance(failure, Failure)
    assert told in failure.error
    assert (failure.payload, failure.receipt) == (data, "receipt")
    assert failure.attributes == {"content-encoding": "gzip", "id": "m7"}
    again = document_of_failure_row(failure_json_row(failure), "text", FIELDS)
    assert isinstance(again, Failure)
    assert again.payload == data


@pytest.mark.parametrize(
    "value", ["", " ", "now", "-1", "1_000", "١٢٣", "2026-13-01T00:00:00Z", "1e3", "1969-01-01T00:00:00Z"]
)
def test_a_time_that_is_none(value: str) -> None:
    with pytest.raises(BadTimestampError):
        parse_timestamp(value)


def test_a_time_with_an_offset() -> None:
    assert parse_timestamp("2023-11-14T23:13:20+01:00") == 1_700_000_000


def test_receipts_keep_whatever_a_key_holds() -> None:
    receipt = Receipt("projects/p/subscriptions/s", 'a"\n\x00🙂', "ack")
    assert Receipt.parse(str(receipt)) == receipt


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({f"k{n}": "" for n in range(100)}, ""),
        ({f"k{n}": "" for n in range(101)}, "101 attributes"),
        ({"": "v"}, "0 bytes"),
        ({"é" * 128: "é" * 512}, ""),
        ({"é" * 128 + "a": "v"}, "257 bytes"),
        ({"k": "é" * 512 + "a"}, "1025 bytes"),
        ({"k": "\ud800"}, "not valid Unicode"),
    ],
)
def test_limits_of_attributes(attributes: dict[str, str], told: str) -> None:
    assert (told in attribute_problem(attributes)) if told else attribute_problem(attributes) == ""


def result(**changes: object) -> DocumentEntities:
    entity = Entity("GIVEN_NAME", 0.5, "ann", 0, 3, "Ann")
    document = Document("d", "Ann", {"lang": "en"}, receipt="receipt")
    plain = DocumentEntities(document, (entity,), 1, 1, False, "m", "r", "first")
    of_document = {name: value for name, value in changes.items() if hasattr(document, name)}
    others = {name: value for name, value in changes.items() if name not in of_document}
    return replace(plain, document=replace(document, **of_document), **others)


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("d", {"lang": "en"}, {"lang": "en", "id": "d"}),
        ("d", {"id": "d"}, {"id": "d"}),
        ("d", {"id": "old"}, {"original_id": "old", "id": "d"}),
        ("d", {"id": "old", "original_id": "older"}, {"original_id": "older", "id": "d"}),
        ("d", {"googclient_schemaencoding": "JSON", "data": "x", "topic": "y"}, {"data": "x", "topic": "y", "id": "d"}),
        ("d" * 1025, {"a": "b"}, {"a": "b"}),
        ("d", {f"k{n}": "" for n in range(100)}, {f"k{n}": "" for n in range(100)}),
    ],
)
def test_result_attributes(name: str, attributes: dict[str, str], expected: dict[str, str]) -> None:
    assert result_attributes(result(id=name, attributes=attributes)) == expected


def test_message_of_result() -> None:
    message = message_of_result(result(), True, "lang")
    assert isinstance(message, Outgoing)
    row = json.loads(message.data)
    assert (row["id"], row["text"], row["entities"][0]["entity_group"]) == ("d", "Ann", "GIVEN_NAME")
    assert (message.attributes, message.ordering_key) == ({"lang": "en", "id": "d"}, "en")
    assert message_of_result(result(), False, "other").ordering_key == ""
    assert "text" not in json.loads(message_of_result(result(), False, None).data)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"text": "SECRET" * 2_000_000}, "the limit is 10000000"),
        ({"attributes": {"k": "SECRET" * 200}}, "1200 bytes"),
        ({"attributes": {"lang": "x" * 1025}}, "1025 bytes"),
        ({"entities": (Entity("A", float("nan"), "", 0, 1),)}, "not JSON"),
        ({"entities": (Entity("A", 0.5, "\ud800", 0, 1),)}, "not JSON"),
    ],
)
def test_a_result_that_no_message_holds(changes: dict[str, object], told: str) -> None:
    given = result(payload=b"\x00the original", **changes)
    failure = message_of_result(given, True, "lang")
    assert isinstance(failure, Failure)
    assert told in failure.error
    assert "SECRET" not in failure.error
    assert (failure.payload, failure.stage, failure.receipt) == (b"\x00the original", "write", "receipt")


def failure_of(payload: bytes, **attributes: str) -> Failure:
    return Failure(payload, "it is bad", "parse", attributes, "File x, line 1", 1.5, "receipt")


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    ("size", "encoding"),
    [(0, "json"), (1_000, "json"), (4_000_000, "json"), (7_000_000, "json"), (7_600_000, "raw"), (9_900_000, "raw")],
)
def test_message_of_failure_keeps_every_byte(size: int, encoding: str) -> None:
    failure = failure_of(noise(size), key="k", googclient_x="y")
    message = message_of_failure(failure)
    assert message.attributes["payload_encoding"] == encoding
    assert message.attributes["stage"] == "parse"
    assert failure_payload(message.data, message.attributes) == failure.payload
    assert fits(message.data, message.attributes)
    if encoding == "json":
        row = json.loads(message.data)
        assert (row["errorMessage"], row["timestamp"]) == ("it is bad", "1970-01-01T00:00:01.500000+00:00")
        assert {"key": "key", "value": "k"} in row["attributes"]
    else:
        assert (message.attributes["errorMessage"], message.attributes["key"]) == ("it is bad", "k")
        assert not any(key.startswith("goog") for key in message.attributes)


def test_the_largest_message_with_the_most_attributes_has_room_in_the_dead_letter() -> None:
    attributes = {f"k{n}": "v" * 900 for n in range(100)}
    data = noise(MAX_MESSAGE_BYTES - message_bytes(b"", attributes) - 1_000)
    message = message_of_failure(failure_of(data, **attributes))
    assert failure_payload(message.data, message.attributes) == data
    assert attribute_problem(message.attributes) == ""
    assert fits(message.data, message.attributes)


def test_a_payload_that_no_message_holds_is_cut_and_says_so() -> None:
    message = message_of_failure(failure_of(noise(11_000_000)))
    assert message.attributes["payload_encoding"] == "cut"
    assert message.attributes["payload_bytes"] == "11000000"
    assert fits(message.data, message.attributes)
