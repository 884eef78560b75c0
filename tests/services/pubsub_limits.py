"""What Pub/Sub refuses, and what this broker does not know."""

from __future__ import annotations

from typing import Any

import grpc

REQUEST_BYTES, REQUEST_MESSAGES = 10_000_000, 1_000
ATTRIBUTES, ATTRIBUTE_KEY_BYTES, ATTRIBUTE_VALUE_BYTES, ORDERING_KEY_BYTES = 100, 256, 1_024, 1_024
DEADLINES = range(10, 601)  # seconds that a client may ask for
REFUSED_FIELDS = ("push_config", "bigquery_config", "cloud_storage_config", "dead_letter_policy", "retry_policy")
REFUSED_FLAGS = ("filter", "enable_exactly_once_delivery", "detached")


class Refused(Exception):
    """A call that Pub/Sub would answer with an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_deadline(seconds: int, *, least: int = DEADLINES.start) -> None:
    """Holds a deadline to the service's range."""
    if not least <= seconds < DEADLINES.stop:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"ack deadline must be {least} to 600 seconds, not {seconds}")


def check_subscription(definition: Any) -> None:
    """Refuses what the service would, and what this broker cannot do."""
    if definition.ack_deadline_seconds:
        check_deadline(definition.ack_deadline_seconds)
    refused = [name for name in REFUSED_FIELDS if definition.HasField(name) and getattr(definition, name).ByteSize()]
    refused += [name for name in REFUSED_FLAGS if getattr(definition, name)]
    if refused:
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"this broker does not know {', '.join(refused)}")


def check_publish(request: Any) -> None:
    """Holds a publish request to the service's limits (see its page on quotas)."""
    trouble = ""
    if not 1 <= len(request.messages) <= REQUEST_MESSAGES:
        trouble = f"a request must have 1 to {REQUEST_MESSAGES} messages"
    elif request.ByteSize() > REQUEST_BYTES:
        trouble = f"the request has {request.ByteSize()} bytes, the limit is {REQUEST_BYTES}"
    elif any(not (message.data or message.attributes) for message in request.messages):
        trouble = "a message must have data or an attribute"
    elif any(len(message.attributes) > ATTRIBUTES for message in request.messages):
        trouble = f"a message may have {ATTRIBUTES} attributes"
    elif any(len(message.ordering_key.encode()) > ORDERING_KEY_BYTES for message in request.messages):
        trouble = f"an ordering key may have {ORDERING_KEY_BYTES} bytes"
    elif len({message.ordering_key for message in request.messages}) > 1:
        trouble = "all messages of a request must have no ordering key, or the same"
    elif not all(_attributes_fit(message.attributes) for message in request.messages):
        trouble = (
            f"attribute keys may have {ATTRIBUTE_KEY_BYTES} bytes (and not be empty), values {ATTRIBUTE_VALUE_BYTES}"
        )
    if trouble:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, trouble)


def _attributes_fit(attributes: Any) -> bool:
    return all(
        1 <= len(key.encode()) <= ATTRIBUTE_KEY_BYTES and len(value.encode()) <= ATTRIBUTE_VALUE_BYTES
        for key, value in attributes.items()
    )


def find(name: str, known: dict[str, Any]) -> Any:
    """What has this name. Raises Refused where nothing has."""
    if name not in known:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")
    return known[name]


def require_new(name: str, known: dict[str, Any]) -> None:
    """Raises Refused where something has this name."""
    if name in known:
        raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Resource already exists (resource={name}).")
