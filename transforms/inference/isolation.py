"""Items that fail without their neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from transforms.engines.base import BatchTimeoutError, ModelHungError, OutOfMemoryError
from transforms.metrics import Counts

T = TypeVar("T")

R = TypeVar("R")


def isolated(
    function: Callable[[Sequence[T]], Sequence[R]], items: Sequence[T], counts: Counts | None = None
) -> list[R | BaseException]:
    """``function(items)``, where an item that makes it raise costs its neighbours nothing but time.

    The items are halved until the culprit stands alone; its place in the result holds the exception. Items that
    together take too long are tried one by one at once: each try that hangs leaves a thread behind.

    Args:
        function: Gives as many results as it is given items.
        items: What it is to be given.
        counts: Where to count ``batch_splits`` and ``batch_timeouts``.

    Raises:
        OutOfMemoryError: if several items do not fit together, for which none of them is to blame.
        ModelHungError: if there is no use in trying any item.
    """
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
    except BaseException as error:  # Rust's panics are no Exceptions
        late = isinstance(error, BatchTimeoutError)
        if late and counts:
            counts.add("batch_timeouts")
        if len(items) == 1:
            return [error]
    if counts:
        counts.add("batch_splits")
    size = 1 if late else -(-len(items) // 2)
    parts = [items[first : first + size] for first in range(0, len(items), size)]
    return [result for part in parts for result in isolated(function, part, counts)]
