"""The formats that can be read: the endings of their files, their readers, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from apache_beam.io.filesystem import FileMetadata

from pipeline.io.compression import compression_ending
from pipeline.io.fields import Column, DocumentFields
from pipeline.io.files.formats import avro, csv, jsonl, parquet, text, whole_text
from pipeline.io.files.formats.csv_tables import TAB_ENDINGS
from pipeline.io.files.matching import Shard, can_split
from pipeline.io.files.result_format import ResultFormat
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import UnreadableError
from transforms.documents import Document, Failure

_LINES_BYTES = 8 * 1024 * 1024
"""The size of a shard of lines: some 30,000 records of 280 bytes.

A core needs two minutes for it in bf16, and six to nine in fp32 (docs/scale.md).
"""

_BLOCKS_BYTES = 2 * 1024 * 1024
"""The size of a shard of blocks. Most blocks are compressed, and contain about three times as much."""

_ROW_GROUPS_BYTES = 128 * 1024 * 1024
"""The size of a shard of row groups, which is a common size of one row group.

Often no row group would begin in a smaller shard, which would read the file's footer for nothing.
"""


class UnreadableFileError(ValueError):
    """An error for a file that cannot be read in its format; the message quotes nothing of the content."""


@dataclass(frozen=True)
class Format:
    """The properties of one format of files.

    Attributes:
        endings: The endings of its files, in lower case.
        read: The function that lazily yields the documents and failures of a shard.
        columns: The function that returns a file's columns, with nested fields; an empty list if the format has none.
        describe: The function that returns the properties of a file that its name does not show, or an empty string;
            None if there are no such properties.
        is_one_value: The function that returns whether a file must be read from its beginning although it is text in
            UTF-8; None if there are no such files.
        has_fields: Whether its records have fields.
        open_ended: Whether a record may have other fields than those of `columns`.
        shard_bytes: The bytes of a file that a worker reads at a time; None if it must read from the beginning.
        coarse: Whether one shard may contain work for many workers.
        compresses: Whether whole files may be compressed.
        results: The class that writes results in this format; None if there is none.
    """

    endings: tuple[str, ...]
    read: Callable[[Shard, DocumentFields, ReadSettings], Iterator[Document | Failure]]
    columns: Callable[[str, DocumentFields, ReadSettings], list[Column]]
    describe: Callable[[str, DocumentFields, ReadSettings], str] | None = None
    is_one_value: Callable[[str, str | None], bool] | None = None
    has_fields: bool = True
    open_ended: bool = False
    shard_bytes: int | None = None
    coarse: bool = False
    compresses: bool = True
    results: type[ResultFormat] | None = None


FORMATS: dict[str, Format] = {
    "text": Format((".txt", ".text", ".log"), text.read, text.columns, has_fields=False, shard_bytes=_LINES_BYTES),
    "whole_text": Format((), whole_text.read, text.columns, has_fields=False),
    "jsonl": Format(
        (".jsonl", ".ndjson", ".json"),
        jsonl.read,
        jsonl.columns,
        jsonl.describe,
        jsonl.is_one_value,
        open_ended=True,
        shard_bytes=_LINES_BYTES,
        results=jsonl.JsonlResults,
    ),
    "csv": Format((".csv", *TAB_ENDINGS), csv.read, csv.columns, csv.describe, coarse=True, results=csv.CsvResults),
    "avro": Format(
        (".avro",),
        avro.read,
        avro.columns,
        shard_bytes=_BLOCKS_BYTES,
        compresses=False,
        results=avro.AvroResults,
    ),
    "parquet": Format(
        (".parquet", ".pq"),
        parquet.read,
        parquet.columns,
        shard_bytes=_ROW_GROUPS_BYTES,
        coarse=True,
        compresses=False,
        results=parquet.ParquetResults,
    ),
}

INPUT_FORMATS = tuple(FORMATS)

FORMAT_ALIASES = {"json": "jsonl", "tsv": "csv"}
"""Other names of formats."""


def format_of_ending(path: str) -> str | None:
    """Return the format that the ending of a path or a glob names; None if the ending belongs to no format.

    >>> format_of_ending("gs://bucket/tickets-*.jsonl.gz")
    'jsonl'
    """
    compression = compression_ending(path)
    stem = path.lower().removesuffix(compression)
    for name, kind in FORMATS.items():
        if stem.endswith(kind.endings) and (kind.compresses or not compression):
            return name
    return None


def files_of_format(files: list[FileMetadata], input_format: str) -> list[FileMetadata]:
    """Return the files of a folder that are read in a format: those with its endings, or all if none has one.

    Whole texts have the endings of text.

    >>> files = [FileMetadata(name, 1) for name in ("a.jsonl", "b.jsonl.gz", "c.csv")]
    >>> [file.path for file in files_of_format(files, "jsonl")], len(files_of_format(files, "text"))
    (['a.jsonl', 'b.jsonl.gz'], 3)
    """
    wanted = "text" if input_format == "whole_text" else input_format
    return [file for file in files if format_of_ending(file.path) == wanted] or files


def shard_bytes_of(path: str, input_format: str) -> int | None:
    """Return the bytes of a file that a worker reads at a time, or None if it must read from the beginning.

    >>> shard_bytes_of("x-*.jsonl", "jsonl"), shard_bytes_of("x-*.jsonl.gz", "jsonl"), shard_bytes_of("x.csv", "csv")
    (8388608, None, None)

    Args:
        path: A file, or a pattern whose ending shows how its files are compressed.
        input_format: One of `INPUT_FORMATS`.
    """
    return None if compression_ending(path) else FORMATS[input_format].shard_bytes


def needs_redistribution(files: Sequence[FileMetadata], input_format: str, settings: ReadSettings) -> bool:
    """Return whether one shard may contain work for many workers: a whole file, or a row group of Parquet.

    Args:
        files: The files. Their endings show how they are compressed. Only the first that is not empty is opened.
        input_format: One of `INPUT_FORMATS`.
        settings: The settings of reading.
    """
    kind = FORMATS[input_format]
    if kind.coarse or any(shard_bytes_of(file.path, input_format) is None for file in files):
        return True
    first = next((file.path for file in files if file.size_in_bytes), None)
    if first is None or not kind.compresses:
        return False
    is_whole = kind.is_one_value is not None and kind.is_one_value(first, settings.encoding)
    return is_whole or not can_split(first, settings.encoding)


def peek_columns(
    path: str, input_format: str, fields: DocumentFields | None = None, settings: ReadSettings | None = None
) -> list[Column]:
    """Return the columns of one file, for checks before any worker starts.

    Do not log them: if a CSV file has no header row, its first document is returned as the header.

    Args:
        path: One file, not a glob.
        input_format: One of `INPUT_FORMATS`.
        fields: The fields that make a document.
        settings: The settings of reading.

    Returns:
        The header of a CSV file, or the fields in an Avro or Parquet schema. For JSON, the fields of the first 100
        objects. Nothing for text, which has no columns.

    Raises:
        UnreadableFileError: If the file cannot be read as this format.
    """
    with readable(path, input_format):
        return FORMATS[input_format].columns(path, fields or DocumentFields(), settings or ReadSettings())


@contextmanager
def readable(path: str, input_format: str) -> Iterator[None]:
    """Converts the errors of reading a file before the start.

    Raises:
        UnreadableFileError: If the file cannot be read as this format.
    """
    try:
        yield
    except UnreadableError as error:
        raise UnreadableFileError(f"{path}: {error}") from error
    except Exception as error:
        raise UnreadableFileError(f"{path}: cannot be read as {input_format} ({type(error).__name__})") from error
