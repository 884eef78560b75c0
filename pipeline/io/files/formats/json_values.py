"""Splits a JSON file of an array, or of objects one after another, into its values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from pipeline.io.files.matching import read_blocks
from pipeline.io.records import BOM, MAX_RECORD_BYTES

_VALUE = re.compile(rb"[^\s,\[\]]")
_IN_OBJECT = re.compile(rb'[{}"]')
_IN_STRING = re.compile(rb'["\\]')
_AFTER_SCALAR = re.compile(rb'[\s,\[\]{}"]')


def is_one_value(path: str, encoding: str | None = None) -> bool:
    """Return whether a JSON file is an array, or has objects of several lines; False for an object per line.

    Args:
        path: The file.
        encoding: Its encoding; None to read it from the first bytes.
    """
    head = next(read_blocks(path, 0, encoding), b"").removeprefix(BOM).lstrip()
    if head.startswith(b"["):
        return True
    first, *others = head.split(b"\n")
    if not (head.startswith(b"{") and others and _is_open(first)):
        return False
    return not any(line.startswith(b"{") and _is_object(line) for line in others[:-1])


def _is_open(line: bytes) -> bool:
    """Return whether a line ends within an object, but not within a string: those contain no line ends."""
    splitter = _Splitter()
    complete = list(splitter.split(line))
    return not complete and splitter.depth > 0 and not splitter.in_string


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def split_values(blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield the values in an array, or one after another, as bytes.

    A value that is malformed inside is yielded like others, up to the brace that closes it.

    >>> list(split_values([b'[{"text": "A', b'nn"},', b' 7]']))
    [(1, b'{"text": "Ann"}'), (18, b'7')]

    Args:
        blocks: The bytes of a file in UTF-8, from its beginning.

    Yields:
        The offset of a value's first byte, and the value. A value of more than `MAX_RECORD_BYTES` is skipped, and None
        is yielded in its place.
    """
    splitter = _Splitter()
    for number, block in enumerate(blocks):
        mark = BOM if number == 0 and block.startswith(BOM) else b""
        yield from splitter.split(block.removeprefix(mark), len(mark))
    yield from splitter.end()


class _Splitter:
    """The state between blocks.

    Attributes:
        depth: The number of open braces.
        in_string: Whether a string is open.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.in_string = False
        self._escaped = False
        self._is_scalar = False  # a number, a word, or what is no JSON
        self._start = -1  # the offset of the open value; -1 between values
        self._offset = 0  # the offset of the block
        self._pieces: list[bytes] = []
        self._size = 0

    def split(self, block: bytes, skipped: int = 0) -> Iterator[tuple[int, bytes | None]]:
        """Yield the values that end in a block; `skipped` bytes before it are counted in the offsets."""
        self._offset += skipped
        at, begin = 0, 0
        while at < len(block):
            if self._start < 0:
                found = _VALUE.search(block, at)
                if found is None:
                    break
                at = begin = found.start()
                self._start = self._offset + at
                self._is_scalar = block[at : at + 1] not in (b"{", b'"')
                at += self._is_scalar
            at, ended = self._advance(block, at)
            if ended:
                self._take(block[begin:at])
                yield self._value()
        if self._start >= 0:
            self._take(block[begin:])
        self._offset += len(block)

    def _advance(self, block: bytes, at: int) -> tuple[int, bool]:
        """Return the position after the next character that changes the state, and whether the value ends there."""
        if self._escaped:
            self._escaped = False
            return at + 1, False
        if self.in_string:
            found = _IN_STRING.search(block, at)
            if found is None:
                return len(block), False
            self._escaped = found[0] == b"\\"
            self.in_string = self._escaped
            return found.end(), self.depth == 0 and not self.in_string
        if self._is_scalar:
            found = _AFTER_SCALAR.search(block, at)
            return (len(block), False) if found is None else (found.start(), True)
        found = _IN_OBJECT.search(block, at)
        if found is None:
            return len(block), False
        self.in_string = found[0] == b'"'
        self.depth += {b"{": 1, b"}": -1}.get(found[0], 0)
        return found.end(), self.depth == 0 and not self.in_string

    def end(self) -> Iterator[tuple[int, bytes | None]]:
        """Yield the value that is open at the end of the file."""
        if self._start >= 0:
            yield self._value()

    def _take(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size <= MAX_RECORD_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()

    def _value(self) -> tuple[int, bytes | None]:
        value = None if self._size > MAX_RECORD_BYTES else b"".join(self._pieces)
        start, self._start, self._size, self._pieces = self._start, -1, 0, []
        self.depth, self.in_string = 0, False
        return start, value
