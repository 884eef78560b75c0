"""What a sink gives back."""

from __future__ import annotations

from typing import Any, NamedTuple


class Written(NamedTuple):
    """What a sink gives.

    Attributes:
        receipts: PCollection[str], the receipts of the documents whose results (or failures) are durably written.
            Documents that came without one have none here.
        failures: PCollection[Failure] of the stage `write`: what can never be written, receipts included.
    """

    receipts: Any
    failures: Any
