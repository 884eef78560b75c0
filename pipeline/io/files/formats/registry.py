"""The formats that can be read: how a file's name tells them, and how to look into one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipeline.io.files.compression import COMPRESSION_ENDINGS, compression_ending
from pipeline.io.files.formats import avro, csv, jsonl, parquet, text
from pipeline.io.files.matching import Shard
from pipeline.io.files.result_format import ResultFormat
from pipeline.io.records import DocumentFields, UnreadableError
from transforms.documents import Document, Failure

_LINES_BYTES = 8 * 1024 * 1024
"""Some 30,000 records of 280 bytes: two minutes of a core in bf16, and six to nine in fp32 (docs/scale.md)."""

_BLOCKS_BYTES = 2 * 1024 * 1024
"""Blocks are compressed, most of the time, and then hold some three times as much."""

_ROW_GROUPS_BYTES = 128 * 1024 * 1024
"""What a row group often has: in smaller shards begins none, and each would read the file's footer for nothing."""


class UnreadableFileError(ValueError):
    """A file that cannot be read as the format it should have; the message quotes nothing of what it holds."""


@dataclass(frozen=True)
class Format:
    """How one kind of file is read.

    Attributes:
        endings: The endings of its files, lower case.
        read: Documents and failures of a shard, lazily.
        columns: The names of a file's columns; None where the kind has none.
        shard_bytes: Bytes of a file that a worker takes at a time; None where it has to read from the beginning.
        coarse: Whether what one worker takes at a time may be work for many.
        compresses: Whether whole files may be compressed.
        results: The class that writes results in this format; None where none are written.
    """

    endings: tuple[str, ...]
    read: Callable[[Shard, DocumentFields], Iterator[Document | Failure]]
    columns: Callable[[str], list[str] | None]
    shard_bytes: int | None = None
    coarse: bool = False
    compresses: bool = True
    results: type[ResultFormat] | None = None


FORMATS: dict[str, Format] = {
    "text": Format((".txt", ".text", ".log"), text.read, text.columns, _LINES_BYTES),
    "jsonl": Format(
        (".jsonl", ".ndjson", ".json"), jsonl.read, jsonl.columns, _LINES_BYTES, results=jsonl.JsonlResults
    ),
    "csv": Format((".csv",), csv.read, csv.columns, coarse=True, results=csv.CsvResults),
    "avro": Format((".avro",), avro.read, avro.columns, _BLOCKS_BYTES, compresses=False, results=avro.AvroResults),
    "parquet": Format(
        (".parquet", ".pq"),
        parquet.read,
        parquet.columns,
        _ROW_GROUPS_BYTES,
        coarse=True,
        compresses=False,
        results=parquet.ParquetResults,
    ),
}

INPUT_FORMATS = tuple(FORMATS)


def guess_input_format(path: str) -> str:
    """The format that a path or a glob names by its ending.

    >>> guess_input_format("gs://bucket/tickets-*.jsonl.gz")
    'jsonl'

    Raises:
        ValueError: If the ending is none of a format's.
    """
    compression = compression_ending(path)
    stem = path.lower().removesuffix(compression)
    for name, kind in FORMATS.items():
        if stem.endswith(kind.endings) and (kind.compresses or not compression):
            return name
    known = "; ".join(f"{name}: {' '.join(kind.endings)}" for name, kind in FORMATS.items())
    raise ValueError(
        f"the ending of {path!r} names no input format. Known are {known} "
        f"(text, jsonl and csv also with {' '.join(COMPRESSION_ENDINGS)}); give --input_format for another ending"
    )


def shard_bytes_of(path: str, input_format: str) -> int | None:
    """Bytes of a file that a worker takes at a time; None if it has to read from the beginning.

    >>> shard_bytes_of("x-*.jsonl", "jsonl"), shard_bytes_of("x-*.jsonl.gz", "jsonl"), shard_bytes_of("x.csv", "csv")
    (8388608, None, None)

    Args:
        path: A file, or a pattern whose ending says how its files are compressed.
        input_format: One of `INPUT_FORMATS`.
    """
    return None if compression_ending(path) else FORMATS[input_format].shard_bytes


def is_coarse(path: str, input_format: str) -> bool:
    """Whether what a worker takes at a time may be work for many: a whole file, or a row group of Parquet.

    >>> is_coarse("x.jsonl", "jsonl"), is_coarse("x.jsonl.gz", "jsonl"), is_coarse("x.parquet", "parquet")
    (False, True, True)

    Args:
        path: As for `shard_bytes_of`.
        input_format: One of `INPUT_FORMATS`.
    """
    return FORMATS[input_format].coarse or shard_bytes_of(path, input_format) is None


def peek_columns(path: str, input_format: str) -> list[str] | None:
    """The columns of one file, for checks before any worker starts.

    They are not fit for a log: the "header" of a CSV file that has none is a document.

    Args:
        path: One file, not a glob.
        input_format: One of `INPUT_FORMATS`.

    Returns:
        The header of a CSV file, the names in an Avro or Parquet schema, the keys of the first 100 objects of a
        JSON Lines file; None for text, which has no columns.

    Raises:
        UnreadableFileError: If the file cannot be read as this format.
    """
    try:
        return FORMATS[input_format].columns(path)
    except UnreadableError as error:
        raise UnreadableFileError(f"{path}: {error}") from error
    except Exception as error:
        raise UnreadableFileError(f"{path} cannot be read as {input_format} ({type(error).__name__})") from error
