"""Compressed streams: unpacked to the very end, a bounded piece at a time."""

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
# Of zstd, four bytes expand to 128 KiB at the most, and what is given at a time is unpacked at once.
_ZSTD_SLICE_BYTES = 128
# What a stream may ask for to look back at: `zstd --long=29`, and four times what `xz -9` needs.
_WINDOW_BYTES = 2**29

Pieces = Generator[bytes, None, bytes]
"""What a block expands to, in pieces; returns what of the block stands behind the end of the stream."""


def _deflated(stream: Any, block: bytes) -> Pieces:
    while block and not stream.eof:
        yield stream.decompress(block, _PIECE_BYTES)
        block = stream.unconsumed_tail
    # Of what was taken in, a part may be due still.
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


# How one member of a file is unpacked: by a new object of the library, and a function that has it do so.
_METHODS: dict[str, tuple[Callable[[], Any], Callable[[Any, bytes], Pieces]]] = {
    "gzip": (partial(zlib.decompressobj, zlib.MAX_WBITS | 16), _deflated),
    "bzip2": (bz2.BZ2Decompressor, _limited),
    "xz": (partial(lzma.LZMADecompressor, memlimit=_WINDOW_BYTES), _limited),
    "zstd": (_zstd_decompressor, _sliced),
    "deflate": (partial(zlib.decompressobj, -zlib.MAX_WBITS), _deflated),
}

_ERRORS = (zlib.error, OSError, EOFError, lzma.LZMAError, zstandard.ZstdError)

COMPRESSION_ENDINGS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}
"""Endings of compressed files, with the kind of their compression."""


def compression_ending(path: str) -> str:
    """The ending that says how a file is compressed, or an empty string.

    >>> compression_ending("gs://b/x-*.jsonl.GZ"), compression_ending("x.jsonl")
    ('.gz', '')
    """
    return next((ending for ending in COMPRESSION_ENDINGS if path.lower().endswith(ending)), "")


def decompress(blocks: Iterable[bytes], kind: str) -> Iterator[bytes]:
    """Decompresses blocks of a file, all of its members, and insists on the last one's end.

    Args:
        blocks: The compressed bytes.
        kind: ``gzip``, ``bzip2``, ``xz``, ``zstd`` or ``deflate``.

    Yields:
        Pieces of some megabytes at the most, whatever the blocks expand to.

    Raises:
        UnreadableError: If the stream is corrupt, ends early, or asks for more than 512 MiB to look back at; all that
            came before it has been yielded.
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
    """Decompresses a block that is one stream; what follows on that is left.

    Args:
        data: The block.
        kind: As for `decompress`.
        most: How many bytes it may expand to.

    Raises:
        UnreadableError: If it is corrupt, ends early, or expands to more.
    """
    make, unpack = _METHODS[kind]
    stream, block = make(), bytearray()
    try:
        for piece in unpack(stream, data):
            block += piece
            if len(block) > most:
                raise UnreadableError(f"a block has more than {most} bytes once it is unpacked")
    except _ERRORS as error:
        raise UnreadableError(f"a block's {kind} stream is corrupt") from error
    if not stream.eof:
        raise UnreadableError(f"a block's {kind} stream ends early")
    return bytes(block)
