"""Pulling messages on Beam's DirectRunner.

The name stands for several runners, but only the BundleBasedDirectRunner can run a stream. The FnApiRunner passes on a
step's output only when the step has ended.

A splittable step does not work on the BundleBasedDirectRunner either. It blocks event time until it has ended, so no
window closes. The runner's own sources are evaluators, so this module uses an evaluator too.
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
"""The longest wait for messages in one call.

The runner has one thread, so no timer fires during the wait. Without a wait, the runner would loop without a pause.
"""


def runs_direct(pipeline: beam.Pipeline) -> bool:
    """Return whether the pipeline's runner is the one of this module."""
    return isinstance(pipeline.runner, BundleBasedDirectRunner)


class PullOnDirectRunner(beam.PTransform):
    """Reads a subscription as an unbounded PCollection[Message], with event times as timestamps.

    The PCollection ends when the subscription's reader is drained.
    """

    def __init__(self, settings: SubscriptionSettings) -> None:
        super().__init__()
        self.settings = settings

    def get_windowing(self, inputs: Any) -> beam.Windowing:
        """Return the global window for all messages."""
        return beam.Windowing(GlobalWindows())

    def expand(self, pbegin: Any) -> Any:
        """Return the unbounded output, which `_PullEvaluator` fills."""
        return pvalue.PCollection(pbegin.pipeline, is_bounded=False)


class _PullEvaluator(TransformEvaluator):
    """Makes one bundle of the messages that have arrived, and asks to be called again.

    The runner calls it only when all earlier bundles are done. So the size of bundles follows the load: one message if
    few arrive, and many while the model is busy.
    """

    def finish_bundle(self) -> TransformResult:
        remember_sampler()
        reader = open_subscription(self._applied_ptransform.transform.settings)
        taken = reader.take(BUNDLE_MESSAGES, BUNDLE_BYTES, _WAIT_SECONDS)
        if reader.draining and not taken:
            return TransformResult(self, [], [], None, {None: MAX_TIMESTAMP})
        again = self._evaluation_context.create_bundle(pvalue.PBegin(self._applied_ptransform.transform.pipeline))
        # An empty bundle would needlessly set up every step of the graph.
        bundles = [self._bundle(taken)] if taken else []
        # The watermark stays at the oldest message of this bundle until the next call, when the bundle is done.
        # The results of RunInference lose their timestamps, so they do not hold the watermark back themselves.
        # Otherwise, a window would close before the results that belong to it arrive.
        watermark = min([reader.watermark(), *(each.timestamp for each in taken)])
        return TransformResult(self, bundles, [again], None, {None: Timestamp.of(watermark)})

    def _bundle(self, taken: list[Taken]) -> Any:
        bundle = self._evaluation_context.create_bundle(next(iter(self._outputs)))
        for each in taken:
            bundle.output(GlobalWindows.windowed_value(each.message, timestamp=Timestamp.of(each.timestamp)))
        return bundle


register_evaluator(PullOnDirectRunner, _PullEvaluator)
