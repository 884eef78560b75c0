"""The summary that a run prints at its end, from Beam's counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apache_beam.metrics import MetricsFilter
from apache_beam.runners.direct.direct_runner import DirectPipelineResult
from apache_beam.runners.runner import PipelineResult

from pipeline.io.failure_reasons import REASONS
from pipeline.io.pubsub.direct_counters import DirectCounters
from pipeline.max_failures import MaxFailures
from transforms.metrics import NAMESPACE

_MOST_REASONS = 3
_MOST_CHARS = 100  # of a reason


def counters_of(metrics: Any, namespace: str = NAMESPACE) -> Counter[str]:
    """Return the program's counters by name, added up over the steps; see docs/metrics.md.

    Args:
        metrics: The metrics of a pipeline's result.
        namespace: The namespace of the counters.
    """
    counts: Counter[str] = Counter()
    for counter in metrics.query(MetricsFilter().with_namespace(namespace))["counters"]:
        counts[counter.key.metric.name] += counter.result or 0
    return counts


@dataclass(frozen=True)
class Summary:
    """The counts of one run.

    Attributes:
        documents: Number of records that were read: results and failures together.
        results: Number of documents with a result.
        entities: Number of entities in the results.
        failures: Number of records in the dead letter.
        truncated: Number of documents that were truncated.
        tokens: Number of tokens in the documents, without special tokens.
        windows: Number of windows that the model scored.
        reasons: The reasons of failures, each with its number of records: first those of whole files, then the most
            frequent.
        seconds: Duration of the run; it does not include loading the model if that happens before the run.
    """

    documents: int
    results: int
    entities: int
    failures: int
    truncated: int
    tokens: int
    windows: int
    reasons: tuple[tuple[str, int], ...]
    seconds: float

    @classmethod
    def of(cls, metrics: Any, seconds: float) -> Summary:
        """Return the summary of a pipeline's result, from its counters."""
        counts = counters_of(metrics)
        failures = sum(counts[f"{stage}_failures"] for stage in ("read", "classify", "group", "write"))
        return cls(
            documents=counts["documents_read"] + counts["read_failures"],
            results=counts["documents"] - counts["write_failures"],
            entities=counts["entities"],
            failures=failures,
            truncated=counts["documents_truncated"],
            tokens=counts["tokens"],
            windows=counts["windows"],
            reasons=tuple(sorted(counters_of(metrics, REASONS).items(), key=_importance)),
            seconds=seconds,
        )

    def lines(self, results: str, failures: str) -> list[str]:
        """Return the counts, one a line, with the places of results and failures."""
        rate = self.results / self.seconds if self.seconds else 0.0
        truncated = f", {self.truncated:,} of them truncated" if self.truncated else ""
        rows = [
            (self.documents, f"documents in {self.seconds:.1f} s, {rate:,.0f} a second"),
            (self.results, f"results{truncated}, in {results}"),
            (self.failures, f"failures, in {failures}"),
            (self.entities, "entities"),
            (self.tokens, f"tokens in {self.windows:,} windows"),
        ]
        width = max(len(f"{count:,}") for count, _ in rows)
        lines = [f"{count:>{width},} {what}" for count, what in rows]
        shown = [
            f"{count:,} × {_shortened(reason.partition(': ')[2])}" for reason, count in self.reasons[:_MOST_REASONS]
        ]
        if more := len(self.reasons) - _MOST_REASONS:
            shown += [f"and {more:,} more reasons"] if more > 0 else []
        lines[3:3] = [f"{'':{width}}   {line}" for line in shown]
        if self.documents != self.results + self.failures:
            lines.append("documents and results do not add up, which is a defect of this program; please report it")
        return lines

    def _reason_lines(self) -> Iterator[str]:
        for reason, count in self.reasons[:_MOST_REASONS]:
            yield f"{count:,} × {_shortened(reason.partition(': ')[2])}"
        if len(self.reasons) > _MOST_REASONS:
            yield f"and {len(self.reasons) - _MOST_REASONS:,} more reasons"

    def problem(self, most: MaxFailures | None) -> str | None:
        """Return the reason for which a run counts as failed although it has ended; None if it does not.

        Args:
            most: The most failures; None if only a run without any result counts as failed.
        """
        if most is not None and most.exceeded(self.failures, self.documents):
            return f"{self.failures:,} of {self.documents:,} documents failed, more than --max_failures={most}"
        if most is None and self.failures and not self.results:
            return (
                f"{self.failures:,} of {self.documents:,} documents failed; expected a result, or --max_failures=100%"
            )
        return None


def _importance(reason: tuple[str, int]) -> tuple[bool, int]:
    name, count = reason
    return not name.startswith("read: "), -count


def _shortened(reason: str) -> str:
    return reason if len(reason) <= _MOST_CHARS else f"{reason[:_MOST_CHARS]}…"


def streaming_metrics(result: PipelineResult) -> Any:
    """Return the metrics of a streaming run that has ended."""
    return DirectCounters() if isinstance(result, DirectPipelineResult) else result.metrics()
