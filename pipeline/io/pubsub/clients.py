"""Pub/Sub clients, shared within a process.

If PUBSUB_EMULATOR_HOST is set, they connect to that emulator instead of the service.
"""

from __future__ import annotations

import functools
import os
from typing import Any

import grpc
from google.pubsub_v1 import PublisherClient, SubscriberClient

from pipeline.io.credentials import impersonated_credentials

# A response of the service may exceed gRPC's default limit of 4 MB. Even a single message may exceed it.
_CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


def new_subscriber() -> SubscriberClient:
    """Return a new client, for a caller that stops its calls by closing the client."""
    return _client(SubscriberClient, _emulator())


def publisher() -> PublisherClient:
    """Return this process's client for publishing.

    It is shared, because a runner may set up a step again for every bundle.
    """
    return _kept(PublisherClient, _emulator())


def subscriber() -> SubscriberClient:
    """Return this process's client for single calls about subscriptions."""
    return _kept(SubscriberClient, _emulator())


@functools.lru_cache(maxsize=4)
def _kept(kind: Any, emulator: str) -> Any:
    return _client(kind, emulator)


def _emulator() -> str:
    return os.environ.get("PUBSUB_EMULATOR_HOST", "")


def _client(kind: Any, emulator: str) -> Any:
    if not emulator:
        return kind(credentials=impersonated_credentials())
    transport = kind.get_transport_class("grpc")
    return kind(transport=transport(channel=grpc.insecure_channel(emulator, options=_CHANNEL_OPTIONS)))
