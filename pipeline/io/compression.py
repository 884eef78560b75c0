"""Decompresses streams to their very end, in pieces of bounded size."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any

import zstandard

from pipeline.io.records import UnreadableError

_PIECE_BYTES = 1024 * 1024
# In zstd, four bytes expand to at most 128 KiB, and a slice is decompressed in one step.
_ZSTD_SLICE_BYTES = 128
# The largest window of a stream: that of `zstd --long=29`, and much more than the 65 MiB for `xz -9`.
_WINDOW_BYTES = 2**29

Pieces = Generator[bytes, None, bytes]
"""The pieces of a decompressed block. The generator returns the block's bytes after the end of the stream."""


def _deflated(stream: Any, block: bytes) -> Pieces:
    while block and not stream.eof:
        yield stream.decompress(block, _PIECE_BYTES)
        block = stream.unconsumed_tail
    # The decompressor may still hold output of the bytes that it has consumed.
    while not stream.eof and (piece := stream.decompress(b"", _PIECE_BYTES)):
        yield piece
    return bytes(stream.unused_data)


def _limited(stream: Any, block: bytes) -> Pieces:
    yield stream.decompress(block, _PIECE_BYTES)
    while not (stream.eof or stream.needs_input):
        yield stream.decompress(b"", _PIECE_BYTES)
    return bytes(stream.unused_data)


def _sliced(stream: Any, block: bytes) -> Pieces:
    for stop in range(_ZSTD_SLICE_BYTES, len(block) + _ZSTD_SLICE_BYTES, _ZSTD_SLICE_BYTES):
        yield stream.decompress(block[stop - _ZSTD_SLICE_BYTES : stop])
        if stream.eof:
            return bytes(stream.unused_data) + block[stop:]
    return b""


def _zstd_decompressor() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES).decompressobj()


# For each kind: a function that makes the library's decompressor for one member, and a function that runs it.
_METHODS: dict[str, tuple[Callable[[], Any], Callable[[Any, bytes], Pieces]]] = {
    "gzip": (partial(zlib.decompressobj, zlib.MAX_WBITS | 16), _deflated),
    "bzip2": (bz2.BZ2Decompressor, _limited),
    "xz": (partial(lzma.LZMADecompressor, memlimit=_WINDOW_BYTES), _limited),
    "zstd": (_zstd_decompressor, _sliced),
    "deflate": (partial(zlib.decompressobj, -zlib.MAX_WBITS), _deflated),
}

_ERRORS = (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError)

COMPRESSION_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""The endings of compressed files, each with its kind of compression."""


def compression_ending(path: str) -> str:
    """Return the ending that shows how a file is compressed, or an empty string.

    >>> compression_ending("gs://b/x-*.jsonl.GZ"), compression_ending("x.jsonl")
    ('.gz', '')
    """
    return next((ending for ending in COMPRESSION_ENDINGS if path.lower().endswith(ending)), "")


def decompress(blocks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """Decompresses the blocks of a file with all of its members, and rejects a file whose last member is incomplete.

    Args:
        blocks: The compressed bytes.
        kind: ``gzip``, ``bzip2``, ``xz``, ``zstd`` or ``deflate``.

    Yields:
        Pieces of at most some megabytes, whatever the size of the decompressed blocks.

    Raises:
        UnreadableError: If the stream is corrupt, ends early, or needs a window of more than 512 MiB. Everything before
            that point has been yielded.
    """
    make, unpack = _METHODS[kind]
    stream, complete, size = make(), False, 0
    for block in blocks:
        size += len(block)
        # Zeros between and after members are padding.
        while block := block.lstrip(b"\0") if complete else block:
            if complete:
                stream = make()
            try:
                block = yield from unpack(stream, block)
            except _ERRORS as error:
                raise UnreadableError(f"the {kind} stream is corrupt near compressed byte {size}") from error
            complete = stream.eof
    if not complete:
        raise UnreadableError(f"the {kind} stream ends early, after {size} compressed bytes")


def decompress_block(data: bytes, kind: str, most: int) -> bytes:
    """Decompresses a block that is one stream; bytes after the stream's end are ignored.

    Args:
        data: The block.
        kind: As for `decompress`.
        most: The most bytes that the decompressed block may have.

    Raises:
        UnreadableError: If the block is corrupt, ends early, or expands to more bytes.
    """
    make, unpack = _METHODS[kind]
    stream, block = make(), bytearray()
    try:
        for piece in unpack(stream, data):
            block += piece
            if len(block) > most:
                raise UnreadableError(f"a block has more than {most} bytes once it is decompressed")
    except _ERRORS as error:
        raise UnreadableError(f"a block's {kind} stream is corrupt") from error
    if not stream.eof:
        raise UnreadableError(f"a block's {kind} stream ends early")
    return bytes(block)
