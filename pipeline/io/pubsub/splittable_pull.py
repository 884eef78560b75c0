"""Pulls messages on portable runners, with an unbounded splittable step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.io.iobase import RestrictionProgress, RestrictionTracker
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from pipeline.io.pubsub.readers import open_subscription
from pipeline.io.pubsub.subscription import BUNDLE_BYTES, BUNDLE_MESSAGES, SubscriptionSettings

_WAIT_SECONDS = 0.5


class PullSplittably(beam.PTransform):
    """Reads a subscription as an unbounded PCollection[Message], with event times as timestamps.

    The PCollection ends when the subscription's reader is drained.
    """

    def __init__(self, settings: SubscriptionSettings) -> None:
        super().__init__()
        self._settings = settings

    def expand(self, pbegin: Any) -> Any:
        """Build the steps, and return the messages."""
        return pbegin | "Subscription" >> beam.Create([self._settings]) | "Read" >> beam.ParDo(_PullFn())


class _Tracker(RestrictionTracker):
    """Tracks a restriction with only two states: open without an end, or closed."""

    def __init__(self, is_open: bool) -> None:
        self._open = is_open

    def current_restriction(self) -> bool:
        return self._open

    def current_progress(self) -> RestrictionProgress:
        return RestrictionProgress(fraction=0.0 if self._open else 1.0)

    def check_done(self) -> None:
        return None

    def try_claim(self, position: Any) -> bool:
        return self._open

    def try_split(self, fraction_of_remainder: float) -> tuple[bool, bool] | None:
        # A subscription cannot be divided. The only possible split defers all remaining work to a later call.
        if not self._open or fraction_of_remainder != 0:
            return None
        self._open = False
        return False, True

    def is_bounded(self) -> bool:
        return False


class _PullProvider(RestrictionProvider):
    def initial_restriction(self, element: SubscriptionSettings) -> bool:
        return True

    def create_tracker(self, restriction: bool) -> _Tracker:
        return _Tracker(restriction)

    def restriction_size(self, element: SubscriptionSettings, restriction: bool) -> int:
        return 1


_TRACKER = beam.DoFn.RestrictionParam(_PullProvider())
_WATERMARK = beam.DoFn.WatermarkEstimatorParam(ManualWatermarkEstimator.default_provider())


class _PullFn(beam.DoFn):
    """Passes on the messages that have arrived, and asks to be resumed: a runner commits a bundle only at its end."""

    @beam.DoFn.unbounded_per_element()
    def process(
        self,
        settings: SubscriptionSettings,
        tracker: Any = _TRACKER,
        watermark: Any = _WATERMARK,
    ) -> Iterator[Any]:
        reader = open_subscription(settings)
        if not tracker.try_claim(None):
            return
        taken = reader.take(BUNDLE_MESSAGES, BUNDLE_BYTES, _WAIT_SECONDS)
        for each in taken:
            yield TimestampedValue(each.message, Timestamp.of(each.timestamp))
        watermark.set_watermark(Timestamp.of(reader.watermark()))
        if taken or not reader.draining:
            tracker.defer_remainder(Duration.of(0))
