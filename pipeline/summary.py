"""What a run has to say at its end, from Beam's counters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from apache_beam.metrics import MetricsFilter
from apache_beam.runners.direct.direct_runner import DirectPipelineResult
from apache_beam.runners.runner import PipelineResult

from pipeline.io.pubsub.direct_counters import DirectCounters
from transforms.metrics import NAMESPACE


def counters_of(metrics: Any) -> Counter[str]:
    """The program's counters by name, added up over the steps; see docs/metrics.md.

    Args:
        metrics: Those of a pipeline's result.
    """
    counts: Counter[str] = Counter()
    for counter in metrics.query(MetricsFilter().with_namespace(NAMESPACE))["counters"]:
        counts[counter.key.metric.name] += counter.result or 0
    return counts


@dataclass(frozen=True)
class Summary:
    """The counts of one run.

    Attributes:
        documents: Records that were read: results and failures together.
        results: Documents with a result.
        entities: Entities in them.
        failures: Records in the dead letter.
        truncated: Documents whose end was not read.
        tokens: Tokens of the documents, special tokens left out.
        windows: Windows that the model read.
        seconds: How long the run took, the model's loading left out where it is loaded before.
    """

    documents: int
    results: int
    entities: int
    failures: int
    truncated: int
    tokens: int
    windows: int
    seconds: float

    @classmethod
    def of(cls, metrics: Any, seconds: float) -> Summary:
        """Adds up the counters of a pipeline's result."""
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
            seconds=seconds,
        )

    def lines(self, results: str, failures: str) -> list[str]:
        """The counts, one a line, and where the files are."""
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
        if self.documents != self.results + self.failures:
            lines.append("documents and results do not add up, which is a defect of this program; please report it")
        return lines


def streaming_metrics(result: PipelineResult) -> Any:
    """The metrics of a run that has ended."""
    return DirectCounters() if isinstance(result, DirectPipelineResult) else result.metrics()
