"""The names of files that hold a window of time each."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pipeline.io.files.names import numbered_files

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The years that a name has four digits for.
_FIRST_SECOND = (datetime(1, 1, 2, tzinfo=timezone.utc) - _EPOCH).total_seconds()
_LAST_SECOND = (datetime(9999, 12, 31, tzinfo=timezone.utc) - _EPOCH).total_seconds()
_NAME = re.compile(
    r"-(?P<window>\d{8}T\d{6}Z-\d{8}T\d{6}Z)(?:-(?P<pane>early|late)(?P<number>\d+))?"
    r"-(?P<shard>\d{5,})-of-(?P<num_shards>\d{5,})"
)

ON_TIME, EARLY, LATE = "", "early", "late"
"""The panes of a window: what is written as it closes, before that, and after."""


@dataclass(frozen=True)
class WindowShard:
    """One shard of one window: what a file, or a few, are written of.

    Attributes:
        start: The window's first second, since the epoch.
        seconds: The window's length.
        shard: Number of the shard.
        num_shards: How many there are.
    """

    start: int
    seconds: int
    shard: int
    num_shards: int

    @property
    def window(self) -> str:
        """The window in ISO 8601, UTC, without what some file systems refuse.

        >>> WindowShard(1764000000, 60, 0, 1).window
        '20251124T160000Z-20251124T160100Z'
        """
        return f"{_iso(self.start)}-{_iso(self.start + self.seconds)}"

    def name(self, prefix: str, suffix: str, pane: str, number: int) -> str:
        """The file of a pane, or where files of such panes are there already, of the next.

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
    """The first second of the window that an event belongs to.

    >>> window_start(119.5, 60), window_start(-0.5, 60)
    (60, -60)
    """
    return math.floor(timestamp / seconds) * seconds


def event_time(*timestamps: float | None) -> float:
    """The first of these times that a name can be made of, in seconds since the epoch; now if there is none.

    >>> event_time(None, float("nan"), 0.0, 12.5)
    0.0
    """
    usable = (given for given in timestamps if given is not None and _FIRST_SECOND <= given < _LAST_SECOND)
    return next(usable, time.time())


def window_files(prefix: str, suffix: str, window: str | None = None) -> list[str]:
    """The files of windows that there are: on time, early and late.

    Args:
        prefix: As given by `output_files`.
        suffix: As given by `output_files`.
        window: Only those of one window, as `WindowShard.window` gives it.

    Returns:
        Their paths, sorted.
    """
    names = ((path, _parsed(path, prefix, suffix)) for path in numbered_files(prefix, suffix))
    return [path for path, name in names if name and window in (None, name["window"])]


def _parsed(path: str, prefix: str, suffix: str) -> re.Match[str] | None:
    stem, name = re.split(r"[/\\]", prefix)[-1], re.split(r"[/\\]", path)[-1]
    if not name.startswith(stem) or not name.endswith(suffix):
        return None
    return _NAME.fullmatch(name[len(stem) : len(name) - len(suffix)])


def _iso(seconds: int) -> str:
    # A long window at either end of the calendar is named as far as that goes.
    seconds = int(min(max(seconds, _FIRST_SECOND), _LAST_SECOND))
    # Not strftime, which leaves zeros out of early years.
    return re.sub(r"[-:]|\+.*", "", (_EPOCH + timedelta(seconds=seconds)).isoformat()) + "Z"
