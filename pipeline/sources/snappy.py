"""Blocks of Avro files in the codec snappy, Spark's usual one, for which fastavro alone would want another library."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

import pyarrow as pa
from fastavro.read import BLOCK_READERS

from pipeline.sources.limits import MAX_RECORD_BYTES, UnreadableError

_CHECKSUM_BYTES = 4
_MOST_TIMES = 22
"""How many times its packed size a block can have: at best, three bytes stand for 64 that came before."""


def read_block(file: BinaryIO) -> BinaryIO:
    """Reads a block and unpacks it.

    Raises:
        UnreadableError: If it is broken.
    """
    block = BLOCK_READERS["null"](file).read()
    packed, checksum = block[:-_CHECKSUM_BYTES], block[-_CHECKSUM_BYTES:]
    size = _size(packed)
    if size > min(_MOST_TIMES * len(packed), MAX_RECORD_BYTES):
        raise UnreadableError("the block is larger than its bytes can tell")
    try:
        data = pa.decompress(packed, decompressed_size=size, codec="snappy", asbytes=True) if size else b""
    except (OSError, pa.ArrowException) as error:
        raise UnreadableError("the block cannot be unpacked") from error
    if zlib.crc32(data).to_bytes(_CHECKSUM_BYTES, "big") != checksum:
        raise UnreadableError("the block is not what was packed")
    return io.BytesIO(data)


def _size(packed: bytes) -> int:
    """Bytes of what is packed, a number of seven bits a byte before it."""
    size = 0
    for place, byte in enumerate(packed[:5]):
        size |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return size
    raise UnreadableError("the block does not tell its size")
