"""The error of rows that BigQuery does not take."""

from __future__ import annotations


class UnwrittenError(RuntimeError):
    """An error for rows that could not be written, for a reason other than their content; it quotes no row."""
