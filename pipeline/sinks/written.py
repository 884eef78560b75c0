"""What a sink gives back."""

from __future__ import annotations

from typing import Any, NamedTuple


class Written(NamedTuple):
    """What became of what a sink was given.

    Attributes:
        receipts: PCollection[str], the receipts of documents whose results or failures are durable.
        failures: PCollection[Failure] of stage `write`: what the sink could not take.
    """

    receipts: Any
    failures: Any
