"""Plain text files: one document per line."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.io.fields import Column, DocumentFields
from pipeline.io.files.lines import shard_lines, strip_ending, too_long
from pipeline.io.files.matching import Shard
from pipeline.io.files.settings import ReadSettings
from transforms.documents import Document, Failure


def read(shard: Shard, fields: DocumentFields, settings: ReadSettings) -> Iterator[Document | Failure]:
    """Reads every line as a document, including empty lines; the id is `path:offset` of the line's first byte.

    Args:
        shard: The shard to read.
        fields: Not used: a line has no fields.
        settings: The settings of reading.
    """
    for offset, line in shard_lines(shard, settings.encoding):
        if line is None:
            yield too_long(shard.source, offset)
        else:
            yield document_of_line(strip_ending(line), shard.source, offset)


def document_of_line(line: bytes, source: str, offset: int) -> Document | Failure:
    """Makes a document from a line, or a failure if the line is not UTF-8."""
    name = f"{source}:{offset}"
    try:
        return Document(name, line.decode("utf-8"), {"source": source})
    except UnicodeDecodeError as error:
        message = f"{name}: byte {error.start} of the line is not UTF-8"
        return Failure(line, message, "parse", {"source": source, "id": name})


def columns(path: str, fields: DocumentFields, settings: ReadSettings) -> list[Column]:
    """Return an empty list, since a text has no columns."""
    return []
