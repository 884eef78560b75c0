"""Calls in which an item that fails does not affect the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from transforms.engines.base import BatchTimeoutError, ModelHungError, OutOfMemoryError
from transforms.metrics import Counts

T = TypeVar("T")

R = TypeVar("R")


def run_isolating_failures(
    function: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], counts: Counts | None = None
) -> list[R | BaseException]:
    """Return ``function(items)``, with an exception in place of the result of each item that makes it raise.

    If a call fails, the items are split in halves and retried, until the failing item is alone. If a call times out,
    its items are retried one by one at once, because each call that hangs leaves a thread behind.

    Args:
        function: A function that returns one result for each item.
        items: The items.
        counts: The counts to which ``batch_splits`` and ``batch_timeouts`` are added.

    Raises:
        OutOfMemoryError: if several items do not fit in memory together, since no single item is the cause.
        ModelHungError: if no retry can succeed.
    """
    # c makes the function raise:
    #
    #   [a b c d]  ->  [a b]                   ->  A B
    #                  [c d]  ->  [c]  ->  error
    #                             [d]  ->  D              result: [A, B, error, D]
    if not items:
        return []
    try:
        return [*function(items)]
    except (KeyboardInterrupt, SystemExit, ModelHungError):
        raise
    except OutOfMemoryError as error:
        if len(items) == 1:
            return [error]
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        late = isinstance(error, BatchTimeoutError)
        if late and counts:
            counts.add("batch_timeouts")
        if len(items) == 1:
            return [error]
    if counts:
        counts.add("batch_splits")
    size = 1 if late else -(-len(items) // 2)
    parts = [items[first : first + size] for first in range(0, len(items), size)]
    return [result for part in parts for result in run_isolating_failures(function, part, counts)]
