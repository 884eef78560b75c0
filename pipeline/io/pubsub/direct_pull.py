"""Pulling messages on Beam's DirectRunner.

Of the runners behind that name only the BundleBasedDirectRunner lets a stream flow: the FnApiRunner hands the output
of a step on only when the step has ended, and a splittable step holds back the BundleBasedDirectRunner's event time
until it has ended, so that no window closes. Its own sources are not splittable steps but evaluators, and so is this.
"""

from __future__ import annotations

from typing import Any

import apache_beam as beam
from apache_beam import pvalue
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.direct.util import TransformResult
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.timestamp import MAX_TIMESTAMP, Timestamp

from pipeline.beam_internals import TransformEvaluator, register_evaluator
from pipeline.io.pubsub.direct_counters import remember_sampler
from pipeline.io.pubsub.readers import open_subscription
from pipeline.io.pubsub.subscription import BUNDLE_BYTES, BUNDLE_MESSAGES, SubscriptionSettings, Taken

_WAIT_SECONDS = 0.1
"""The runner has one thread: while this step waits for messages, no timer fires. Without a wait it would spin."""


def runs_direct(pipeline: beam.Pipeline) -> bool:
    """Whether a pipeline is to run on the runner of this module."""
    return isinstance(pipeline.runner, BundleBasedDirectRunner)


class PullOnDirectRunner(beam.PTransform):
    """PCollection[Message] of a subscription, unbounded, timed by event time; ends when its reader is drained."""

    def __init__(self, settings: SubscriptionSettings) -> None:
        super().__init__()
        self.settings = settings

    def get_windowing(self, inputs: Any) -> beam.Windowing:
        """All in the one global window."""
        return beam.Windowing(GlobalWindows())

    def expand(self, pbegin: Any) -> Any:
        return pvalue.PCollection(pbegin.pipeline, is_bounded=False)


class _PullEvaluator(TransformEvaluator):
    """Makes one bundle of what has come, and asks to be called again.

    The runner calls it only when all earlier bundles are done, so bundles grow with the load by themselves: one
    message where few come, many while the model is busy.
    """

    def finish_bundle(self) -> TransformResult:
        remember_sampler()
        reader = open_subscription(self._applied_ptransform.transform.settings)
        taken = reader.take(BUNDLE_MESSAGES, BUNDLE_BYTES, _WAIT_SECONDS)
        if reader.draining and not taken:
            return TransformResult(self, [], [], None, {None: MAX_TIMESTAMP})
        again = self._evaluation_context.create_bundle(pvalue.PBegin(self._applied_ptransform.transform.pipeline))
        # An empty bundle would set up every step of the graph for nothing.
        bundles = [self._bundle(taken)] if taken else []
        # What is handed on now holds event time until the next call, when it is done: the results of RunInference hold
        # none, having lost their timestamps, and a window would close before those that are on their way to it.
        watermark = min([reader.watermark(), *(each.timestamp for each in taken)])
        return TransformResult(self, bundles, [again], None, {None: Timestamp.of(watermark)})

    def _bundle(self, taken: list[Taken]) -> Any:
        bundle = self._evaluation_context.create_bundle(next(iter(self._outputs)))
        for each in taken:
            bundle.output(GlobalWindows.windowed_value(each.message, timestamp=Timestamp.of(each.timestamp)))
        return bundle


register_evaluator(PullOnDirectRunner, _PullEvaluator)
