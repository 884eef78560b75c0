"""Whole text files: one document per file."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.io.fields import DocumentFields
from pipeline.io.files.matching import Shard, read_blocks
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import BOM, MAX_RECORD_BYTES, UnreadableError
from transforms.documents import Document, Failure


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads a file as one document, also an empty file; the id is the path.

    Args:
        shard: The whole file.
        fields: Not used: a text has no fields.
        settings: The settings of reading.

    Raises:
        UnreadableError: If the file has more than `MAX_RECORD_BYTES`, which are not held in memory.
    """
    data = bytearray()
    for block in read_blocks(shard.path, 0, settings.encoding):
        data += block
        if len(data) > MAX_RECORD_BYTES:
            raise UnreadableError(f"the file has more than {MAX_RECORD_BYTES} bytes; expected --input_format=text")
    yield _document_of(bytes(data).removeprefix(BOM), shard.source)


def _document_of(data: bytes, source: str) -> Document | Failure:
    try:
        return Document(source, data.decode("utf-8"), {"source": source})
    except UnicodeDecodeError as error:
        message = f"{source}: byte {error.start} of the file is not UTF-8"
        return Failure(data, message, "parse", {"source": source, "id": source})
