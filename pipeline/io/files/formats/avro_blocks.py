"""Decompresses the blocks of Avro files, with bounded size, from a shard, and in every codec that Spark writes.

fastavro itself holds a decompressed block of any size, and needs another library for snappy. So it reads the same file
without compression, which this module makes:

    file:    header, codec=deflate | count, size, packed bytes, marker | ...
    stream:  header, codec=null    | count, size, bytes,        marker | ...
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

import fastavro
import pyarrow as pa

from pipeline.io.compression import decompress_block
from pipeline.io.files.matching import Shard
from pipeline.io.records import MAX_RECORD_BYTES, UnreadableError

_MAGIC = b"Obj\x01"
_MARKER_BYTES = 16
_STEP_BYTES = 64 * 1024
_LONG_BYTES = 10  # the most bytes of a 64-bit number, with seven bits per byte
_CHECKSUM_BYTES = 4
_SNAPPY_RATIO = 22
"""The largest ratio of a snappy block's decompressed size to its compressed size.

At best, three bytes stand for 64 bytes that came before.
"""


class BlockStream:
    """The blocks of a shard as a file without compression, which is made block by block during reading.

    Attributes:
        schema: The schema in the file's header.
        offset: The offset in the file of the block that was made last.
    """

    def __init__(self, file: BinaryIO, shard: Shard) -> None:
        """Reads the header.

        Args:
            file: The file, at its beginning.
            shard: The shard; only blocks that begin in it are made.

        Raises:
            UnreadableError: If the codec is unknown.
        """
        header = fastavro.reader(file)
        self.schema: Any = header.writer_schema
        codec = header.metadata.get("avro.codec", "null")
        if codec not in _CODECS:
            raise UnreadableError(f"the codec {codec!r} is unknown")
        self._unpack = _CODECS[codec]
        self._file, self._shard = file, shard
        first = file.tell()
        file.seek(first - _MARKER_BYTES)
        self._marker = file.read(_MARKER_BYTES)
        self._rest: BinaryIO = io.BytesIO(_header(header.metadata["avro.schema"].encode(), self._marker))
        self._position = 0
        self._ended = shard.start > first and not _seek_block(file, shard, self._marker)
        self.offset = first

    def read(self, size: int) -> bytes:
        """Return the next bytes; fewer than `size` only at the end."""
        data = self._rest.read(size)
        while len(data) < size and not self._ended:
            self._next_block()
            data += self._rest.read(size - len(data))
        self._position += len(data)
        return data

    def tell(self) -> int:
        """Return the number of bytes read so far."""
        return self._position

    def _next_block(self) -> None:
        self.offset = self._file.tell()
        count = _read_long(self._file) if self._shard.holds(self.offset) else None
        if count is None:
            self._ended = True
            return
        size = _read_long(self._file)
        if count < 0 or size is None or not 0 <= size <= MAX_RECORD_BYTES:
            raise UnreadableError("the block is malformed")
        packed, marker = self._file.read(size), self._file.read(_MARKER_BYTES)
        if len(packed) < size or marker != self._marker:
            raise UnreadableError("the block is truncated, or its end is not where its beginning says")
        data = self._unpack(packed)
        self._rest = io.BytesIO(b"".join((_long(count), _long(len(data)), data, marker)))


def read_records(file: BinaryIO, shard: Shard, check: Callable[[Any], None]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of the blocks that begin in a shard, each with its position.

    The position is the offset of the record's block and the record's number in the block, joined by a dot.

    Args:
        file: The file, at its beginning.
        shard: The shard.
        check: A function that is called with the schema; it raises an error if the schema does not fit.

    Raises:
        UnreadableError: If a block is malformed, or too large after decompression.
    """
    stream = BlockStream(file, shard)
    check(stream.schema)
    # With escapes, a string that is not UTF-8 fails only its own record, and not the rest of the file.
    for block in fastavro.block_reader(stream, handle_unicode_errors="surrogateescape"):
        for number, record in enumerate(block):
            yield f"{stream.offset}.{number}", record


def _header(schema: bytes, marker: bytes) -> bytes:
    """Return the header of a file without compression."""
    entries = [(b"avro.schema", schema), (b"avro.codec", b"null")]
    pairs = [_long(len(part)) + part for entry in entries for part in entry]
    return b"".join((_MAGIC, _long(len(entries)), *pairs, _long(0), marker))


def _seek_block(file: BinaryIO, shard: Shard, marker: bytes) -> bool:
    """Moves the file to the first block of a shard; returns False if no block begins there.

    The header ends with the file's own marker of 16 random bytes, and so does each block. So a block begins after a
    marker. If a text contains the marker, the bytes after it are no block that ends with a marker. This is an error,
    and causes no false records.
    """
    at = shard.start - _MARKER_BYTES
    file.seek(at)
    window = b""
    while (shard.end is None or at < shard.end) and (step := file.read(_STEP_BYTES)):
        window = window[1 - _MARKER_BYTES :] + step
        at += len(step)
        if (found := window.find(marker)) >= 0:
            file.seek(at - len(window) + found + _MARKER_BYTES)
            return True
    return False


def _read_long(file: BinaryIO) -> int | None:
    """Return a number in Avro's encoding, or None at the end of the file."""
    value = 0
    for place in range(_LONG_BYTES):
        byte = file.read(1)
        if not byte:
            if place == 0:
                return None
            break
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
    raise UnreadableError("the block is malformed")


def _long(value: int) -> bytes:
    r"""Return a number that is not negative in Avro's encoding.

    >>> _long(0), _long(64)
    (b'\x00', b'\x80\x01')
    """
    value <<= 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _decompress(packed: bytes, kind: str) -> bytes:
    return decompress_block(packed, kind, MAX_RECORD_BYTES)


def _unpack_snappy(block: bytes) -> bytes:
    """Decompresses a snappy block, which ends with a checksum of the decompressed data."""
    packed, checksum = block[:-_CHECKSUM_BYTES], block[-_CHECKSUM_BYTES:]
    size = _snappy_size(packed)
    if size > min(_SNAPPY_RATIO * len(packed), MAX_RECORD_BYTES):
        raise UnreadableError("the block is larger than its bytes can contain")
    try:
        data = pa.decompress(packed, decompressed_size=size, codec="snappy", asbytes=True) if size else b""
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError("the block cannot be decompressed") from error
    if zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "big") != checksum:
        raise UnreadableError("the block does not match its checksum")
    return bytes(data)


def _snappy_size(packed: bytes) -> int:
    """Return the decompressed size, which is stored before the data with seven bits per byte."""
    size = 0
    for place, byte in enumerate(packed[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size
    raise UnreadableError("the block does not contain its size")


_CODECS: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": partial(_decompress, kind="deflate"),
    "bzip2": partial(_decompress, kind="bzip2"),
    "xz": partial(_decompress, kind="xz"),
    "zstandard": partial(_decompress, kind="zstd"),
    "snappy": _unpack_snappy,
}
