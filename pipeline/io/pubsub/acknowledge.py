"""The last step, which acknowledges the messages of finished documents."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import apache_beam as beam
import tenacity
from apache_beam.metrics import Metrics

from pipeline.io.outcomes import Receipt
from pipeline.io.pubsub.clients import subscriber
from pipeline.io.pubsub.leases import chunks
from pipeline.io.pubsub.readers import opened_subscription
from pipeline.io.pubsub.retries import retrying
from transforms.metrics import NAMESPACE

_CALL_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0


class Acknowledge(beam.PTransform):
    """Acknowledges the messages of a PCollection[str] of receipts; the output is empty.

    A message that cannot be acknowledged is redelivered. The step does nothing else about it.
    """

    def expand(self, receipts: Any) -> Any:
        """Build the step, which has no output elements."""
        return receipts | "Acknowledge" >> beam.ParDo(_AcknowledgeFn())


class _AcknowledgeFn(beam.DoFn):
    """Acknowledges the messages of a bundle when the bundle ends."""

    def __init__(self) -> None:
        self._acknowledged = Metrics.counter(NAMESPACE, "acknowledged")
        self._receipts: list[Receipt] = []

    def start_bundle(self) -> None:
        self._receipts = []

    def process(self, receipt: str) -> None:
        self._receipts.append(Receipt.parse(receipt))

    def finish_bundle(self) -> None:
        acknowledge(self._receipts)
        self._acknowledged.inc(len(self._receipts))
        self._receipts = []


def acknowledge(receipts: list[Receipt]) -> None:
    """Acknowledges messages through this process's reader, which holds the leases.

    If this process has no reader of a subscription, it calls the service directly.
    """
    by_subscription: defaultdict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        by_subscription[receipt.subscription].append(receipt)
    for subscription, some in by_subscription.items():
        if reader := opened_subscription(subscription):
            reader.done(some)
        else:
            _acknowledge_directly(subscription, [receipt.ack_id for receipt in some])


def _acknowledge_directly(subscription: str, ack_ids: list[str]) -> None:
    call = retrying(stop=tenacity.stop_after_delay(_PATIENCE_SECONDS))
    for some in chunks(ack_ids):
        request = {"subscription": subscription, "ack_ids": some}
        call(subscriber().acknowledge, request=request, timeout=_CALL_SECONDS, retry=None)
