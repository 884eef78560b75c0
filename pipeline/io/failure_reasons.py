"""Counts failures by their reason, for the summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from transforms.documents import Failure

REASONS = "ner_failure_reasons"
"""The namespace of the counters. A counter's name is a reason."""

OTHER_REASONS = "other reasons"

_MOST_REASONS = 30  # in one worker; Dataflow limits a job's counters
_MOST_CHARS = 200

# A record's place begins with its source, and ends with an offset, a row, or a range of bytes.
_PLACE = r"(:\S+?)?( \(bytes [^)]*\))?: "
_PLACE_IN_RECORD = re.compile(r"\b(bytes?|character|after) \d+")


def reason_of(failure: Failure) -> str:
    """Return the stage and the reason of a failure, without the record's place; the number of a byte is N.

    >>> source = {"source": "in.csv"}
    >>> reason_of(Failure(b"", "in.csv:17: byte 7 of the record is not UTF-8", "parse", source))
    'parse: byte N of the record is not UTF-8'
    """
    source = re.escape(failure.attributes.get("source", "")) or r"\S+?"
    found = re.match(source + _PLACE, failure.error) or re.match(r"\S+?" + _PLACE, failure.error)
    reason = failure.error[found.end() :] if found else failure.error
    return _PLACE_IN_RECORD.sub(r"\1 N", f"{failure.stage}: {reason}")[:_MOST_CHARS]


class CountReasons(beam.PTransform):
    """Counts each Failure of a PCollection by its reason, and returns the same failures."""

    def expand(self, failures: Any) -> Any:
        """Build the step."""
        return failures | "Count" >> beam.ParDo(_CountReasonsFn()).with_output_types(Failure)


class _CountReasonsFn(beam.DoFn):
    def setup(self) -> None:
        self._counters: dict[str, Any] = {}

    def process(self, failure: Failure) -> Iterator[Failure]:
        reason = reason_of(failure)
        if reason not in self._counters and len(self._counters) >= _MOST_REASONS:
            reason = OTHER_REASONS
        if reason not in self._counters:
            self._counters[reason] = Metrics.counter(REASONS, reason)
        self._counters[reason].inc()
        yield failure
