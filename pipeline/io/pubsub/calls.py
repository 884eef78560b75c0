"""The calls of a subscriber to Pub/Sub, with their timeouts and retries."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import tenacity
from google.api_core import exceptions

from pipeline.io.pubsub.leases import chunks
from pipeline.io.pubsub.retries import retrying

LEAST_LEASE_SECONDS, MOST_LEASE_SECONDS = 10, 600
"""The service's limits for an ack deadline."""

TOPIC_LEASE_SECONDS = 60
"""The ack deadline of a subscription that is made for a run."""

_RETAINED, _EXPIRES = timedelta(hours=12), timedelta(days=1)  # the latter must be longer, and at least a day
_PULL_SECONDS = 20.0
_CALL_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class SubscriptionCalls:
    """Calls about one subscription, which any thread may make.

    Args:
        name: `projects/P/subscriptions/S`.
        make_client: A function that makes a client. Two clients are made, so that a pull can be stopped without
            stopping the other calls.
    """

    def __init__(self, name: str, make_client: Callable[[], Any]) -> None:
        self._name = name
        self._pull_client = make_client()
        self._client = make_client()
        self._pulling_ended = threading.Event()
        self._ended = threading.Event()

    def ack_deadline_seconds(self) -> int:
        """Return the subscription's ack deadline, limited to the service's range.

        If the look-up fails, for example for lack of a permission, return the smallest deadline.
        """
        try:
            found = self._client.get_subscription(subscription=self._name, timeout=_CALL_SECONDS, retry=None)
        except exceptions.GoogleAPICallError:
            return LEAST_LEASE_SECONDS
        return min(max(found.ack_deadline_seconds, LEAST_LEASE_SECONDS), MOST_LEASE_SECONDS)

    def subscribe(self, topic: str) -> None:
        """Makes the subscription; transient errors are retried.

        The service deletes the subscription if nobody pulls it for a day.

        Raises:
            Exception: If the error is not transient, or `end_pulling` was called.
        """
        request = {
            "name": self._name,
            "topic": topic,
            "ack_deadline_seconds": TOPIC_LEASE_SECONDS,
            "message_retention_duration": _RETAINED,
            "expiration_policy": {"ttl": _EXPIRES},
        }
        with suppress(exceptions.AlreadyExists):  # made by an attempt whose answer was lost
            self._patiently(self._client.create_subscription, request=request, timeout=_CALL_SECONDS, retry=None)

    def unsubscribe(self) -> None:
        """Deletes the subscription. If that fails, the service deletes it after a day."""
        try:
            self._client.delete_subscription(subscription=self._name, timeout=_CALL_SECONDS, retry=None)
        except exceptions.GoogleAPICallError as error:
            _logger.warning("%s could not be deleted, and expires after a day: %s", self._name, _told(error))

    def pull(self, most: int) -> list[Any]:
        """Return at most `most` messages as protocol buffers, or none if none came for a while.

        Transient errors are retried.

        Raises:
            Exception: If the error is not transient, or `end_pulling` was called.
        """
        return self._patiently(self._pull_once, most)

    def _patiently(self, call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        return retrying(
            stop=tenacity.stop_when_event_set(self._pulling_ended),
            sleep=tenacity.sleep_using_event(self._pulling_ended),
            before_sleep=self._tell_of_trouble,
        )(call, *arguments, **settings)

    def _pull_once(self, most: int) -> list[Any]:
        request = {"subscription": self._name, "max_messages": most}
        try:
            # The service keeps the call open until there is a message, or for a time that it does not document.
            response = self._pull_client.pull(request=request, timeout=_PULL_SECONDS, retry=None)
        except exceptions.DeadlineExceeded:
            return []
        return list(type(response).pb(response).received_messages)

    def _tell_of_trouble(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 3 and state.outcome is not None:  # a short interruption is not logged
            _logger.warning("%s cannot be read for now: %s", self._name, _told(state.outcome.exception()))

    def extend(self, ack_ids: Iterable[str], seconds: int) -> None:
        """Sets the leases to end `seconds` from now. If that fails, at worst the messages are redelivered."""
        for some in chunks(ack_ids):
            try:
                self._modify(some, seconds)
            except exceptions.GoogleAPICallError as error:
                _logger.info("%d leases were not extended: %s", len(some), _told(error))

    def give_back(self, ack_ids: Iterable[str]) -> None:
        """Nacks messages, so that the service redelivers them at once.

        If that fails, the service redelivers them when their leases end.
        """
        for some in chunks(ack_ids):
            try:
                self._modify(some, 0)
            except exceptions.GoogleAPICallError as error:
                _logger.info("%d messages are redelivered only when their leases end: %s", len(some), _told(error))

    def _modify(self, ack_ids: list[str], seconds: int) -> None:
        request = {"subscription": self._name, "ack_ids": ack_ids, "ack_deadline_seconds": seconds}
        self._client.modify_ack_deadline(request=request, timeout=_CALL_SECONDS, retry=None)

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Acknowledges messages, with retries until success or `end`; those that still fail are redelivered."""
        call = retrying(
            stop=tenacity.stop_when_event_set(self._ended),
            sleep=tenacity.sleep_using_event(self._ended),
        )
        for some in chunks(ack_ids):
            request = {"subscription": self._name, "ack_ids": some}
            try:
                call(self._client.acknowledge, request=request, timeout=_CALL_SECONDS, retry=None)
            except Exception as error:
                _logger.warning("%d messages could not be acknowledged: %s", len(some), _told(error))

    def end_pulling(self) -> None:
        """Stops the pull in progress and its retries."""
        self._pulling_ended.set()
        self._pull_client.transport.close()

    def end(self) -> None:
        """Stops all calls other than pulls."""
        self._ended.set()
        self._client.transport.close()


def _told(error: BaseException | None) -> str:
    """Return an error's class and code, without its message, which may quote content."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
