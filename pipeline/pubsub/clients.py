"""Clients of Pub/Sub, once a process; the emulator that PUBSUB_EMULATOR_HOST names is taken instead of the service."""

from __future__ import annotations

import functools
import os
from typing import Any

import grpc
from google.api_core import exceptions
from google.pubsub_v1 import PublisherClient, SubscriberClient

TRANSIENT = (
    exceptions.Aborted,
    exceptions.BadGateway,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ServiceUnavailable,
    exceptions.TooManyRequests,  # with it RESOURCE_EXHAUSTED
    exceptions.Unknown,
)
"""Errors that pass by themselves."""

# A response of the service may be larger than the 4 MB that gRPC takes by default; a single message is, at times.
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def new_subscriber() -> SubscriberClient:
    """A client of its own, for whoever wants to break off its calls by closing it."""
    return _client(SubscriberClient)


def new_publisher() -> PublisherClient:
    """A client of its own."""
    return _client(PublisherClient)


@functools.cache
def publisher() -> PublisherClient:
    """This process's client for publishing: a runner may set up a step for every bundle anew."""
    return new_publisher()


@functools.cache
def subscriber() -> SubscriberClient:
    """This process's client for single calls about subscriptions."""
    return new_subscriber()


def _client(kind: Any) -> Any:
    host = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not host:
        return kind()
    transport = kind.get_transport_class("grpc")
    return kind(transport=transport(channel=grpc.insecure_channel(host, options=_CHANNEL_OPTIONS)))
