"""The number of failures from which a run counts as failed."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class MaxFailures:
    """The most records that may fail.

    Attributes:
        limit: The most failures, or their largest share of all documents in percent.
        is_percent: Whether `limit` is a share.
    """

    limit: float
    is_percent: bool = False

    @classmethod
    def parse(cls, value: str) -> MaxFailures:
        """Parses a number, or a percentage.

        >>> MaxFailures.parse("100"), MaxFailures.parse("2.5%")
        (MaxFailures(limit=100.0, is_percent=False), MaxFailures(limit=2.5, is_percent=True))

        Raises:
            ValueError: If the value is neither.
        """
        found = re.fullmatch(r"(?a)(\d+)|(\d+(?:\.\d+)?)%", value.strip())
        if not found or float(found[1] or found[2]) > (100 if found[2] else float("inf")):
            raise ValueError("expected a number of records, or a percentage such as 1%")
        return cls(float(found[1] or found[2]), bool(found[2]))

    def exceeded(self, failures: int, documents: int) -> bool:
        """Return whether there are more failures.

        >>> MaxFailures(1.0, True).exceeded(2, 100)
        True
        """
        return failures > (self.limit * documents / 100 if self.is_percent else self.limit)

    def __str__(self) -> str:
        return f"{self.limit:g}{'%' if self.is_percent else ''}"
