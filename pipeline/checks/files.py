"""Checks that input files exist, and that output files can be written."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.io.files.compression import COMPRESSION_ENDINGS, compression_ending
from pipeline.io.files.content import HEAD_BYTES, check_text, compression_of, encoding_of, is_utf8
from pipeline.io.files.formats.registry import (
    FORMATS,
    UnreadableFileError,
    files_of_format,
    format_of_ending,
    peek_columns,
)
from pipeline.io.files.matching import is_folder, is_local, match_files, open_raw, pattern_of
from pipeline.io.files.names import is_shard
from pipeline.io.records import UnreadableError
from pipeline.places import what_is_missing
from transforms.errors import first_line

_logger = logging.getLogger(__name__)


def match_files_of(name: str, pattern: str) -> list[FileMetadata]:
    """Return the files that a pattern matches; there must be at least one."""
    _check_no_stream(name, pattern, "files to read, for example 'tickets/*.jsonl'")
    try:
        files = match_files(pattern_of(pattern))
    except Exception as error:
        problem = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"--{name}={pattern!r}: cannot be listed: {problem}") from error
    if not files:
        if is_folder(pattern):
            raise ValueError(f"--{name}={pattern!r}: a folder without a file; expected a folder with the files to read")
        missing = what_is_missing(pattern)
        raise ValueError(f"--{name}={pattern!r}: matches no file{f'; {missing}' if missing else ''}")
    return files


def guess_input_format(path: str, files: Sequence[str] = ()) -> str:
    """Return the format that the ending of a path or a glob names, or the endings of the files that it matches.

    Args:
        path: A path, a glob or a folder.
        files: The paths of the files that it matches.

    Raises:
        ValueError: If no ending belongs to a format, or the files have several.
    """
    found = format_of_ending(path)
    if found is not None:
        return found
    known_of = [format_of_ending(file) for file in files]
    # A glob reads all files that it matches, so each must have a known ending. A folder leaves the others out.
    formats = Counter(filter(None, known_of)) if is_folder(path) or None not in known_of else Counter()
    if len(formats) == 1:
        return next(iter(formats))
    if formats:
        listed = ", ".join(f"{count} of {name}" for name, count in formats.most_common())
        raise ValueError(f"--input={path!r}: files of several formats: {listed}; expected --input_format, or a glob")
    known = ", ".join(f"{' '.join(kind.endings)} ({name})" for name, kind in FORMATS.items())
    raise ValueError(
        f"--input={path!r}: unknown ending; expected --input_format, or one of {known},"
        f" where text, jsonl and csv may also have {' '.join(COMPRESSION_ENDINGS)}"
    )


def choose_files(files: list[FileMetadata], input_format: str) -> list[FileMetadata]:
    """Return the files of a folder that are read; how many are left out is logged."""
    chosen = files_of_format(files, input_format)
    read = {file.path for file in chosen}
    left = [file.path for file in files if file.path not in read]
    if left:
        problem = "%d files in the folder are not read, since their endings are not those of %s: %s first"
        _logger.warning(problem, len(left), input_format, left[0])
    return chosen


def check_encoding(encoding: str | None) -> None:
    """Rejects the name of an encoding that Python does not have, or that is not one of text.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    try:
        if encoding is not None:
            "a".encode(encoding)
    except (LookupError, ValueError) as error:
        problem = f"--encoding={encoding}: unknown; expected an encoding of Python, such as cp1252 or utf-16"
        raise ValueError(problem) from error


def check_columns(
    name: str, files: list[FileMetadata], input_format: str, text_field: str, encoding: str | None = None
) -> None:
    """Checks the first file that is not empty: it is of the format, with a column for the text if it has columns.

    What is not obvious is logged: the encoding, and a compression that the file's name does not show.

    Args:
        name: Name of the input's argument.
        files: The input's files.
        input_format: Their format.
        text_field: The name of the column.
        encoding: The encoding of text; None to read it from the first bytes.
    """
    first = next((file for file in files if file.size_in_bytes), None)
    if first is None:
        return
    # A broken file becomes a failure when it is read; the other files are still processed.
    with suppress(UnreadableFileError):
        if FORMATS[input_format].compresses:
            _check_head(name, first.path, input_format, encoding)
        check_text_field(first.path, input_format, text_field, encoding)


def _check_head(name: str, path: str, input_format: str, encoding: str | None) -> None:
    try:
        with open_raw(path) as file:
            head = file.read(HEAD_BYTES)
    except Exception:  # reported as a failure when the file is read
        return
    try:
        check_text(head)
    except UnreadableError as error:
        raise ValueError(f"--{name}={path!r}: {error}") from error
    compression = compression_of(path, head)
    if compression and not compression_ending(path):
        _logger.info("%s: compressed with %s, though its name does not say so", path, compression)
    elif not compression and compression_ending(path):
        _logger.info("%s: not compressed, though its name says so", path)
    found = encoding_of(head)
    if encoding is None and not compression and not is_utf8(found):
        _logger.info("%s: read as %s in %s", path, input_format, found.upper())


def check_apart(name: str, pattern: str, files: list[FileMetadata], *outputs: tuple[str, str]) -> None:
    """Checks that the input matches no output file, so that a second run does not read the results of the first.

    Args:
        name: Name of the input's argument.
        pattern: The pattern of the input.
        files: The files that match it.
        *outputs: Prefix and suffix of each kind of output file.
    """
    for file in files:
        for prefix, suffix in outputs:
            if _folder(file.path) == _folder(prefix) and is_shard(file.path, prefix, suffix):
                raise ValueError(f"--{name}={pattern!r}: matches {file.path}, which is a file of this run's output")


def check_writable(name: str, prefix: str) -> None:
    """Checks that a prefix is on a file system that Beam supports, and that its folder, if local, is writable.

    A local folder that does not exist is created.
    """
    _check_no_stream(name, prefix, "a prefix of files, for example out/entities")
    missing = what_is_missing(prefix)
    if missing:
        raise ValueError(f"--{name}={prefix!r}: not a whole name; {missing}")
    try:
        FileSystems.get_filesystem(prefix)
    except ValueError:
        raise ValueError(f"--{name}={prefix!r}: is on no file system that Beam supports") from None
    if not is_local(prefix):
        return
    if prefix.endswith("/") or Path(prefix).is_dir():
        raise ValueError(
            f"--{name}={prefix!r}: is a folder; expected a prefix in it, for example '{prefix.rstrip('/')}/entities'"
        )
    folder = Path(prefix).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"--{name}={prefix!r}: cannot be written: {error.strerror}: {folder}") from error


def check_reachable(name: str, path: str, options: PipelineOptions) -> None:
    """Rejects a path on this machine for a run on Dataflow, whose workers have disks of their own.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    if options.view_as(StandardOptions).runner == "DataflowRunner" and is_local(path):
        raise ValueError(
            f"--{name}={path!r}: on this machine, where Dataflow's workers find nothing; expected a gs:// path"
        )


def _check_no_stream(name: str, path: str, expected: str) -> None:
    if path == "-":
        raise ValueError(f"--{name}='-': standard input and output are not supported; expected {expected}")


def _folder(path: str) -> str:
    """Return the folder of a file; a local folder is resolved, so that two paths to it are equal."""
    return str(Path(path).parent.resolve()) if is_local(path) else FileSystems.split(path)[0]


def check_text_field(path: str, input_format: str, text_field: str, encoding: str | None = None) -> None:
    """Rejects a file that has columns, but not exactly one for the documents' text.

    Raises:
        UnreadableFileError: If the file cannot be read as this format.
        ValueError: If it has no such column, or several.
    """
    columns = peek_columns(path, input_format, encoding)
    count = columns.count(text_field) if columns else 1
    if not columns or count == 1:
        return
    sentence = f"--text_field={text_field!r}: {count} of the {len(columns)} columns of {path} have this name"
    if count:
        raise ValueError(f"{sentence}; expected one, not several")
    # The first line of a CSV file without a header is document text, which must not reach a terminal or a log.
    expected = "the name of the column with the text" if input_format == "csv" else f"one of {', '.join(columns)}"
    raise ValueError(f"{sentence}; expected {expected}")
