"""A Pub/Sub message, and what it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from apache_beam.utils.timestamp import Timestamp

MAX_MESSAGE_BYTES = 10_000_000
"""What the service takes at most, of a message and of a request."""

MAX_ATTRIBUTES = 100

MAX_KEY_BYTES = 256

MAX_VALUE_BYTES = 1024

_LATEST = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()

_REQUEST_ROOM = 1_000  # for the topic's name and the framing


class BadTimestampError(ValueError):
    """An attribute that names no time; the message quotes nothing of it."""


@dataclass(frozen=True)
class Message:
    """A message as it was received.

    Attributes:
        data: Its bytes.
        attributes: Its attributes.
        message_id: The service's name for it.
        publish_time: When it was published, in seconds since the epoch.
        receipt: What acknowledges it; None where the runner does so itself.
    """

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    publish_time: float | None = None
    receipt: str | None = None


def parse_timestamp(value: str) -> float:
    """The time that an attribute names, as Beam and Dataflow read it: epoch milliseconds, or RFC 3339.

    >>> parse_timestamp("1700000000500"), parse_timestamp("2023-11-14T22:13:20.5Z")
    (1700000000.5, 1700000000.5)

    Returns:
        Seconds since the epoch.

    Raises:
        BadTimestampError: If it is neither, or a time before 1970 or after 9999.
    """
    try:
        # Python's int() takes blanks, underscores and the digits of all scripts; Beam's millis are plain.
        plain = value.isascii() and value.isdigit()
        seconds = int(value) / 1000 if plain else Timestamp.from_rfc3339(value).micros / 1e6
    except (ValueError, OverflowError, ArithmeticError):
        raise BadTimestampError("is neither RFC 3339 nor epoch milliseconds") from None
    if not 0 <= seconds <= _LATEST:
        raise BadTimestampError("is not between the years 1970 and 9999")
    return seconds


def event_time(message: Message, timestamp_attribute: str | None) -> float | None:
    """When what a message tells of happened: its attribute's time, else that of publishing.

    Raises:
        BadTimestampError: If the attribute is there and names no time.
    """
    value = message.attributes.get(timestamp_attribute) if timestamp_attribute else None
    return message.publish_time if value is None else parse_timestamp(value)


def attribute_problem(attributes: Mapping[str, str]) -> str:
    """Which limit of the service these attributes break; empty if none. It names no value.

    >>> attribute_problem({"a": "b"}), attribute_problem({"a": "b" * 1025})
    ('', 'an attribute has a value of 1025 bytes, the limit is 1024')
    """
    if len(attributes) > MAX_ATTRIBUTES:
        return f"there are {len(attributes)} attributes, the limit is {MAX_ATTRIBUTES}"
    for key, value in attributes.items():
        try:
            key_bytes, value_bytes = len(key.encode()), len(value.encode())
        except UnicodeEncodeError:
            return "an attribute is not valid Unicode"
        if not 1 <= key_bytes <= MAX_KEY_BYTES:
            return f"an attribute has a name of {key_bytes} bytes, the limits are 1 and {MAX_KEY_BYTES}"
        if value_bytes > MAX_VALUE_BYTES:
            return f"an attribute has a value of {value_bytes} bytes, the limit is {MAX_VALUE_BYTES}"
    return ""


def message_bytes(data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> int:
    """At least the bytes that a message takes in a request."""
    pairs = sum(len(key.encode()) + len(value.encode()) + 12 for key, value in attributes.items())
    return len(data) + pairs + len(ordering_key.encode()) + 32


def fits(data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> bool:
    """Whether the service takes a message of this size."""
    return message_bytes(data, attributes, ordering_key) + _REQUEST_ROOM <= MAX_MESSAGE_BYTES
