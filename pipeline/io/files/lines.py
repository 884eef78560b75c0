"""Splits blocks of any size into lines of bytes, with the offset of each line."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.io.files.matching import Shard, can_split, read_blocks
from pipeline.io.records import BOM, MAX_RECORD_BYTES
from transforms.documents import Failure


def split_lines(blocks: Iterable[bytes], offset: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes | None]]:
    r"""Splits blocks into lines at LF. The time is linear in the blocks' size, even for very long lines.

    >>> list(split_lines([b"one\r\ntw", b"o\nthree"]))
    [(0, b'one\r\n'), (5, b'two\n'), (9, b'three')]

    Args:
        blocks: The bytes, which begin at the start of a line.
        offset: The offset of the first block in its file. A byte order mark at offset 0 is removed from the line, but
            counts in the offsets.
        end: The offset at which to stop. No line that begins here or later is yielded.

    Yields:
        The offset of a line's first byte, and the line with its ending. A line of more than `MAX_RECORD_BYTES` is
        skipped, and None is yielded in its place.
    """
    pending: list[bytes] = []
    size = 0
    for block in blocks:
        for piece in io.BytesIO(block):
            size += len(piece)
            if size <= MAX_RECORD_BYTES:
                pending.append(piece)
            else:
                pending.clear()
            if not piece.endswith(b"\n"):
                continue
            line = _line(pending, size, offset)
            pending.clear()
            yield offset, line
            offset, size = offset + size, 0
            if end is not None and offset >= end:
                return
    if (last := _line(pending, size, offset)) != b"":
        yield offset, last


def _line(pieces: list[bytes], size: int, offset: int) -> bytes | None:
    if size > MAX_RECORD_BYTES:
        return None
    line = b"".join(pieces)
    return line if offset else line.removeprefix(BOM)


def too_long(source: str, offset: int) -> Failure:
    """Return the failure of a line that is too long to hold in memory, so the failure does not contain the line."""
    problem = f"the line has more than {MAX_RECORD_BYTES} bytes, which are not read"
    return Failure(b"", f"{source}:{offset}: {problem}", "read", {"source": source})


def shard_lines(shard: Shard, encoding: str | None = None) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines whose first byte is in a shard, in the same form as `split_lines`.

    A file that can only be read from its beginning belongs to its first shard. The others have no lines.

    Args:
        shard: The shard.
        encoding: The file's encoding; None to read it from the first bytes. Lines and offsets are those of the text in
            UTF-8.
    """
    is_whole = shard.start == 0 and shard.end is None
    splits = is_whole or can_split(shard.path, encoding)
    if shard.start == 0:
        yield from split_lines(read_blocks(shard.path, 0, encoding), 0, shard.end if splits else None)
        return
    if not splits:
        return
    # Reading begins one byte before the shard. If that byte is an LF, a line begins at the shard's first byte:
    #
    #     o n e LF | t w o LF     | is shard.start
    #           ^ first byte read
    offset = shard.start - 1
    blocks = read_blocks(shard.path, offset)
    for block in blocks:
        line_end = block.find(b"\n")
        offset += len(block) if line_end < 0 else line_end + 1
        # A line may span many shards. Those in the middle of it must not read on to its end.
        if shard.end is not None and offset >= shard.end:
            return
        if line_end >= 0:
            yield from split_lines(chain([block[line_end + 1 :]], blocks), offset, shard.end)
            return


def strip_ending(line: bytes) -> bytes:
    r"""Return the line without its LF or CRLF; a lone CR is part of the line.

    >>> strip_ending(b"a\r\n"), strip_ending(b"a\r")
    (b'a', b'a\r')
    """
    return line[:-1].removesuffix(b"\r") if line.endswith(b"\n") else line
