"""The calls that a subscriber makes, and how long it is patient with each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import tenacity
from google.api_core import exceptions

from pipeline.io.pubsub.clients import TRANSIENT
from pipeline.io.pubsub.leases import chunks

LEAST_LEASE_SECONDS, MOST_LEASE_SECONDS = 10, 600
"""The service's own limits."""

TOPIC_LEASE_SECONDS = 60
"""Of a subscription that is made for a run."""

_RETAINED, _EXPIRES = timedelta(hours=12), timedelta(days=1)  # the latter must be more, and a day at the least
_PULL_SECONDS = 20.0
_CALL_SECONDS = 5.0
_WAIT = tenacity.wait_exponential_jitter(initial=0.1, max=5.0, jitter=0.1)

_logger = logging.getLogger(__name__)


class SubscriptionCalls:
    """Calls about one subscription. They may be made from any thread.

    Args:
        name: `projects/P/subscriptions/S`.
        make_client: Makes a client; there are two, so that pulling can be broken off alone.
    """

    def __init__(self, name: str, make_client: Callable[[], Any]) -> None:
        self._name = name
        self._pull_client = make_client()
        self._client = make_client()
        self._pulling_ended = threading.Event()
        self._ended = threading.Event()

    def ack_deadline_seconds(self) -> int:
        """The subscription's own, within the limits; the least where this program may not look."""
        try:
            found = self._client.get_subscription(subscription=self._name, timeout=_CALL_SECONDS, retry=None)
        except exceptions.GoogleAPICallError:
            return LEAST_LEASE_SECONDS
        return min(max(found.ack_deadline_seconds, LEAST_LEASE_SECONDS), MOST_LEASE_SECONDS)

    def subscribe(self, topic: str) -> None:
        """Makes the subscription; waits out errors that pass. One that nobody pulls for a day the service deletes.

        Raises:
            Exception: If the error is not of those, or `end_pulling` was called.
        """
        request = {
            "name": self._name,
            "topic": topic,
            "ack_deadline_seconds": TOPIC_LEASE_SECONDS,
            "message_retention_duration": _RETAINED,
            "expiration_policy": {"ttl": _EXPIRES},
        }
        with suppress(exceptions.AlreadyExists):  # by an attempt whose answer was lost
            self._patiently(self._client.create_subscription, request=request, timeout=_CALL_SECONDS, retry=None)

    def unsubscribe(self) -> None:
        """Deletes the subscription; where that fails, the service does so after a day."""
        try:
            self._client.delete_subscription(subscription=self._name, timeout=_CALL_SECONDS, retry=None)
        except exceptions.GoogleAPICallError as error:
            _logger.warning("%s was not deleted, and will be after a day: %s", self._name, _told(error))

    def pull(self, most: int) -> list[Any]:
        """Up to so many messages as protocol buffers, none if none came for a while; waits out errors that pass.

        Raises:
            Exception: If the error is not of those, or `end_pulling` was called.
        """
        return self._patiently(self._pull_once, most)

    def _patiently(self, call: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TRANSIENT),
            wait=_WAIT,
            stop=tenacity.stop_when_event_set(self._pulling_ended),
            sleep=tenacity.sleep_using_event(self._pulling_ended),
            before_sleep=self._tell_of_trouble,
            reraise=True,
        )(call, *arguments, **settings)

    def _pull_once(self, most: int) -> list[Any]:
        request = {"subscription": self._name, "max_messages": most}
        try:
            # The service holds the call until there is a message, or for a time that only it knows.
            response = self._pull_client.pull(request=request, timeout=_PULL_SECONDS, retry=None)
        except exceptions.DeadlineExceeded:
            return []
        return list(type(response).pb(response).received_messages)

    def _tell_of_trouble(self, state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 3 and state.outcome is not None:  # a blip is not worth a line
            _logger.warning("%s cannot be read for now: %s", self._name, _told(state.outcome.exception()))

    def extend(self, ack_ids: Iterable[str], seconds: int) -> None:
        """Counts leases anew; where that fails, their messages are delivered again at worst."""
        for some in chunks(ack_ids):
            try:
                self._modify(some, seconds)
            except exceptions.GoogleAPICallError as error:
                _logger.info("%d leases were not extended: %s", len(some), _told(error))

    def give_back(self, ack_ids: Iterable[str]) -> None:
        """Lets the service deliver messages again at once; where that fails, it does so when their leases end."""
        for some in chunks(ack_ids):
            try:
                self._modify(some, 0)
            except exceptions.GoogleAPICallError as error:
                _logger.info("%d messages are delivered again only when their leases end: %s", len(some), _told(error))

    def _modify(self, ack_ids: list[str], seconds: int) -> None:
        request = {"subscription": self._name, "ack_ids": ack_ids, "ack_deadline_seconds": seconds}
        self._client.modify_ack_deadline(request=request, timeout=_CALL_SECONDS, retry=None)

    def acknowledge(self, ack_ids: Iterable[str]) -> None:
        """Acknowledges until it has worked or `end` was called; what cannot be acknowledged is delivered again."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TRANSIENT),
            wait=_WAIT,
            stop=tenacity.stop_when_event_set(self._ended),
            sleep=tenacity.sleep_using_event(self._ended),
            reraise=True,
        )
        for some in chunks(ack_ids):
            request = {"subscription": self._name, "ack_ids": some}
            try:
                retrying(self._client.acknowledge, request=request, timeout=_CALL_SECONDS, retry=None)
            except Exception as error:
                _logger.warning("%d messages could not be acknowledged: %s", len(some), _told(error))

    def end_pulling(self) -> None:
        """Breaks off a pull."""
        self._pulling_ended.set()
        self._pull_client.transport.close()

    def end(self) -> None:
        """Breaks off all calls."""
        self._ended.set()
        self._client.transport.close()


def _told(error: BaseException | None) -> str:
    """An error without what it may quote."""
    code = getattr(error, "code", None)
    return f"{type(error).__name__} {code}" if code else type(error).__name__
