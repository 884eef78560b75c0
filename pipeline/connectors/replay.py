"""Dead letters as input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.connectors.base import Connector, hold_seconds, record_fields
from pipeline.io.replay import ReadFailures
from pipeline.places import Replay

if TYPE_CHECKING:
    from pipeline.config import NerConfig


class ReplayConnector(Connector):
    """Dead letters that are read again; their places are checked by the connectors of these."""

    def read(self, place: Replay, config: NerConfig) -> Any:
        """Return the transform that reads the dead letter."""
        fields = record_fields(config)
        return "ReadFailures" >> ReadFailures(
            place.place, config.input_format, **fields, hold_seconds=hold_seconds(config)
        )
