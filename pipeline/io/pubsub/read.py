"""Reads Pub/Sub messages as documents: the function, and the transform."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import StandardOptions

from pipeline import PROGRAM
from pipeline.io.fields import BadRecordError, DocumentFields
from pipeline.io.outcomes import ReadResult, sort_outcomes
from pipeline.io.pubsub.direct_pull import PullOnDirectRunner, runs_direct
from pipeline.io.pubsub.encoding import decoded
from pipeline.io.pubsub.messages import BadTimestampError, Message, event_time
from pipeline.io.pubsub.splittable_pull import PullSplittably
from pipeline.io.pubsub.subscription import SubscriptionSettings
from pipeline.io.records import BOM, content_of, parse_object
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure
from transforms.errors import ArgumentError

MESSAGE_FORMATS = ("text", "jsonl")
"""The formats of a message's bytes: all of them as text, or one JSON object."""


def document_of_message(
    message: Message,
    input_format: str,
    fields: DocumentFields,
    *,
    source: str = "message",
    id_attribute: str | None = None,
    timestamp_attribute: str | None = None,
) -> Document | Failure:
    """Makes a document from a message, or a failure that describes why this is not possible.

    >>> document_of_message(Message(b"Ann", {"lang": "en"}, "7"), "text", DocumentFields()).id
    '7'

    Args:
        message: The message. Its attributes become the document's, and its bytes become the payload of a failure.
        input_format: `text` for all bytes as text, or `jsonl` for one JSON object.
        fields: The names of the object's fields with the text and the id.
        source: The source's name, for the sentence of a failure.
        id_attribute: The attribute with the document's id. Without it, the object's id field is used. Without that
            field, the service's message id is used.
        timestamp_attribute: The attribute with the event time, as RFC 3339 or epoch milliseconds. Without it, the
            publish time is used.
    """
    name = (message.attributes.get(id_attribute) if id_attribute else None) or ""
    attributes = {**message.attributes, "id": name or message.message_id}
    try:
        timestamp = event_time(message, timestamp_attribute)
    except BadTimestampError as problem:
        error = f"{source}:{message.message_id}: attribute {timestamp_attribute!r} {problem}"
        return Failure(message.data, error, "parse", attributes, receipt=message.receipt)
    try:
        data = decoded(message.data, message.attributes)
        record_id, text, kept = _content(data, input_format, fields)
    except BadRecordError as problem:
        error = f"{source}:{message.message_id}: {problem}"
        return Failure(message.data, error, "parse", attributes, receipt=message.receipt)
    return Document(
        name or record_id or message.message_id,
        text,
        dict(message.attributes),
        timestamp,
        # For plain text, the text contains the same bytes: to carry both would double the memory.
        message.data if input_format != "text" or data is not message.data or data.startswith(BOM) else None,
        message.receipt,
        kept,
    )


def _content(data: bytes, input_format: str, fields: DocumentFields) -> tuple[str, str, Mapping[str, Any]]:
    """Return the id, the text and the kept fields of a message's bytes; the id is empty if there is none."""
    plain = data.removeprefix(BOM)
    if input_format == "text":
        try:
            return "", plain.decode("utf-8"), {}
        except UnicodeDecodeError as error:
            at = error.start + len(data) - len(plain)
            raise BadRecordError(f"byte {at} of the message is not UTF-8") from None
    return content_of(parse_object(plain, "message"), fields)


def parse_message(
    message: Message, input_format: str, fields: DocumentFields, *, keep_ordering_key: bool = False, **settings: Any
) -> Iterator[Document | Failure]:
    """Yield the one outcome of `document_of_message`; the ordering key may be kept as an attribute."""
    message = message.with_key_attribute if keep_ordering_key else message
    yield document_of_message(message, input_format, fields, **settings)


class ReadMessages(beam.PTransform):
    """Reads Pub/Sub messages as documents; messages that cannot become documents become failures.

    On Dataflow, its own reader is used, which acknowledges a message when the message's bundle is committed. On other
    runners, `Acknowledge` acknowledges a message by its receipt. Every sink returns the receipt when the result is
    durable.

    An element's timestamp is the event time, or the watermark if the event time is before it. So no window drops the
    message as late. The document's `timestamp` is always the true event time.

    Args:
        source: `projects/P/subscriptions/S`, or on Dataflow and the DirectRunner also `projects/P/topics/T`. For a
            topic, a subscription is made for the run. Messages published before or after the run are not read.
        input_format: One of `MESSAGE_FORMATS`.
        text_field: For jsonl, the field with the text, or several separated by commas.
        id_field: For jsonl, the field with the id, used if there is no `id_attribute`.
        keep: For jsonl, the fields that are passed on to the results.
        id_attribute: The attribute with the id. Messages with the same id within ten minutes count as one.
        timestamp_attribute: The attribute with the event time.
        hold_seconds: The time for which a sink may hold results before it writes them. Messages stay leased for that
            much longer.
        keep_ordering_key: Whether a document has its message's ordering key as an attribute, from which
            `WriteResultMessages` can take it.

    Raises:
        ValueError: If the format is unknown, or if the source is a topic on a runner that reads only subscriptions.
    """

    def __init__(
        self,
        source: str,
        input_format: str,
        text_field: str = "text",
        id_field: str = "id",
        keep: tuple[KeptField, ...] = (),
        *,
        id_attribute: str | None = None,
        timestamp_attribute: str | None = None,
        hold_seconds: float = 0,
        keep_ordering_key: bool = False,
    ) -> None:
        super().__init__()
        if input_format not in MESSAGE_FORMATS:
            raise ArgumentError(
                f"input_format={input_format}: unknown for messages; expected one of {', '.join(MESSAGE_FORMATS)}"
            )
        self._source = source
        self._id_attribute = id_attribute
        self._timestamp_attribute = timestamp_attribute
        self._hold_seconds = hold_seconds
        self._parse = partial(
            parse_message,
            input_format=input_format,
            fields=DocumentFields(text_field, id_field, keep),
            source=source,
            id_attribute=id_attribute,
            timestamp_attribute=timestamp_attribute,
            keep_ordering_key=keep_ordering_key,
        )

    def expand(self, pbegin: Any) -> ReadResult:
        """Build the steps, and return the documents and failures."""
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
    """Builds the steps that pull messages, and that apply a function to each of them; see `ReadMessages`."""
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
        raise ValueError(f"source={source}: is a topic, which this runner does not read; expected a subscription of it")
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
    """Return the subscription to read, and the topic if the subscription is made for the run (otherwise None)."""
    project, _, topic = source.partition("/topics/")
    if not topic:
        return source, None
    return f"{project}/subscriptions/{PROGRAM}-{uuid.uuid4().hex[:16]}", source


class _PullNatively(beam.PTransform):
    """Reads with Beam's own transform, which Dataflow replaces by its service's reader."""

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
    """Converts Beam's `PubsubMessage` to a `Message` without a receipt."""
    published = message.publish_time
    return Message(
        message.data or b"",
        dict(message.attributes or {}),
        message.message_id or "",
        None if published is None else published.timestamp(),
        ordering_key=message.ordering_key or "",
    )
