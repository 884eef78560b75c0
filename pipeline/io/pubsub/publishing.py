"""Publishes messages, and waits until the service has confirmed them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import tenacity
from google.api_core import exceptions
from google.pubsub_v1 import types

from pipeline.io.pubsub.clients import publisher
from pipeline.io.pubsub.messages import message_bytes
from pipeline.io.pubsub.retries import retrying
from transforms.chunks import chunks
from transforms.metrics import Counts

_REQUEST_MESSAGES = 1000
_REQUEST_BYTES = 4_000_000  # a larger message is sent in its own request
_REQUESTS_AT_ONCE = 16
_CALL_SECONDS = 30.0
_PATIENCE_SECONDS = 300.0

# The errors that a message's content can cause. All other errors have other causes.
_REFUSALS = (exceptions.InvalidArgument, exceptions.OutOfRange)

_counts = Counts()
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outgoing:
    """A message to publish.

    Attributes:
        data: The message's bytes.
        attributes: The message's attributes.
        ordering_key: The ordering key, or an empty string. Messages with the same key are delivered in the order of
            publishing.
        tag: Any value by which the caller identifies the message.
    """

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""
    tag: Any = None


def publish(topic: str, messages: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, str]]:
    """Publishes messages, and waits until the service has confirmed them.

    The client library's own batching is not used. It passes attributes as keyword arguments, and so rejects attributes
    named `data` or `topic`.

    Args:
        topic: `projects/P/topics/T`.
        messages: Any number of messages.

    Yields:
        Each message with an empty string if it is confirmed, or with a sentence if the service rejects it.

    Raises:
        GoogleAPICallError: If the service is unreachable for minutes, or rejects a request for a reason other than its
            content.
    """
    lanes = list(_lanes(messages))
    if len(lanes) == 1:
        yield from _publish_lane(topic, lanes[0])
        return
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE, "publish") as pool:
        for outcomes in pool.map(lambda lane: _publish_lane(topic, lane), lanes):
            yield from outcomes


def _lanes(messages: Sequence[Outgoing]) -> Iterator[list[list[Outgoing]]]:
    """Yield lists of requests: those of one list are sent one after another, and the lists in parallel.

    The service rejects a request with messages of several ordering keys. Messages of one key must be sent in order.
    """
    # key "a":  [request 1, request 2]    one lane, in order
    # no key:   [request 3]  [request 4]  a lane each
    by_key: defaultdict[str, list[Outgoing]] = defaultdict(list)
    for message in messages:
        by_key[message.ordering_key].append(message)
    for key, some in by_key.items():
        requests = list(_requests(some))
        if key:
            yield requests
        else:
            yield from ([request] for request in requests)


def _requests(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Splits messages into requests within the size limits, in their order."""
    return chunks(messages, _REQUEST_BYTES, _bytes_of, _REQUEST_MESSAGES)


def _bytes_of(message: Outgoing) -> int:
    return message_bytes(message.data, message.attributes, message.ordering_key)


def _publish_lane(topic: str, requests: Sequence[list[Outgoing]]) -> list[tuple[Outgoing, str]]:
    return [outcome for request in requests for outcome in _publish_request(topic, request)]


def _publish_request(topic: str, messages: list[Outgoing]) -> list[tuple[Outgoing, str]]:
    try:
        _call(topic, messages)
    except _REFUSALS as error:
        if len(messages) == 1:
            return [(messages[0], f"Pub/Sub rejected the message: {type(error).__name__}")]
        # One message makes the service reject the whole request. Halving finds it, and keeps the others in order.
        half = len(messages) // 2
        return [*_publish_request(topic, messages[:half]), *_publish_request(topic, messages[half:])]
    return [(message, "") for message in messages]


def _call(topic: str, messages: list[Outgoing]) -> None:
    make = types.PubsubMessage.pb()
    request = types.PublishRequest.pb()(
        topic=topic,
        messages=[make(data=m.data, attributes=m.attributes, ordering_key=m.ordering_key) for m in messages],
    )
    retrying(
        wait=tenacity.wait_exponential_jitter(initial=0.1, max=10.0, jitter=0.2),
        stop=tenacity.stop_after_delay(_PATIENCE_SECONDS),
        before_sleep=_tell_of_trouble,
    )(publisher().publish, request=types.PublishRequest.wrap(request), timeout=_CALL_SECONDS, retry=None)


def take_counts() -> dict[str, int]:
    """Return this process's counts since the last call, from all threads; the name is ``publish_retries``."""
    return _counts.take()


def _tell_of_trouble(state: tenacity.RetryCallState) -> None:
    _counts.add("publish_retries")
    if state.attempt_number == 3 and state.outcome is not None:
        error = state.outcome.exception()
        _logger.warning("nothing can be published for now: %s", type(error).__name__)
