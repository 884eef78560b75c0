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
    return _client(SubscriberClient, _emulator())


def publisher() -> PublisherClient:
    """This process's client for publishing: a runner may set up a step for every bundle anew."""
    return _kept(PublisherClient, _emulator())


def subscriber() -> SubscriberClient:
    """This process's client for single calls about subscriptions."""
    return _kept(SubscriberClient, _emulator())


@functools.lru_cache(maxsize=4)
def _kept(kind: Any, emulator: str) -> Any:
    return _client(kind, emulator)


def _emulator() -> str:
    return os.environ.get("PUBSUB_EMULATOR_HOST", "")


def _client(kind: Any, emulator: str) -> Any:
    if not emulator:
        return kind()
    transport = kind.get_transport_class("grpc")
    return kind(transport=transport(channel=grpc.insecure_channel(emulator, options=_CHANNEL_OPTIONS)))
