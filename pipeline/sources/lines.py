"""Lines of bytes and their places, from blocks of any size."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.sources.files import Shard, read_blocks

BOM = b"\xef\xbb\xbf"


def split_lines(blocks: Iterable[bytes], offset: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    r"""Splits blocks into lines at LF, in time linear in their size however long a line is.

    >>> list(split_lines([b"one\r\ntw", b"o\nthree"]))
    [(0, b'one\r\n'), (5, b'two\n'), (9, b'three')]

    Args:
        blocks: The bytes, from the start of a line on.
        offset: Where the first block begins in its file. A byte order mark at 0 is dropped from the line,
            but counts in the offsets.
        end: No line that begins here or later is yielded.

    Yields:
        The offset of a line's first byte, and the line with its ending.
    """
    pending: list[bytes] = []
    for block in blocks:
        for piece in io.BytesIO(block):
            pending.append(piece)
            if not piece.endswith(b"\n"):
                continue
            line = b"".join(pending)
            pending.clear()
            yield offset, line if offset else line.removeprefix(BOM)
            offset += len(line)
            if end is not None and offset >= end:
                return
    line = b"".join(pending)
    if last := line if offset else line.removeprefix(BOM):
        yield offset, last


def shard_lines(shard: Shard) -> Iterator[tuple[int, bytes]]:
    """The lines whose first byte lies in a shard, as `split_lines` gives them."""
    if shard.start == 0:
        yield from split_lines(read_blocks(shard.path), 0, shard.end)
        return
    # From one byte before: a line begins at the shard's first byte if a line ends there.
    offset = shard.start - 1
    blocks = read_blocks(shard.path, offset)
    for block in blocks:
        line_end = block.find(b"\n")
        offset += len(block) if line_end < 0 else line_end + 1
        # A line may be longer than many shards: those within it must not read on to its end.
        if shard.end is not None and offset >= shard.end:
            return
        if line_end >= 0:
            yield from split_lines(chain([block[line_end + 1 :]], blocks), offset, shard.end)
            return


def strip_ending(line: bytes) -> bytes:
    r"""The line without its LF or CRLF; a lone CR is part of the line.

    >>> strip_ending(b"a\r\n"), strip_ending(b"a\r")
    (b'a', b'a\r')
    """
    return line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else line
