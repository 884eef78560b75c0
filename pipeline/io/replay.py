"""A dead letter as input: failed records are read again from their original bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import apache_beam as beam

from pipeline.io.bigquery.read import QUERY_SOURCE, read_rows, read_table
from pipeline.io.fields import BadRecordError, DocumentFields
from pipeline.io.files.formats.jsonl import json_lines
from pipeline.io.files.formats.registry import format_of_ending
from pipeline.io.files.lines import too_long
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import guarded, read_files
from pipeline.io.outcomes import ReadResult
from pipeline.io.pubsub.encoding import decoded
from pipeline.io.pubsub.messages import Message
from pipeline.io.pubsub.read import read_messages
from pipeline.io.pubsub.write import failure_row_of, has_payload_as_data
from pipeline.io.records import document_of, parse_object
from pipeline.places import Files, Subscription, Table, Topic, place_of
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure
from transforms.errors import ArgumentError

REPLAY_FORMATS = ("auto", "text", "whole_text", "jsonl", "avro", "parquet", "bigquery")
"""The formats of the records in a dead letter.

Records of Avro, Parquet and BigQuery are stored in it as JSON. Records of CSV cannot be read again, since their header
row is not stored with them.
"""

NEEDED_COLUMNS = ("payloadBytes", "attributes")
"""The columns without which a table is not a dead letter."""

_COLUMNS = (*NEEDED_COLUMNS, "stage")


def document_of_failure_row(
    row: Mapping[str, Any], input_format: str, fields: DocumentFields, place: str = "dead letter"
) -> Document | Failure:
    """Makes a document from a failure's row, by the same rules as at the record's first reading.

    The document keeps the failure's attributes. Its id is the failure's `id` attribute, with one exception: if that is
    only a place in a file, an id in the record comes first. If a row contains no record, or the record fails again, the
    result is a failure with the same bytes and attributes.

    Args:
        row: A row with the columns `payloadBytes` (bytes, or base64 as in JSON), `attributes` and `stage`.
        input_format: One of `REPLAY_FORMATS`. With `auto`, the name in the record's `source` attribute decides. Records
            from Pub/Sub have no such attribute, so their format must be given.
        fields: The names of the JSON record's fields with the text and the id.
        place: The row's own place, for error messages. It is also the source of a record without one.
    """
    payload, attributes = b"", {"source": place}
    try:
        payload = _payload(row)
        own = _attributes(row)
        attributes |= own
        _check_whole(payload, own)
        record = _record(decoded(payload, own), row.get("stage"), input_format, fields, own)
    except BadRecordError as problem:
        return Failure(payload, f"{place}: {problem}", "parse", attributes)
    name = f"replay-{hashlib.sha256(payload).hexdigest()[:16]}"
    outcome = document_of(record, fields, attributes["source"], name, payload)
    if isinstance(outcome, Failure):
        return replace(outcome, attributes={**outcome.attributes, **attributes})
    kept = {key: value for key, value in attributes.items() if key != "id"}
    return Document(outcome.id, outcome.text, kept, payload=payload)


def _payload(row: Mapping[str, Any]) -> bytes:
    value = row.get("payloadBytes")
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)  # type: ignore[arg-type]  # a value that is not a string is reported below
    except (TypeError, ValueError, binascii.Error):
        raise BadRecordError("'payloadBytes' is not base64, so this is not a row of a dead letter") from None


def _attributes(row: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {str(pair["key"]): str(pair["value"]) for pair in row.get("attributes") or ()}
    except (TypeError, KeyError):
        raise BadRecordError(
            "'attributes' contains no keys and values, so this is not a row of a dead letter"
        ) from None


def _check_whole(payload: bytes, attributes: Mapping[str, str]) -> None:
    """Rejects a record whose message contains only its first bytes, because the topic's limit left no room for all."""
    whole = attributes.get("payload_bytes", "")
    if re.fullmatch(r"[0-9]{1,18}", whole) and int(whole) > len(payload):
        raise BadRecordError(f"only {len(payload)} of the record's {whole} bytes are here; read it from its source")


def _record(
    payload: bytes, stage: Any, input_format: str, fields: DocumentFields, attributes: Mapping[str, str]
) -> dict[str, Any]:
    """Return the record with the fields that make a document."""
    source = attributes.get("source", "")  # not the dead letter's own name, which does not show the record's format
    if not payload and stage == "read":
        raise BadRecordError("the failure is that of a whole file or stream, not of a record; read that again")
    kind = format_of(source) if input_format == "auto" else input_format
    if kind not in REPLAY_FORMATS:
        raise BadRecordError(f"a record of {kind} cannot be read again without the rest of its file")
    record: dict[str, Any] = {fields.texts[0]: payload} if kind in ("text", "whole_text") else parse_object(payload)
    known = attributes.get("id")
    own = record.get(fields.id)
    if known and (own is None or not known.startswith(f"{source}:")):
        record = {**record, fields.id: known}
    return record


def format_of(source: str) -> str:
    """Return the format of the records from a source.

    >>> format_of("gs://bucket/tickets-7.jsonl.gz"), format_of("my-project:ner.tickets")
    ('jsonl', 'bigquery')

    Raises:
        BadRecordError: If the source's name does not determine the format.
    """
    place = place_of(source)
    if isinstance(place, Table) or source == QUERY_SOURCE:
        return "bigquery"
    if isinstance(place, Subscription | Topic):
        return "text"
    found = format_of_ending(source)
    if found is None:
        raise BadRecordError("the name of the record's source contains no format; expected --input_format")
    return found


def read_failure_lines(shard: Shard, input_format: str, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads a shard of the dead letter's JSON Lines files."""
    return guarded(shard, _failure_lines(shard, input_format, fields))


def _failure_lines(shard: Shard, input_format: str, fields: DocumentFields) -> Iterator[Document | Failure]:
    for offset, line in json_lines(shard):
        if line is None:
            yield too_long(shard.source, offset)
            continue
        place = f"{shard.source}:{offset}"
        try:
            row = parse_object(line)
        except BadRecordError as problem:
            yield Failure(line, f"{place}: {problem}", "parse", {"source": shard.source})
            continue
        outcome = document_of_failure_row(row, input_format, fields, place)
        if isinstance(outcome, Failure) and _is_no_row(outcome, row):
            outcome = replace(outcome, payload=line)
        yield outcome


def read_failure_stream(
    name: str, input_format: str, fields: DocumentFields, source: str
) -> Iterator[Document | Failure]:
    """Reads a stream of rows of a failure table."""
    for row in read_rows(name):
        yield document_of_failure_row(row, input_format, fields, source)


def document_of_failure_message(
    message: Message, input_format: str, fields: DocumentFields, source: str
) -> Document | Failure:
    """Makes a document from a message of a dead letter's topic, as `document_of_failure_row` does from a row.

    The message may have either form that `pipeline.io.pubsub.write.message_of_failure` makes. The result contains the
    record's attributes instead of the message's, and the message's receipt. If the message does not belong to a dead
    letter, the failure contains the message's own data and attributes.

    Args:
        message: The message.
        input_format: One of `REPLAY_FORMATS`.
        fields: The names of the JSON record's fields with the text and the id.
        source: The subscription's name, for error messages.
    """
    place = f"{source}:{message.message_id}"
    attributes = {"id": message.message_id, **message.attributes}
    try:
        as_data = has_payload_as_data(message.attributes)
        row = failure_row_of(message.data, message.attributes) if as_data else parse_object(message.data, "message")
    except BadRecordError as problem:
        return Failure(message.data, f"{place}: {problem}", "parse", attributes, receipt=message.receipt)
    outcome = document_of_failure_row(row, input_format, fields, place)
    own = {key: value for key, value in outcome.attributes.items() if (key, value) != ("source", place)}
    if isinstance(outcome, Document):
        return replace(outcome, attributes=own, timestamp=message.publish_time, receipt=message.receipt)
    if _is_no_row(outcome, row):
        return replace(outcome, payload=message.data, attributes=attributes, receipt=message.receipt)
    return replace(outcome, attributes=own, receipt=message.receipt)


def _is_no_row(failure: Failure, row: Mapping[str, Any]) -> bool:
    """Return whether a failed row does not belong to a dead letter: it has no payload, and its stage is not `read`."""
    return not failure.payload and row.get("stage") != "read"


def read_failure_message(
    message: Message, input_format: str, fields: DocumentFields, source: str
) -> Iterator[Document | Failure]:
    """Yield the one outcome of `document_of_failure_message`."""
    yield document_of_failure_message(message, input_format, fields, source)


class ReadFailures(beam.PTransform):
    """Reads a dead letter's records again as documents; records that cannot be read become failures again.

    Args:
        place: Files of JSON Lines (a glob), a table, or a subscription to a topic. Messages are acknowledged as by
            `ReadMessages`.
        input_format: The format of the records, one of `REPLAY_FORMATS`; not the format of the dead letter.
        text_field: The field of a JSON record with the text, or several separated by commas.
        id_field: The field of a JSON record with the id.
        keep: The fields that are passed on to the results.
        hold_seconds: As for `ReadMessages`.

    Raises:
        ValueError: If records of the format cannot be read again, or if the place is of another kind.
    """

    def __init__(
        self,
        place: Files | Table | Subscription,
        input_format: str = "auto",
        text_field: str = "text",
        id_field: str = "id",
        keep: tuple[KeptField, ...] = (),
        hold_seconds: float = 0,
    ) -> None:
        super().__init__()
        if input_format not in REPLAY_FORMATS:
            raise ArgumentError(f"input_format={input_format}: unknown; expected one of {', '.join(REPLAY_FORMATS)}")
        if not isinstance(place, Files | Table | Subscription):
            raise ValueError(f"place={place}: unknown; expected files, a table or a subscription")
        self._place = place
        self._hold_seconds = hold_seconds
        fields = DocumentFields(text_field, id_field, keep)
        self._settings: dict[str, Any] = {"input_format": input_format, "fields": fields}

    def expand(self, pbegin: Any) -> ReadResult:
        """Build the steps, and return the documents and failures."""
        if isinstance(self._place, Files):
            return read_files(pbegin, self._place.paths, "jsonl", partial(read_failure_lines, **self._settings))
        if isinstance(self._place, Subscription):
            read = partial(read_failure_message, source=str(self._place), **self._settings)
            return read_messages(pbegin, str(self._place), read, hold_seconds=self._hold_seconds)
        read = partial(read_failure_stream, source=str(self._place), **self._settings)
        return read_table(pbegin, self._place, _COLUMNS, read)
