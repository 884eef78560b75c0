"""Writes results and failures to Pub/Sub, with one message per document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.io.outcomes import Written
from pipeline.io.pubsub.encoding import ENCODING_ATTRIBUTE
from pipeline.io.pubsub.messages import (
    MAX_ATTRIBUTES,
    MAX_MESSAGE_BYTES,
    MAX_VALUE_BYTES,
    ORDERING_KEY_ATTRIBUTE,
    attribute_problem,
    fits,
)
from pipeline.io.pubsub.publishing import Outgoing, publish, take_counts
from pipeline.io.records import json_line
from pipeline.schemas import failure_json_row, result_row
from transforms.documents import DocumentEntities, Failure
from transforms.metrics import NAMESPACE

_FAILURES = "failures"
_TOLD = ("stage", "errorMessage", "timestamp", "payload_encoding")  # a failure's columns, as attributes of its message


def result_attributes(result: DocumentEntities, omitted: str | None = None) -> dict[str, str]:
    """Return the attributes of a result's message: the document's attributes, and its id as `id`.

    If the document has another `id` attribute, it is kept as `original_id` if there is room. Attributes whose name
    begins with `goog` are omitted, because the service reserves these names. So is `content-encoding`, since a result
    is not compressed. The `id` is omitted if it exceeds the service's limits; the row contains it too.

    Args:
        result: The result.
        omitted: A further attribute to omit.
    """
    kept = {
        key: value
        for key, value in result.attributes.items()
        if key != omitted and key.lower() != ENCODING_ATTRIBUTE and not key.lower().startswith("goog")
    }
    if len(result.id.encode()) > MAX_VALUE_BYTES or (len(kept) == MAX_ATTRIBUTES and "id" not in kept):
        return kept
    own = kept.get("id", result.id)
    if own != result.id and len(kept) < MAX_ATTRIBUTES:
        kept.setdefault("original_id", own)
    return {**kept, "id": result.id}


def message_of_result(
    result: DocumentEntities, include_text: bool, ordering_key_attribute: str | None
) -> Outgoing | Failure:
    """Return a result as a message, or a failure if the service would reject the message.

    Args:
        result: The result. The message's data is its row as JSON.
        include_text: Whether to include the document's text in the row.
        ordering_key_attribute: The attribute whose value is the ordering key. Documents without it have no key.
    """
    try:
        data = json_line(result_row(result, include_text)).encode()
    except ValueError as error:  # a number that is not finite, or a lone surrogate
        return _unwritten(result, f"the result is not JSON: {type(error).__name__}")
    # A kept ordering key is the message's own again, and not one of its attributes.
    is_kept = ordering_key_attribute == ORDERING_KEY_ATTRIBUTE
    attributes = result_attributes(result, ordering_key_attribute if is_kept else None)
    key = result.attributes.get(ordering_key_attribute, "") if ordering_key_attribute else ""
    if problem := attribute_problem(attributes):
        return _unwritten(result, problem)
    if len(key.encode()) > MAX_VALUE_BYTES:
        return _unwritten(result, f"the ordering key has {len(key.encode())} bytes, the limit is {MAX_VALUE_BYTES}")
    if not fits(data, attributes, key):
        return _unwritten(result, f"the result has {len(data)} bytes as a message, the limit is {MAX_MESSAGE_BYTES}")
    return Outgoing(data, attributes, key, result)


def _unwritten(result: DocumentEntities, problem: str) -> Failure:
    return Failure.of_document(result.document, problem, "write")


def message_of_failure(failure: Failure) -> Outgoing:
    """Return a failure as a message that the service accepts, whatever the failure contains.

    The data is the failure's row as JSON. If the row is too large, `payloadString` is left empty, since `payloadBytes`
    contains the same content. If it is still too large, the data is the payload's bytes, and the other columns are
    attributes. The attribute `payload_encoding` is then `raw`, or `cut` if only the payload's first bytes fit.
    """
    row = failure_json_row(failure)
    attributes = {"stage": failure.stage, "payload_encoding": "json"}
    for smaller in ({}, {"payloadString": ""}):
        if len(failure.payload) < MAX_MESSAGE_BYTES:
            data = json_line({**row, **smaller}).encode()
            if fits(data, attributes):
                return Outgoing(data, attributes, tag=failure)
    told = {"stage": failure.stage, "errorMessage": _cut(failure.error), "timestamp": row["timestamp"]}
    attributes = _with_own(failure, failure.payload, {**told, "payload_encoding": "raw"})
    if fits(failure.payload, attributes):
        return Outgoing(failure.payload, attributes, tag=failure)
    data = failure.payload[: MAX_MESSAGE_BYTES - 200_000]
    told |= {"payload_encoding": "cut", "payload_bytes": str(len(failure.payload))}
    return Outgoing(data, _with_own(failure, data, told), tag=failure)


def _with_own(failure: Failure, data: bytes, told: dict[str, str]) -> dict[str, str]:
    """Return the given attributes, and those document attributes for which the message has room."""
    for key, value in sorted(failure.attributes.items(), key=lambda pair: pair[0] != "id"):  # the id first
        trial = {key: value, **told}
        if not attribute_problem(trial) and not key.lower().startswith("goog") and fits(data, trial):
            told = trial
    return told


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:MAX_VALUE_BYTES].decode("utf-8", "ignore")


def failure_row_of(data: bytes, attributes: Mapping[str, str]) -> dict[str, Any]:
    """Return the failure's row from a message of `message_of_failure` whose data is the payload's bytes.

    If the payload was shortened, the attribute `payload_bytes` contains its full length.

    Args:
        data: The message's data.
        attributes: The message's attributes.
    """
    own = [{"key": key, "value": value} for key, value in attributes.items() if key not in _TOLD]
    return {"payloadBytes": data, "attributes": own, **{name: attributes.get(name, "") for name in _TOLD[:3]}}


def has_payload_as_data(attributes: Mapping[str, str]) -> bool:
    """Return whether the data of a failure's message is the payload, instead of the row as JSON."""
    return attributes.get("payload_encoding", "json") != "json"


class WriteResultMessages(beam.PTransform):
    """Publishes PCollection[DocumentEntities] to a topic; returns `Written`.

    Args:
        topic: `projects/P/topics/T`.
        include_text: Whether to include the document's text in the row.
        ordering_key_attribute: The attribute whose value becomes the ordering key.
    """

    def __init__(self, topic: str, include_text: bool = False, *, ordering_key_attribute: str | None = None) -> None:
        super().__init__()
        self._publish = _PublishResultsFn(topic, include_text, ordering_key_attribute)

    def expand(self, results: Any) -> Written:
        """Build the steps, and return the receipts and failures."""
        anytime = results | "Anytime" >> beam.WindowInto(GlobalWindows())
        published = anytime | "Publish" >> beam.ParDo(self._publish).with_outputs(_FAILURES, main="receipts")
        return Written(published["receipts"], published[_FAILURES])


class WriteFailureMessages(beam.PTransform):
    """Publishes PCollection[Failure] to a topic; returns `Written` without failures.

    Args:
        topic: `projects/P/topics/T`.
    """

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def expand(self, failures: Any) -> Written:
        """Build the steps, and return the receipts and an empty PCollection of failures."""
        publish_failures = beam.ParDo(_PublishFailuresFn(self._topic)).with_outputs(_FAILURES, main="receipts")
        published = failures | "Anytime" >> beam.WindowInto(GlobalWindows()) | "Publish" >> publish_failures
        return Written(published["receipts"], published[_FAILURES])


class _PublishFn(beam.DoFn):
    """Collects a bundle's messages, and publishes them when there are many, or when the bundle ends.

    Beam requires a window and a timestamp for outputs at a bundle's end. Receipts and failures do not use them.
    """

    _MANY = 5_000
    _MANY_BYTES = 20_000_000

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._messages: list[Outgoing] = []
        self._bytes = 0

    def start_bundle(self) -> None:
        self._messages, self._bytes = [], 0

    def add(self, message: Outgoing) -> Iterator[Any]:
        self._messages.append(message)
        self._bytes += len(message.data)
        if len(self._messages) >= self._MANY or self._bytes >= self._MANY_BYTES:
            yield from self.flush()

    def flush(self) -> Iterator[Any]:
        messages, self._messages, self._bytes = self._messages, [], 0
        for message, refusal in publish(self._topic, messages):
            if refusal:
                yield from self.refused(message, refusal)
            elif receipt := message.tag.receipt:
                yield receipt
        for name, count in take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(count)

    def refused(self, message: Outgoing, refusal: str) -> Iterator[Any]:
        raise NotImplementedError

    def finish_bundle(self) -> Iterator[Any]:
        for outcome in self.flush():
            yield _at_the_end(outcome)


def _at_the_end(outcome: Any) -> Any:
    if isinstance(outcome, TaggedOutput):
        return TaggedOutput(outcome.tag, _at_the_end(outcome.value))
    window = GlobalWindow()
    return WindowedValue(outcome, window.max_timestamp(), (window,))


class _PublishResultsFn(_PublishFn):
    def __init__(self, topic: str, include_text: bool, ordering_key_attribute: str | None) -> None:
        super().__init__(topic)
        self._include_text = include_text
        self._ordering_key_attribute = ordering_key_attribute
        self._failed = Metrics.counter(NAMESPACE, "write_failures")

    def process(self, result: DocumentEntities) -> Iterator[Any]:
        message = message_of_result(result, self._include_text, self._ordering_key_attribute)
        if isinstance(message, Failure):
            self._failed.inc()
            yield TaggedOutput(_FAILURES, message)
        else:
            yield from self.add(message)

    def refused(self, message: Outgoing, refusal: str) -> Iterator[Any]:
        self._failed.inc()
        yield TaggedOutput(_FAILURES, _unwritten(message.tag, refusal))


class _PublishFailuresFn(_PublishFn):
    def process(self, failure: Failure) -> Iterator[Any]:
        yield from self.add(message_of_failure(failure))

    def refused(self, message: Outgoing, refusal: str) -> Iterator[Any]:
        # There is no other place for the failure. Its message is not acknowledged, and the run ends with this error.
        raise ValueError(f"{self._topic} does not accept a failure: {refusal}")
