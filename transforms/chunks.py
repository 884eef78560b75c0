"""Lists of a limited size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def chunks(
    items: Iterable[T], max_size: int, size_of: Callable[[T], int], max_count: int | None = None
) -> Iterator[list[T]]:
    """Yields the items in their order, in lists whose sizes are limited; a larger item is alone in its list.

    Args:
        items: The items, which are consumed as lists are yielded.
        max_size: The largest sum of sizes in a list.
        size_of: Returns the size of an item.
        max_count: The largest number of items in a list; None is no limit.

    >>> list(chunks(["a", "bb", "ccccc", "d", "e", "f"], 3, len, max_count=2))
    [['a', 'bb'], ['ccccc'], ['d', 'e'], ['f']]
    """
    chunk: list[T] = []
    total = 0
    for item in items:
        size = size_of(item)
        if chunk and (total + size > max_size or len(chunk) == max_count):
            yield chunk
            chunk, total = [], 0
        chunk.append(item)
        total += size
    if chunk:
        yield chunk
