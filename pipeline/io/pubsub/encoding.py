"""Messages whose data is compressed, as an attribute of them shows."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.io.compression import decompress
from pipeline.io.fields import BadRecordError
from pipeline.io.records import MAX_RECORD_BYTES, UnreadableError

ENCODING_ATTRIBUTE = "content-encoding"
"""The attribute's name, in upper or lower case."""


def decoded(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """Return the data of a message, decompressed if the attribute `content-encoding` is `gzip`.

    Raises:
        BadRecordError: If the data is no complete gzip stream, or has more than `MAX_RECORD_BYTES` decompressed.
    """
    if not any(name.lower() == ENCODING_ATTRIBUTE and value.lower() == "gzip" for name, value in attributes.items()):
        return data
    whole = bytearray()
    try:
        for piece in decompress([data], "gzip"):
            whole += piece
            if len(whole) > MAX_RECORD_BYTES:
                raise BadRecordError(f"the message has more than {MAX_RECORD_BYTES} bytes once it is decompressed")
    except UnreadableError as problem:
        raise BadRecordError(str(problem)) from None
    return bytes(whole)
