"""Counters of a stream on Beam's DirectRunner, whose own metrics stop counting.

The runner makes a new container of counters for each step and bundle. Its thread's state sampler, however, keeps using
the first container of each step. The result's metrics contain only the counts at the end of that first bundle. The
first containers have all counts, so this module reads them.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from apache_beam.metrics.execution import MetricResult
from apache_beam.runners.worker.statesampler import get_current_tracker

from pipeline.beam_internals import metrics_containers

_samplers: list[Any] = []


def remember_sampler() -> None:
    """Remembers the state sampler of the current thread.

    Call it in the runner's thread, at least once before the pipeline ends.
    """
    sampler = get_current_tracker()
    if sampler is not None and all(sampler is not known for known in _samplers):
        _samplers[:] = [sampler]  # only that of the latest run: earlier runs have ended


class DirectCounters:
    """A replacement for the metrics of a pipeline's result, for counters only."""

    def query(self, metrics_filter: Any) -> dict[str, list[MetricResult]]:
        """Return the counters that a filter selects, one for each step."""
        totals: Counter[Any] = Counter()
        for container in _containers():
            totals.update(container.get_cumulative().counters)
        return {"counters": [MetricResult(key, n, n) for key, n in totals.items() if _matches(metrics_filter, key)]}


def _containers() -> list[Any]:
    """Return the containers into which the steps count."""
    return [container for sampler in _samplers for container in metrics_containers(sampler)]


def _matches(metrics_filter: Any, key: Any) -> bool:
    return not metrics_filter.namespaces or key.metric.namespace in metrics_filter.namespaces
