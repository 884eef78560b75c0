"""Reads files as documents, as a transform."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystem import FileMetadata
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from pipeline.io.fields import DocumentFields
from pipeline.io.files import shard_coder  # noqa: F401, which registers the coder
from pipeline.io.files.formats.registry import FORMATS, INPUT_FORMATS, files_of_format, shard_bytes_of
from pipeline.io.files.matching import (
    Shard,
    is_folder,
    match_files,
    pattern_of,
    same_file,
    split_file,
    unmatched_by_beam,
)
from pipeline.io.files.settings import READ_SETTINGS, ReadSettings
from pipeline.io.outcomes import FAILURES, ReadResult, sort_outcomes
from pipeline.io.records import UnreadableError
from pipeline.schemas import KeptField
from transforms.documents import Document, Failure
from transforms.errors import ArgumentError
from transforms.metrics import NAMESPACE


def find_shards(
    patterns: str | Sequence[str], input_format: str, shard_bytes: int | None = None
) -> Iterator[Shard | Failure]:
    """Yield the shards of all files that match, and a failure for each match that is not a readable file.

    A file that several patterns match is read once. For a pattern without a match, yield one failure.

    Args:
        patterns: A path, a glob or a folder, or several. In a folder, the files with the format's endings are read.
        input_format: One of `INPUT_FORMATS`.
        shard_bytes: The bytes of a shard, for files that can be split; None for the format's default.
    """
    seen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        files = files_of(pattern, input_format)
        problems = list(unmatched_by_beam(pattern_of(pattern), FORMATS[input_format].endings))
        if not files and not problems:
            problems = [(pattern_of(pattern), "no file matches")]
        for path, problem in problems:
            source = Shard(path).source
            yield Failure(b"", f"{source}: {problem}", "read", {"source": source})
        for file in files:
            if same_file(file.path) not in seen:
                seen.add(same_file(file.path))
                yield from _shards(file, input_format, shard_bytes)


def files_of(pattern: str, input_format: str) -> list[FileMetadata]:
    """Return the files that a path, a glob or a folder names; of a folder, those that are read in the format."""
    files = match_files(pattern_of(pattern))
    return files_of_format(files, input_format) if is_folder(pattern) else files


def _shards(file: FileMetadata, input_format: str, shard_bytes: int | None) -> list[Shard]:
    usual = shard_bytes_of(file.path, input_format)
    return split_file(file.path, file.size_in_bytes, shard_bytes or usual) if usual else [Shard(file.path)]


def read_shard(
    shard: Shard, input_format: str, fields: DocumentFields, settings: ReadSettings = READ_SETTINGS
) -> Iterator[Document | Failure]:
    """Reads a shard as far as possible. An error becomes the last failure, and never an exception."""
    return guarded(shard, FORMATS[input_format].read(shard, fields, settings))


def guarded(shard: Shard, outcomes: Iterator[Document | Failure]) -> Iterator[Document | Failure]:
    """Yield the outcomes of a shard's reader. An error becomes the last failure, and never an exception."""
    count = 0
    try:
        for outcome in outcomes:
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

    def __init__(self, input_format: str, shard_bytes: int | None) -> None:
        self._input_format = input_format
        self._shard_bytes = shard_bytes
        self._failures = Metrics.counter(NAMESPACE, "read_failures")

    def process(self, patterns: str | Sequence[str]) -> Iterator[Any]:
        for found in find_shards(patterns, self._input_format, self._shard_bytes):
            if isinstance(found, Failure):
                self._failures.inc()
                yield TaggedOutput(FAILURES, found)
            else:
                yield found


class ReadDocuments(beam.PTransform):
    """Reads every file that matches a pattern as documents; files and records that cannot be read become failures.

    Args:
        patterns: A path, a glob or a folder on any file system that Beam supports, or several of them.
        input_format: One of `INPUT_FORMATS`. Files of text, jsonl and csv are decompressed according to their ending
            (.gz, .bz2, .xz, .zst) or their first bytes.
        text_field: The field or column with the text, or several separated by commas; not used for text files.
        id_field: The field or column with the id. A record without an id is named `path:position`.
        keep: The fields that are passed on to the results.
        settings: The settings of reading files of text, jsonl and csv.
        shard_bytes: The bytes that one worker reads at a time, for files that can be split; None for the format's
            default.
        balance: Whether to redistribute the documents to all workers after reading. It costs a shuffle of the
            documents. Without it, the worker that reads a shard also classifies all of it.

    Raises:
        ValueError: If the format is unknown.
    """

    def __init__(
        self,
        patterns: str | Sequence[str],
        input_format: str,
        text_field: str = "text",
        id_field: str = "id",
        keep: tuple[KeptField, ...] = (),
        *,
        settings: ReadSettings = READ_SETTINGS,
        shard_bytes: int | None = None,
        balance: bool = False,
    ) -> None:
        super().__init__()
        if input_format not in FORMATS:
            raise ArgumentError(f"input_format={input_format}: unknown; expected one of {', '.join(INPUT_FORMATS)}")
        self._patterns = patterns
        self._input_format = input_format
        self._fields = DocumentFields(text_field, id_field, keep)
        self._settings = settings
        self._shard_bytes = shard_bytes
        self._balance = balance

    def expand(self, pbegin: Any) -> ReadResult:
        """Build the steps, and return the documents and failures."""
        read = partial(read_shard, input_format=self._input_format, fields=self._fields, settings=self._settings)
        result = read_files(pbegin, self._patterns, self._input_format, read, self._shard_bytes)
        if not self._balance:
            return result
        return ReadResult(result.documents | "Balance" >> beam.Reshuffle(), result.failures)


def read_files(
    pbegin: Any,
    patterns: str | Sequence[str],
    input_format: str,
    read: Callable[[Shard], Iterator[Document | Failure]],
    shard_bytes: int | None = None,
) -> ReadResult:
    """Builds the steps that find the shards of files, and that read each shard with a function."""
    found = (
        pbegin
        | "Pattern" >> beam.Create([patterns])
        | "FindShards"
        >> beam.ParDo(_FindShardsFn(input_format, shard_bytes))
        .with_output_types(Shard, failures=Failure)
        .with_outputs(FAILURES, main="shards")
    )
    read_shards = sort_outcomes(found["shards"] | "Spread" >> beam.Reshuffle(), "ReadShards", read)
    failures = (found[FAILURES], read_shards.failures) | "Failures" >> beam.Flatten()
    return ReadResult(read_shards.documents, failures)
