"""The names of files that contain one window of time each."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The range of years with four digits.
_FIRST_SECOND = (datetime(1, 1, 2, tzinfo=timezone.utc) - _EPOCH).total_seconds()
_LAST_SECOND = (datetime(9999, 12, 31, tzinfo=timezone.utc) - _EPOCH).total_seconds()

ON_TIME, EARLY, LATE = "", "early", "late"
"""The panes of a window: files written when the window closes, before that, and after that."""


@dataclass(frozen=True)
class WindowShard:
    """One shard of one window; its results are written to one file or more.

    Attributes:
        start: The window's first second, since the epoch.
        seconds: The window's length.
        shard: The shard's number.
        num_shards: The number of shards.
    """

    start: int
    seconds: int
    shard: int
    num_shards: int

    @property
    def window(self) -> str:
        """The window in ISO 8601 and UTC, without the characters that some file systems reject.

        >>> WindowShard(1764000000, 60, 0, 1).window
        '20251124T160000Z-20251124T160100Z'
        """
        return f"{_iso(self.start)}-{_iso(self.start + self.seconds)}"

    def name(self, prefix: str, suffix: str, pane: str, number: int) -> str:
        """Return the path of a pane's file; number 0 is the pane's first file.

        Higher numbers are for later files of the pane. An on-time file with a number above 0 is named `late`.

        >>> shard = WindowShard(1764000000, 60, 0, 2)
        >>> shard.name("out/x", ".csv", ON_TIME, 0)
        'out/x-20251124T160000Z-20251124T160100Z-00000-of-00002.csv'
        >>> shard.name("x", ".csv", ON_TIME, 1)
        'x-20251124T160000Z-20251124T160100Z-late1-00000-of-00002.csv'
        >>> shard.name("x", ".csv", EARLY, 0)
        'x-20251124T160000Z-20251124T160100Z-early1-00000-of-00002.csv'
        """
        late = f"-{LATE}{number}" if number else ""
        which = late if pane == ON_TIME else f"-{pane}{number + 1}"
        return f"{prefix}-{self.window}{which}-{self.shard:05d}-of-{self.num_shards:05d}{suffix}"


def window_start(timestamp: float, seconds: int) -> int:
    """Return the first second of the window that contains an event.

    >>> window_start(119.5, 60), window_start(-0.5, 60)
    (60, -60)
    """
    return math.floor(timestamp / seconds) * seconds


def event_time(*timestamps: float | None) -> float:
    """Return the first of the times that fits into a file's name, in seconds since the epoch; now if none does.

    >>> event_time(None, float("nan"), 0.0, 12.5)
    0.0
    """
    usable = (given for given in timestamps if given is not None and _FIRST_SECOND <= given < _LAST_SECOND)
    return next(usable, time.time())


def _iso(seconds: int) -> str:
    # A long window may end outside of that range; its name is then limited to the range.
    seconds = int(min(max(seconds, _FIRST_SECOND), _LAST_SECOND))
    # strftime is not used, because it omits the leading zeros of early years.
    return re.sub(r"[-:]|\+.*", "", (_EPOCH + timedelta(seconds=seconds)).isoformat()) + "Z"
