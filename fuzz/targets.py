"""The targets: parsers of arbitrary bytes, and checks of their outcomes.

A target parses bytes and raises an error if one of these happens:

- the parser raises an exception, where it should return a failure
- a record is lost or duplicated
- UTF-8 cannot encode a document
- an error message quotes the record
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator

from pipeline.io.compression import COMPRESSION_ENDINGS, decompress
from pipeline.io.fields import BadRecordError, DocumentFields
from pipeline.io.files.formats import csv, jsonl, text
from pipeline.io.files.formats.csv_rows import read_rows
from pipeline.io.files.formats.json_values import split_values
from pipeline.io.files.lines import split_lines, strip_ending
from pipeline.io.pubsub.messages import Message, attribute_problem
from pipeline.io.pubsub.read import MESSAGE_FORMATS, document_of_message
from pipeline.io.records import BOM, UnreadableError, json_line, parse_object
from pipeline.io.replay import REPLAY_FORMATS, document_of_failure_row
from pipeline.schemas import KeptField, failure_json_row
from transforms.beam.coders import DocumentCoder, FailureCoder
from transforms.documents import Document, Failure

FIELDS = DocumentFields()
ALL_FIELDS = DocumentFields(keep=(KeptField("*"),))
PATHS = DocumentFields("text,a.text", "a.id", (KeptField("id", "STRING", "id"), KeptField("a.b", "INTEGER", "a_b")))
_QUOTED = 16
"""The number of characters of a record that count as a quotation, if they are in an error message."""


def _blocks(data: bytes) -> list[bytes]:
    """Split the bytes into blocks; the first byte determines their size."""
    size = 1 + (data[0] if data else 0)
    return [data[start : start + size] for start in range(0, len(data), size)]


def check(outcome: Document | Failure, record: bytes) -> None:
    """Checks one outcome of a record."""
    if isinstance(outcome, Document):
        outcome.text.encode()
        outcome.id.encode()
        if DocumentCoder().decode(DocumentCoder().encode(outcome)) != outcome:
            raise AssertionError("the document is another one after it was encoded")
        return
    if outcome.payload != record:
        raise AssertionError("the failure has other bytes than the record")
    line = json_line(failure_json_row(outcome))
    if base64.b64decode(json.loads(line)["payloadBytes"]) != record:
        raise AssertionError("the dead letter has other bytes than the record")
    if FailureCoder().decode(FailureCoder().encode(outcome)) != outcome:
        raise AssertionError("the failure is another one after it was encoded")
    _check_quotes_nothing(outcome.error, record)


def _check_quotes_nothing(sentence: str, record: bytes) -> None:
    content = record.decode("utf-8", "replace")
    told = sentence.replace("\ufffd", "")
    for start in range(len(told) - _QUOTED + 1):
        if told[start : start + _QUOTED] in content:
            raise AssertionError(f"the sentence quotes the record from its character {start} on")


def text_lines(data: bytes) -> None:
    """Lines of text, in blocks of any size."""
    lines = list(split_lines(_blocks(data)))
    if b"".join(line for _, line in lines) != data.removeprefix(BOM):
        raise AssertionError("the lines are not the bytes")
    for offset, line in lines:
        check(text.document_of_line(strip_ending(line), "f", offset), strip_ending(line))


def json_lines(data: bytes) -> None:
    """Lines of JSON."""
    for offset, line in split_lines(_blocks(data)):
        record = strip_ending(line)
        for fields in (FIELDS, ALL_FIELDS, PATHS):
            check(jsonl.document_of_object(record, fields, "f", offset), record)


def json_arrays(data: bytes) -> None:
    """The values of a JSON file, in blocks of any size."""
    found = list(split_values(_blocks(data)))
    if found != list(split_values([data])):
        raise AssertionError("the values depend on the blocks")
    end = 0
    for offset, value in found:
        if value is None or not data[offset:].startswith(value):
            raise AssertionError("the value is not in the file")
        between = data[end:offset].removeprefix(BOM if end == 0 else b"")
        if between.strip(b" \t\r\n\v\f,[]"):
            raise AssertionError("bytes between two values are lost")
        end = offset + len(value)
        check(jsonl.document_of_object(value, FIELDS, "f", offset), value)
    if data[end:].removeprefix(BOM if end == 0 else b"").strip(b" \t\r\n\v\f,[]"):
        raise AssertionError("bytes after the last value are lost")


def csv_records(data: bytes) -> None:
    """Records of CSV in several dialects, below a header of two or of three fields."""
    for delimiter, escape in ((",", "double"), (";", "backslash"), ("§", "double")):
        _csv_records(data, delimiter, escape)


def _csv_records(data: bytes, delimiter: str, escape: str) -> None:
    header = ["id", "text"] if data[:1] < b"\x80" else ["text", "other", "id"]
    read = b""
    for row in read_rows(split_lines(_blocks(data)), delimiter, escape):
        if row.raw not in data:
            raise AssertionError("the record is not in the file")
        read += row.raw
        check(csv.document_of_row(row, header, FIELDS, "f"), row.raw)
    if sorted(read.replace(b"\n", b"").replace(b"\r", b"")) != sorted(
        data.removeprefix(BOM).replace(b"\n", b"").replace(b"\r", b"")
    ):
        raise AssertionError("the records are not the file")


def messages(data: bytes) -> None:
    """Pub/Sub messages of both formats, with attributes; the first byte is the length of an attribute's value."""
    length, rest = (data[0], data[1:]) if data else (0, b"")
    value = rest[:length].decode("utf-8", "replace")
    for input_format in MESSAGE_FORMATS:
        message = Message(rest[length:], {"at": value, "key": value}, "7", 1.0)
        outcome = document_of_message(
            message, input_format, FIELDS, id_attribute="key", timestamp_attribute="at" if length % 2 else None
        )
        check(outcome, message.data)
    attribute_problem({value: value})


def dead_letter_rows(data: bytes) -> None:
    """Rows of a dead letter: parsed from the bytes, and with the bytes as their payload."""
    try:
        rows = [parse_object(data)]
    except BadRecordError:
        rows = []
    rows.append(_row_of(data))
    for row in rows:
        for input_format in REPLAY_FORMATS:
            outcome = document_of_failure_row(row, input_format, FIELDS)
            payload = outcome.payload if isinstance(outcome, Failure) else b""
            check(outcome, payload)


def _row_of(data: bytes) -> dict[str, object]:
    source = ["a.jsonl", "a.txt", "p-p:d.t", "a.csv", "projects/p/subscriptions/s", "", "query"][len(data) % 7]
    attributes = [{"key": "source", "value": source}, {"key": "id", "value": data[:8].decode("utf-8", "replace")}]
    return {"payloadBytes": base64.b64encode(data).decode(), "attributes": attributes, "stage": "parse"}


def compressed(data: bytes) -> None:
    """Compressed streams, which must be read to their end or raise `UnreadableError`."""
    for kind in [*COMPRESSION_ENDINGS.values(), "deflate"]:
        try:
            _drain(decompress(_blocks(data), kind))
        except UnreadableError as problem:
            _check_quotes_nothing(str(problem), data)


def _drain(blocks: Iterator[bytes], most: int = 2**24) -> None:
    size = 0
    for block in blocks:
        size += len(block)
        if size > most:  # a bomb is not what is looked for here
            return


TARGETS: dict[str, Callable[[bytes], None]] = {
    "text": text_lines,
    "jsonl": json_lines,
    "arrays": json_arrays,
    "csv": csv_records,
    "messages": messages,
    "replay": dead_letter_rows,
    "compressed": compressed,
}
