"""Files to documents, as a transform."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from pipeline.sources import coders  # noqa: F401, for Beam to know them
from pipeline.sources.files import SHARD_BYTES, Shard, UnreadableError, compression_ending, match_files, split_file
from pipeline.sources.formats import FORMATS, INPUT_FORMATS
from pipeline.sources.records import DocumentFields
from transforms.documents import Document, Failure
from transforms.metrics import NAMESPACE

_FAILURES = "failures"


class ReadResult(NamedTuple):
    """What `ReadDocuments` gives.

    Attributes:
        documents: PCollection[Document].
        failures: PCollection[Failure], of the stages `read` (files) and `parse` (records).
    """

    documents: Any
    failures: Any


def find_shards(pattern: str, input_format: str, shard_bytes: int = SHARD_BYTES) -> Iterator[Shard | Failure]:
    """The shards of all files that match a pattern, or a failure if none does."""
    files = match_files(pattern)
    if not files:
        yield Failure(b"", f"{pattern}: no file matches", "read", {"source": pattern})
    for file in files:
        if FORMATS[input_format].splits and not compression_ending(file.path):
            yield from split_file(file.path, file.size_in_bytes, shard_bytes)
        else:
            yield Shard(file.path)


def read_shard(shard: Shard, input_format: str, fields: DocumentFields) -> Iterator[Document | Failure]:
    """Reads a shard as far as that goes; what stops it becomes the last failure, never an exception."""
    count = 0
    try:
        for outcome in FORMATS[input_format].read(shard, fields):
            yield outcome
            count += 1
    except Exception as error:
        # An exception's own message could quote the file.
        problem = str(error) if isinstance(error, UnreadableError) else type(error).__name__
        yield Failure(
            b"",
            f"{shard}: reading stopped after {count} records: {problem}",
            "read",
            {"source": shard.source},
            "".join(traceback.format_tb(error.__traceback__)),
        )


class _FindShardsFn(beam.DoFn):
    """Tags the failures of `find_shards`, and counts them."""

    def __init__(self, input_format: str, shard_bytes: int) -> None:
        self._input_format = input_format
        self._shard_bytes = shard_bytes
        self._failures = Metrics.counter(NAMESPACE, "read_failures")

    def process(self, pattern: str) -> Iterator[Any]:
        for found in find_shards(pattern, self._input_format, self._shard_bytes):
            if isinstance(found, Failure):
                self._failures.inc()
                yield TaggedOutput(_FAILURES, found)
            else:
                yield found


class _ReadShardFn(beam.DoFn):
    """Tags the failures of `read_shard`, and counts both outcomes."""

    def __init__(self, input_format: str, fields: DocumentFields) -> None:
        self._input_format = input_format
        self._fields = fields
        self._documents = Metrics.counter(NAMESPACE, "documents_read")
        self._failures = Metrics.counter(NAMESPACE, "read_failures")

    def process(self, shard: Shard) -> Iterator[Any]:
        for outcome in read_shard(shard, self._input_format, self._fields):
            if isinstance(outcome, Failure):
                self._failures.inc()
                yield TaggedOutput(_FAILURES, outcome)
            else:
                self._documents.inc()
                yield outcome


class ReadDocuments(beam.PTransform):
    """Reads every file that matches a pattern into documents; what cannot be read becomes failures.

    Args:
        pattern: A path or a glob of any file system that Beam knows.
        input_format: One of `INPUT_FORMATS`. Files of text, jsonl and csv are decompressed as their ending says
            (.gz, .bz2, .xz, .zst).
        text_field: Field or column with the text; not used for text files.
        id_field: Field or column with the id. A record without one is named `path:position`.
        shard_bytes: Bytes that one worker reads at a time of files that can be split.

    Raises:
        ValueError: If the format is unknown.
    """

    def __init__(
        self,
        pattern: str,
        input_format: str,
        text_field: str = "text",
        id_field: str = "id",
        *,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        super().__init__()
        if input_format not in FORMATS:
            raise ValueError(f"--input_format={input_format} is none of {', '.join(INPUT_FORMATS)}")
        self._pattern = pattern
        self._input_format = input_format
        self._fields = DocumentFields(text_field, id_field)
        self._shard_bytes = shard_bytes

    def expand(self, pbegin: Any) -> ReadResult:
        found = (
            pbegin
            | "Pattern" >> beam.Create([self._pattern])
            | "FindShards"
            >> beam.ParDo(_FindShardsFn(self._input_format, self._shard_bytes))
            .with_output_types(Shard, failures=Failure)
            .with_outputs(_FAILURES, main="shards")
        )
        read = (
            found["shards"]
            | "Spread" >> beam.Reshuffle()
            | "ReadShards"
            >> beam.ParDo(_ReadShardFn(self._input_format, self._fields))
            .with_output_types(Document, failures=Failure)
            .with_outputs(_FAILURES, main="documents")
        )
        failures = (found[_FAILURES], read[_FAILURES]) | "Failures" >> beam.Flatten()
        return ReadResult(read["documents"], failures)
