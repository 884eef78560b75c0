"""What a sink gives back."""

from __future__ import annotations

from typing import Any, NamedTuple


class Written(NamedTuple):
    """What a sink that can be used in streaming gives.

    Attributes:
        receipts: PCollection[str], the receipts of what is durably written, for the source to acknowledge.
        failures: PCollection[Failure], of the stage `write`.
    """

    receipts: Any
    failures: Any
