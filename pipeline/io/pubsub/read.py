"""Pub/Sub messages to documents: the function, and the transform."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from pipeline import PROGRAM
from pipeline.io.outcomes import ReadResult, sort_outcomes
from pipeline.io.pubsub.direct_pull import PullOnDirectRunner, runs_direct
from pipeline.io.pubsub.messages import BadTimestampError, Message, event_time
from pipeline.io.pubsub.splittable_pull import PullSplittably
from pipeline.io.pubsub.subscription import SubscriptionSettings
from pipeline.io.records import BOM, BadRecordError, DocumentFields, id_and_text, parse_object
from transforms.documents import Document, Failure

MESSAGE_FORMATS = ("text", "jsonl")
"""How a message's bytes may be read: all of them as text, or as one JSON object."""


def document_of_message(
    message: Message,
    input_format: str,
    fields: DocumentFields,
    *,
    source: str = "message",
    id_attribute: str | None = None,
    timestamp_attribute: str | None = None,
) -> Document | Failure:
    """Makes a document of a message, or a failure that says why it is none.

    >>> document_of_message(Message(b"Ann", {"lang": "en"}, "7"), "text", DocumentFields()).id
    '7'

    Args:
        message: The message. Its attributes become the document's, its bytes the payload of any failure.
        input_format: `text` takes all of the bytes, `jsonl` one JSON object.
        fields: Which fields of the object to take.
        source: Where it comes from, for the sentence of a failure.
        id_attribute: The attribute that holds the document's id. A message without it is named by the object's id
            field, and without that by the service's message id.
        timestamp_attribute: The attribute that holds the event time, as RFC 3339 or epoch milliseconds; of a message
            without it, the time of publishing is taken.
    """
    name = (message.attributes.get(id_attribute) if id_attribute else None) or ""
    attributes = {**message.attributes, "id": name or message.message_id}
    try:
        timestamp = event_time(message, timestamp_attribute)
    except BadTimestampError as problem:
        error = f"{source}:{message.message_id}: attribute {timestamp_attribute!r} {problem}"
        return Failure(message.data, error, "parse", attributes, receipt=message.receipt)
    try:
        record_id, text = _content(message.data, input_format, fields)
    except BadRecordError as problem:
        error = f"{source}:{message.message_id}: {problem}"
        return Failure(message.data, error, "parse", attributes, receipt=message.receipt)
    return Document(
        name or record_id or message.message_id,
        text,
        dict(message.attributes),
        timestamp,
        # Of plain text the bytes are the text: carrying both would double the memory.
        message.data if input_format != "text" or message.data.startswith(BOM) else None,
        message.receipt,
    )


def _content(data: bytes, input_format: str, fields: DocumentFields) -> tuple[str, str]:
    """The id, empty if there is none, and the text of a message's bytes."""
    plain = data.removeprefix(BOM)
    if input_format == "text":
        try:
            return "", plain.decode("utf-8")
        except UnicodeDecodeError as error:
            at = error.start + len(data) - len(plain)
            raise BadRecordError(f"byte {at} of the message is not UTF-8") from None
    return id_and_text(parse_object(plain, "message"), fields)


def parse_message(
    message: Message, input_format: str, fields: DocumentFields, **settings: Any
) -> Iterator[Document | Failure]:
    """Gives the one outcome of `document_of_message`."""
    yield document_of_message(message, input_format, fields, **settings)


class ReadMessages(beam.PTransform):
    """Reads Pub/Sub messages into documents; what is none becomes failures.

    On Dataflow its own reader is used, which acknowledges a message when its bundle is committed. Elsewhere a
    message is acknowledged when `Acknowledge` gets its receipt, which every sink gives when the result is durable.

    An element's timestamp is the event time, or the watermark where the message comes behind it: no window drops it
    as late. The true event time is the document's `timestamp`.

    Args:
        source: `projects/P/subscriptions/S`; or on Dataflow and the DirectRunner `projects/P/topics/T`, of which a
            subscription is made for the run: what was published before it, or is after it, is not read.
        input_format: One of `MESSAGE_FORMATS`.
        text_field: For jsonl, the field with the text.
        id_field: For jsonl, the field with the id, used where there is no `id_attribute`.
        id_attribute: The attribute with the id. Messages of the same id within ten minutes are one.
        timestamp_attribute: The attribute with the event time.
        hold_seconds: How long a sink may keep results before it writes them; their messages stay leased for it.

    Raises:
        ValueError: If the format is unknown, or a topic is to be read where only a subscription can be.
    """

    def __init__(
        self,
        source: str,
        input_format: str,
        text_field: str = "text",
        id_field: str = "id",
        *,
        id_attribute: str | None = None,
        timestamp_attribute: str | None = None,
        hold_seconds: float = 0,
    ) -> None:
        super().__init__()
        if input_format not in MESSAGE_FORMATS:
            raise ValueError(f"--input_format={input_format} is none of {', '.join(MESSAGE_FORMATS)} for messages")
        self._source = source
        self._id_attribute = id_attribute
        self._timestamp_attribute = timestamp_attribute
        self._hold_seconds = hold_seconds
        self._parse = partial(
            parse_message,
            input_format=input_format,
            fields=DocumentFields(text_field, id_field),
            source=source,
            id_attribute=id_attribute,
            timestamp_attribute=timestamp_attribute,
        )

    def expand(self, pbegin: Any) -> ReadResult:
        return read_messages(
            pbegin,
            self._source,
            self._parse,
            self._id_attribute,
            self._timestamp_attribute,
            hold_seconds=self._hold_seconds,
        )


def read_messages(
    pbegin: Any,
    source: str,
    parse: Callable[[Message], Iterator[Document | Failure]],
    id_attribute: str | None = None,
    timestamp_attribute: str | None = None,
    *,
    hold_seconds: float = 0,
) -> ReadResult:
    """The steps from a subscription to what a function makes of its messages; see `ReadMessages`."""
    pull = _pull(pbegin.pipeline, source, id_attribute, timestamp_attribute, hold_seconds)
    messages = pbegin | "Pull" >> pull
    return sort_outcomes(messages, "Parse", parse)


def _pull(
    pipeline: beam.Pipeline,
    source: str,
    id_attribute: str | None,
    timestamp_attribute: str | None,
    hold_seconds: float,
) -> beam.PTransform:
    if pipeline.options.view_as(StandardOptions).runner == "DataflowRunner":
        return _PullNatively(source, id_attribute, timestamp_attribute)
    direct = runs_direct(pipeline)
    if not direct and "/topics/" in source:
        raise ValueError(f"--input={source} is a topic, which this runner does not read; name a subscription of it")
    subscription, topic = _subscription_of(source)
    settings = SubscriptionSettings(
        subscription,
        id_attribute,
        timestamp_attribute,
        topic=topic,
        max_lease_seconds=SubscriptionSettings.max_lease_seconds + hold_seconds,
    )
    return PullOnDirectRunner(settings) if direct else PullSplittably(settings)


def _subscription_of(source: str) -> tuple[str, str | None]:
    """The subscription to read, and the topic that it is to be made of for the run, if it is."""
    project, _, topic = source.partition("/topics/")
    if not topic:
        return source, None
    return f"{project}/subscriptions/{PROGRAM}-{uuid.uuid4().hex[:16]}", source


class _PullNatively(beam.PTransform):
    """Reads with Beam's own transform, which Dataflow replaces by its service's."""

    def __init__(self, source: str, id_attribute: str | None, timestamp_attribute: str | None) -> None:
        super().__init__()
        self._place = {"topic" if "/topics/" in source else "subscription": source}
        self._id_attribute = id_attribute
        self._timestamp_attribute = timestamp_attribute

    def expand(self, pbegin: Any) -> Any:
        read = beam.io.ReadFromPubSub(
            **self._place,
            with_attributes=True,
            id_label=self._id_attribute,
            timestamp_attribute=self._timestamp_attribute,
        )
        return pbegin | "ReadFromPubSub" >> read | "Messages" >> beam.Map(message_of_beam)


def message_of_beam(message: Any) -> Message:
    """Beam's `PubsubMessage` as ours, without a receipt."""
    published = message.publish_time
    return Message(
        message.data or b"",
        dict(message.attributes or {}),
        message.message_id or "",
        None if published is None else published.timestamp(),
    )
