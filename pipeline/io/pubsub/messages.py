"""A Pub/Sub message, and the service's limits for messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from apache_beam.utils.timestamp import Timestamp

MAX_MESSAGE_BYTES = 10_000_000
"""The service's size limit, for a message and for a request."""

MAX_ATTRIBUTES = 100

MAX_KEY_BYTES = 256

MAX_VALUE_BYTES = 1024

ORDERING_KEY_ATTRIBUTE = "pubsub_ordering_key"
"""The document's attribute with its message's ordering key; the dead letter and a replay of it contain it too."""

_LATEST = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()

_REQUEST_ROOM = 1_000  # for the topic's name and the framing


class BadTimestampError(ValueError):
    """An error for an attribute that is not a time; the message does not quote the attribute."""


@dataclass(frozen=True)
class Message:
    """A message as it was received.

    Attributes:
        data: The message's bytes.
        attributes: The message's attributes.
        message_id: The id that the service assigned to the message.
        publish_time: The time of publishing, in seconds since the epoch.
        receipt: The string for acknowledging the message; None if the runner acknowledges it.
        ordering_key: The message's ordering key, or an empty string.
    """

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    publish_time: float | None = None
    receipt: str | None = None
    ordering_key: str = ""

    @property
    def with_key_attribute(self) -> Message:
        """The message with its ordering key, if it has one, as an attribute."""
        if not self.ordering_key:
            return self
        return replace(self, attributes={**self.attributes, ORDERING_KEY_ATTRIBUTE: self.ordering_key})


def parse_timestamp(value: str) -> float:
    """Parses a time in epoch milliseconds or RFC 3339, the two formats of Beam and Dataflow.

    >>> parse_timestamp("1700000000500"), parse_timestamp("2023-11-14T22:13:20.5Z")
    (1700000000.5, 1700000000.5)

    Returns:
        Seconds since the epoch.

    Raises:
        BadTimestampError: If the value has neither format, or is not between 1970 and the start of 9999-12-31.
    """
    try:
        # int() also accepts blanks, underscores and digits of other scripts; Beam's milliseconds have only 0 to 9.
        plain = value.isascii() and value.isdigit()
        seconds = int(value) / 1000 if plain else Timestamp.from_rfc3339(value).micros / 1e6
    except (ValueError, OverflowError, ArithmeticError):
        raise BadTimestampError("is neither RFC 3339 nor epoch milliseconds") from None
    if not 0 <= seconds <= _LATEST:
        raise BadTimestampError("is not between the years 1970 and 9999")
    return seconds


def event_time(message: Message, timestamp_attribute: str | None) -> float | None:
    """Return a message's event time: that in the attribute, or else the publish time.

    Raises:
        BadTimestampError: If the attribute exists but is not a time.
    """
    value = message.attributes.get(timestamp_attribute) if timestamp_attribute else None
    return message.publish_time if value is None else parse_timestamp(value)


def attribute_problem(attributes: Mapping[str, str]) -> str:
    """Return a description of the limit that the attributes exceed, or an empty string; it contains no value.

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
    """Return an upper bound for the bytes of a message in a request."""
    pairs = sum(len(key.encode()) + len(value.encode()) + 12 for key, value in attributes.items())
    return len(data) + pairs + len(ordering_key.encode()) + 32


def fits(data: bytes, attributes: Mapping[str, str], ordering_key: str = "") -> bool:
    """Return whether the service accepts a message of this size."""
    return message_bytes(data, attributes, ordering_key) + _REQUEST_ROOM <= MAX_MESSAGE_BYTES
