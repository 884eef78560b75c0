"""Results and failures to Pub/Sub: one message a document."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from pipeline.io.outcomes import Written
from pipeline.io.pubsub.messages import MAX_ATTRIBUTES, MAX_MESSAGE_BYTES, MAX_VALUE_BYTES, attribute_problem, fits
from pipeline.io.pubsub.publishing import Outgoing, publish, take_counts
from pipeline.io.records import json_line
from pipeline.schemas import failure_json_row, result_row
from transforms.documents import DocumentEntities, Failure
from transforms.metrics import NAMESPACE

_FAILURES = "failures"
_TOLD = ("stage", "errorMessage", "timestamp", "payload_encoding")  # of a failure, in attributes of its message


def result_attributes(result: DocumentEntities) -> dict[str, str]:
    """The attributes of a result's message: the document's, and its id as `id`.

    A document's own attribute `id`, where that says something else, is kept as `original_id`. Attributes whose name
    begins with `goog` are the service's own, which it lets nobody publish; they are left out. The `id` is left out
    where the service has no room for it: the row has it too.
    """
    kept = {key: value for key, value in result.attributes.items() if not key.lower().startswith("goog")}
    if len(result.id.encode()) > MAX_VALUE_BYTES or (len(kept) == MAX_ATTRIBUTES and "id" not in kept):
        return kept
    own = kept.get("id", result.id)
    if own != result.id and len(kept) < MAX_ATTRIBUTES:
        kept.setdefault("original_id", own)
    return {**kept, "id": result.id}


def message_of_result(
    result: DocumentEntities, include_text: bool, ordering_key_attribute: str | None
) -> Outgoing | Failure:
    """A result as a message, or a failure if the service would not take it.

    Args:
        result: The result; its row as JSON is the message's data.
        include_text: Whether the row has the document's text.
        ordering_key_attribute: The attribute whose value is the ordering key; documents without it have none.
    """
    try:
        data = json_line(result_row(result, include_text)).encode()
    except ValueError as error:  # a number or a string that JSON has no name for
        return _unwritten(result, f"the result is no JSON: {type(error).__name__}")
    attributes = result_attributes(result)
    key = result.attributes.get(ordering_key_attribute, "") if ordering_key_attribute else ""
    if problem := attribute_problem(attributes):
        return _unwritten(result, problem)
    if len(key.encode()) > MAX_VALUE_BYTES:
        return _unwritten(result, f"the ordering key has {len(key.encode())} bytes, the limit is {MAX_VALUE_BYTES}")
    if not fits(data, attributes, key):
        return _unwritten(result, f"the result has {len(data)} bytes as a message, the limit is {MAX_MESSAGE_BYTES}")
    return Outgoing(data, attributes, key, result)


def _unwritten(result: DocumentEntities, problem: str) -> Failure:
    return Failure.of_result(result, problem, "write")


def message_of_failure(failure: Failure) -> Outgoing:
    """A failure as a message that the service takes, whatever the failure holds.

    The data is the failure's row as JSON. A row that is too large leaves out `payloadString`, which says nothing that
    `payloadBytes` does not. If it is still too large, the data is the payload's bytes as they are, and the other
    columns are attributes; `payload_encoding` is then `raw`, or `cut` where not even the bytes have room.
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
    """What is told of a failure, and the document's attributes as far as there is room beside the data."""
    for key, value in sorted(failure.attributes.items(), key=lambda pair: pair[0] != "id"):  # the id before others
        trial = {key: value, **told}
        if not attribute_problem(trial) and not key.lower().startswith("goog") and fits(data, trial):
            told = trial
    return told


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:MAX_VALUE_BYTES].decode("utf-8", "ignore")


def failure_row_of(data: bytes, attributes: Mapping[str, str]) -> dict[str, Any]:
    """The row of the failure that a message of `message_of_failure` tells of, where its data are the payload's bytes.

    Of a payload that was cut, the attribute `payload_bytes` says how long it was.

    Args:
        data: The message's.
        attributes: The message's.
    """
    own = [{"key": key, "value": value} for key, value in attributes.items() if key not in _TOLD]
    return {"payloadBytes": data, "attributes": own, **{name: attributes.get(name, "") for name in _TOLD[:3]}}


def failure_payload(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """The original bytes of the record that a dead letter message tells of; for tests and readers of such a topic."""
    if has_payload_as_data(attributes):
        return data
    return base64.b64decode(json.loads(data)["payloadBytes"])


def has_payload_as_data(attributes: Mapping[str, str]) -> bool:
    """Whether a failure's message has the payload as its data, and not the row as JSON."""
    return attributes.get("payload_encoding", "json") != "json"


class WriteResultMessages(beam.PTransform):
    """Publishes PCollection[DocumentEntities] to a topic; gives `Written`.

    Args:
        topic: `projects/P/topics/T`.
        include_text: Whether the row repeats the document's text.
        ordering_key_attribute: The attribute whose value becomes the ordering key.
    """

    def __init__(self, topic: str, include_text: bool = False, *, ordering_key_attribute: str | None = None) -> None:
        super().__init__()
        self._publish = _PublishResultsFn(topic, include_text, ordering_key_attribute)

    def expand(self, results: Any) -> Written:
        anytime = results | "Anytime" >> beam.WindowInto(GlobalWindows())
        published = anytime | "Publish" >> beam.ParDo(self._publish).with_outputs(_FAILURES, main="receipts")
        return Written(published["receipts"], published[_FAILURES])


class WriteFailureMessages(beam.PTransform):
    """Publishes PCollection[Failure] to a topic; gives `Written`, whose failures are none.

    Args:
        topic: `projects/P/topics/T`.
    """

    def __init__(self, topic: str) -> None:
        super().__init__()
        self._topic = topic

    def expand(self, failures: Any) -> Written:
        publish_failures = beam.ParDo(_PublishFailuresFn(self._topic)).with_outputs(_FAILURES, main="receipts")
        published = failures | "Anytime" >> beam.WindowInto(GlobalWindows()) | "Publish" >> publish_failures
        return Written(published["receipts"], published[_FAILURES])


class _PublishFn(beam.DoFn):
    """Collects a bundle's messages, and publishes them when they are many or the bundle ends.

    What is yielded at a bundle's end must say its window and time, which mean nothing for receipts and failures.
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
        # Nowhere else to go: the message is not acknowledged, and the run ends with what is wrong.
        raise ValueError(f"{self._topic} does not take a failure: {refusal}")
