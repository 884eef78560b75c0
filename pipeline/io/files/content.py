"""The nature of a file by its first bytes: its compression, its encoding, and a format that is not text."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

from pipeline.io.compression import COMPRESSION_ENDINGS, compression_ending
from pipeline.io.records import UnreadableError

HEAD_BYTES = 4096
"""The bytes at a file's beginning that its nature is read from."""

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_BINARY = {b"PAR1": "parquet", b"Obj\x01": "avro"}
_ARCHIVE = b"PK\x03\x04"
_OTHERS = {
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF-": "a PDF document",
    b"SQLite format 3\0": "an SQLite database",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old file of Office",
}

# UTF-32 comes first: its mark begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
# In UTF-16 of a Western language, the first bytes at even or at odd places are 0, and so are most of the others there.
_FIRST_ZEROS, _MOSTLY = 4, 0.4
_BAD = "\udc80"  # stands for bytes that are no character; in UTF-8 it is a byte that is none either


def compression_of(path: str, head: bytes) -> str | None:
    r"""Return the kind of compression of a file of text; None if it is not compressed.

    The ending of the name decides, if it names a compression. But a server may have decompressed the file on its way:
    then its head is text. Without such an ending, the first bytes decide.

    >>> compression_of("x.jsonl", b"\x1f\x8b\x08"), compression_of("x.jsonl.gz", b'{"text": ')
    ('gzip', None)

    Args:
        path: The file's path.
        head: Its first bytes.
    """
    ending = compression_ending(path)
    found = next((kind for magic, kind in _COMPRESSIONS.items() if head.startswith(magic)), None)
    if ending:
        named = COMPRESSION_ENDINGS[ending]
        return None if found != named and head and _is_utf8(head) else named
    return found


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text by its byte order mark, or by the zeros of UTF-16 without one.

    >>> encoding_of("Ann".encode("utf-16")), encoding_of("Ann lives here".encode("utf-16-be")), encoding_of(b"Ann")
    ('utf-16-le', 'utf-16-be', 'utf-8')
    """
    marked = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    if marked:
        return marked
    for name, zeros, others in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        begins = len(zeros) >= _FIRST_ZEROS and not any(zeros[:_FIRST_ZEROS])
        if begins and zeros.count(0) > _MOSTLY * len(zeros) and not others.count(0):
            return name
    return "utf-8"


def binary_format_of(head: bytes) -> str | None:
    r"""Return ``avro``, ``parquet`` or ``zip`` for a file of that kind; None for any other.

    >>> binary_format_of(b"PAR1\x15"), binary_format_of(b"text")
    ('parquet', None)
    """
    if head.startswith(_ARCHIVE):
        return "zip"
    return next((name for magic, name in _BINARY.items() if head.startswith(magic)), None)


def check_text(head: bytes) -> None:
    """Rejects a file that is no text.

    Raises:
        UnreadableError: if it is an archive, an image or a document, or of a binary format.
    """
    found = binary_format_of(head)
    if found == "zip":
        raise UnreadableError("this is a zip archive or a file of Office; expected the files in it, or an export of it")
    if found:
        raise UnreadableError(f"this is a file of {found}; expected --input_format={found}")
    other = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    if other:
        raise UnreadableError(f"this is {other}; expected text, such as an export of it")


def as_utf8(blocks: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    """Yield a text in UTF-8, without a byte order mark of UTF-16 or UTF-32.

    Bytes that are no character in their encoding become bytes that are none in UTF-8.

    Args:
        blocks: The bytes of the text, from its beginning.
        encoding: The name of its encoding; None to read it from the first bytes.
    """
    blocks = filter(None, blocks)
    head = b""
    try:
        while len(head) < HEAD_BYTES and (block := next(blocks, None)):
            head += block
    except UnreadableError as error:  # what comes before the error is read
        blocks = _raising(error)
    name = encoding or encoding_of(head[:HEAD_BYTES])
    check_text(head)
    blocks = chain(filter(None, [head]), blocks)
    if is_utf8(name):
        yield from blocks
        return
    decoder = codecs.getincrementaldecoder(name)("pipeline.mark")
    first_text = True
    for block in chain(blocks, [b""]):
        text = decoder.decode(block, not block)
        if first_text and text:
            text, first_text = text.removeprefix("\ufeff"), False
        if text:
            yield text.encode("utf-8", "surrogateescape")


def _raising(error: Exception) -> Iterator[bytes]:
    raise error
    yield b""


def is_utf8(encoding: str) -> bool:
    """Return whether a name of an encoding means UTF-8."""
    return codecs.lookup(encoding).name in ("utf-8", "ascii")


def is_utf8_text(data: bytes) -> bool:
    """Return whether bytes are a text in UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _mark(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return _BAD, error.end
    raise error


codecs.register_error("pipeline.mark", _mark)
