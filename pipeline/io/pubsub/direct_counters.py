"""A stream's counters on Beam's DirectRunner, whose own stop counting.

The runner makes a container of counters for each step and bundle, but its thread's state sampler goes on with the
first one that a step ever had; the result's metrics hold what was in there when that first bundle ended. The first
containers have it all, and are read here.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from apache_beam.metrics.execution import MetricResult
from apache_beam.runners.worker.statesampler import get_current_tracker

from pipeline.beam_internals import metrics_containers

_samplers: list[Any] = []


def remember_sampler() -> None:
    """To be called in the runner's thread, at least once before the pipeline ends."""
    sampler = get_current_tracker()
    if sampler is not None and all(sampler is not known for known in _samplers):
        _samplers[:] = [sampler]  # of the latest run; the one before is done


class DirectCounters:
    """Answers as the metrics of a pipeline's result do, for counters."""

    def query(self, metrics_filter: Any) -> dict[str, list[MetricResult]]:
        """The counters that a filter names, by step."""
        totals: Counter[Any] = Counter()
        for container in _containers():
            totals.update(container.get_cumulative().counters)
        return {"counters": [MetricResult(key, n, n) for key, n in totals.items() if _matches(metrics_filter, key)]}


def _containers() -> list[Any]:
    """Return the containers that are counted in."""
    return [container for sampler in _samplers for container in metrics_containers(sampler)]


def _matches(metrics_filter: Any, key: Any) -> bool:
    return not metrics_filter.namespaces or key.metric.namespace in metrics_filter.namespaces
