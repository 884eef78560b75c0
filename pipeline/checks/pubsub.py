"""Checks that Pub/Sub subscriptions and topics exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError

from pipeline.io.pubsub.clients import publisher, subscriber
from pipeline.places import Place, Subscription, Topic

_SECONDS = 10.0


def check_subscription(name: str, place: Subscription, *written: Place) -> None:
    """Checks that a subscription exists and can be pulled, and that the run does not write to its topic.

    Args:
        name: Name of the subscription's argument.
        place: The subscription.
        *written: The places of results and failures.
    """
    found = _ask(
        name,
        place,
        lambda: subscriber().get_subscription(subscription=str(place), timeout=_SECONDS, retry=None),
    )
    if found is not None and found.topic in map(str, written):
        raise ValueError(f"--{name}={str(place)!r}: is a subscription of {found.topic}, where this run writes")
    if found is not None and (reason := _unpullable(found)):
        raise ValueError(
            f"--{name}={str(place)!r}: {reason}, so nothing can be pulled from it; expected another subscription of"
            f" {found.topic}"
        )


def _unpullable(found: Any) -> str | None:
    """Return what a subscription does with its messages in place of a pull, or None for a pull subscription."""
    if found.push_config.push_endpoint:
        return "is a push subscription"
    if found.bigquery_config.table:
        return "exports to BigQuery"
    if found.cloud_storage_config.bucket:
        return "exports to Cloud Storage"
    return None


def check_topic(name: str, place: Topic) -> None:
    """Checks that a topic exists."""
    _ask(name, place, lambda: publisher().get_topic(topic=str(place), timeout=_SECONDS, retry=None))


def _ask(name: str, place: Subscription | Topic, call: Callable[[], Any]) -> Any:
    """Return the result of a call, or None if it is not permitted; missing credentials raise a ValueError."""
    kind = "subscription" if isinstance(place, Subscription) else "topic"
    try:
        return call()
    except exceptions.NotFound:
        raise ValueError(f"--{name}={str(place)!r}: there is no such {kind}") from None
    except exceptions.PermissionDenied:
        return None  # an account that may read or publish is not always permitted to get the resource
    except exceptions.InvalidArgument:
        raise ValueError(f"--{name}={str(place)!r}: not the name of a {kind}") from None
    except (exceptions.GoogleAPICallError, exceptions.RetryError) as error:
        raise ValueError(f"--{name}={str(place)!r}: cannot be reached: {type(error).__name__}") from error
    except GoogleAuthError as error:
        raise ValueError(f"--{name}={str(place)!r}: requires Google credentials: {type(error).__name__}") from error
