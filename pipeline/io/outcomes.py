"""The results of reading and writing, shared by all systems."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from transforms.documents import Document, Failure
from transforms.metrics import NAMESPACE

FAILURES = "failures"
"""The tag of the failures among a step's outputs."""


class ReadResult(NamedTuple):
    """The result of reading.

    Attributes:
        documents: PCollection[Document].
        failures: PCollection[Failure], of the stages `read` (files) and `parse` (records).
    """

    documents: Any
    failures: Any


def sort_outcomes(elements: Any, label: str, read: Callable[[Any], Iterator[Document | Failure]]) -> ReadResult:
    """Applies a function to each element, and separates and counts its documents and failures.

    Args:
        elements: A PCollection of the function's inputs.
        label: The step's label.
        read: The function that yields the documents and failures of an element.
    """
    outcomes = elements | label >> (
        beam.ParDo(_SortOutcomesFn(read))
        .with_output_types(Document, failures=Failure)
        .with_outputs(FAILURES, main="documents")
    )
    return ReadResult(outcomes["documents"], outcomes[FAILURES])


class _SortOutcomesFn(beam.DoFn):
    """Tags the failures among a function's outcomes, and counts both kinds."""

    def __init__(self, read: Callable[..., Iterator[Document | Failure]]) -> None:
        self._read = read
        self._documents = Metrics.counter(NAMESPACE, "documents_read")
        self._failures = Metrics.counter(NAMESPACE, "read_failures")

    def process(self, element: Any) -> Iterator[Any]:
        for outcome in self._read(element):
            if isinstance(outcome, Failure):
                self._failures.inc()
                yield TaggedOutput(FAILURES, outcome)
            else:
                self._documents.inc()
                yield outcome


class Written(NamedTuple):
    """The result of writing to a sink.

    Attributes:
        receipts: PCollection[str], the receipts of documents whose results or failures are durable.
        failures: PCollection[Failure] of stage `write`, for elements that the sink could not write.
    """

    receipts: Any
    failures: Any


@dataclass(frozen=True)
class Receipt:
    """The data for acknowledging one delivery of a message; as a string, it travels with the document.

    Attributes:
        subscription: `projects/P/subscriptions/S`.
        key: The key that all deliveries of one message share.
        ack_id: The delivery's ack id.
    """

    subscription: str
    key: str
    ack_id: str

    def __str__(self) -> str:
        return json.dumps([self.subscription, self.key, self.ack_id])

    @classmethod
    def parse(cls, receipt: str) -> Receipt:
        """Parses the string that `str` makes of a receipt.

        >>> Receipt.parse(str(Receipt("projects/p/subscriptions/s", "k", "a"))).key
        'k'
        """
        return cls(*json.loads(receipt))
