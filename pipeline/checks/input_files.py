"""Checks of input files: their names, their format, and a look into the first."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems

from pipeline.checks.files import check_no_stream
from pipeline.io.compression import COMPRESSION_ENDINGS, compression_ending
from pipeline.io.fields import Column, DocumentFields
from pipeline.io.files.content import HEAD_BYTES, check_text, compression_of, encoding_of, is_utf8, is_utf8_text
from pipeline.io.files.formats.registry import (
    FORMATS,
    UnreadableFileError,
    files_of_format,
    format_of_ending,
    needs_redistribution,
    peek_columns,
    readable,
)
from pipeline.io.files.matching import is_folder, is_local, match_files, open_raw, pattern_of, read_blocks
from pipeline.io.files.names import is_shard
from pipeline.io.files.settings import ReadSettings
from pipeline.io.records import UnreadableError
from pipeline.places import what_is_missing
from transforms.errors import first_line

_logger = logging.getLogger(__name__)

_SAMPLE_BYTES = 256 * 1024  # in which the encoding is checked
_MOST_NAMES = 20  # of columns in an error message


def match_files_of(name: str, pattern: str) -> list[FileMetadata]:
    """Return the files that a pattern matches; there must be at least one."""
    check_no_stream(name, pattern, "files to read, for example 'tickets/*.jsonl'")
    try:
        files = match_files(pattern_of(pattern))
    except Exception as error:
        problem = getattr(error, "strerror", None) or f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"--{name}={pattern!r}: cannot be listed: {problem}") from error
    if not files:
        _check_listed(name, pattern)
        if is_folder(pattern):
            raise ValueError(
                f"--{name}={pattern!r}: a folder without a file; expected one with files, or '{pattern.rstrip('/')}/**'"
            )
        missing = what_is_missing(pattern) or _several(name, pattern)
        raise ValueError(f"--{name}={pattern!r}: matches no file{f'; {missing}' if missing else ''}")
    return files


def _check_listed(name: str, pattern: str) -> None:
    """Rejects a pattern whose folder exists on this machine and cannot be listed: a glob in it matches nothing."""
    if is_local(pattern):
        try:
            first, _ = os.path.split(re.split(r"[*?[]", pattern_of(pattern))[0])
            next(Path(first).iterdir(), None)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise ValueError(f"--{name}={pattern!r}: cannot be listed: {error.strerror}") from error


def _several(name: str, pattern: str) -> str | None:
    """Return the advice for a path that looks like several, in braces or with commas."""
    if re.search(r"\{.*,.*\}", pattern):
        return f"braces are no wildcard; expected --{name} for each, or a glob of * ? ["
    if "," in pattern:
        return f"expected --{name} for each of several"
    return None


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
    known = ", ".join(f"{' '.join(kind.endings)} ({name})" for name, kind in FORMATS.items() if kind.endings)
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


def check_apart(name: str, matched: Mapping[str, Sequence[FileMetadata]], outputs: Sequence[tuple[str, str]]) -> None:
    """Checks that the input matches no output file, so that a second run does not read the results of the first.

    Args:
        name: Name of the input's argument.
        matched: The input's files, by the path that they match.
        outputs: Prefix and suffix of each kind of output file.
    """
    for pattern, files in matched.items():
        for file in files:
            for prefix, suffix in outputs:
                if _folder(file.path) == _folder(prefix) and is_shard(file.path, prefix, suffix):
                    raise ValueError(f"--{name}={pattern!r}: matches {file.path}, which is a file of this run's output")


def _folder(path: str) -> str:
    """Return the folder of a file; a local folder is resolved, so that two paths to it are equal."""
    return str(Path(path).parent.resolve()) if is_local(path) else FileSystems.split(path)[0]


def look_into(
    name: str, files: Sequence[FileMetadata], input_format: str, fields: DocumentFields, settings: ReadSettings
) -> list[Column]:
    """Checks the first file that is not empty: it is of the format, with columns for the fields if it has columns.

    What its name does not show is logged: the encoding, a compression, a delimiter.

    Args:
        name: Name of the input's argument.
        files: The input's files.
        input_format: Their format.
        fields: The fields that make a document.
        settings: The settings of reading.

    Returns:
        The columns of the file; an empty list if it has none, or cannot be read.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    first = next((file.path for file in files if file.size_in_bytes), None)
    if first is None:
        return []
    kind = FORMATS[input_format]
    found: list[str] = []
    # A broken file becomes a failure when it is read; the other files are still processed.
    with suppress(UnreadableFileError):
        if kind.compresses:
            try:
                found += _described_head(first, settings.encoding)
            except UnreadableError as error:
                raise ValueError(f"--{name}={first!r}: {error}") from error
        columns = peek_columns(first, input_format, fields, settings)
        check_fields(columns, first, input_format, fields)
        if kind.describe:
            with readable(first, input_format):
                found.append(kind.describe(first, fields, settings))
        if shown := ", ".join(filter(None, found)):
            _logger.info("%s: read as %s, %s", first, input_format, shown)
        return columns
    return []


def _described_head(path: str, encoding: str | None) -> Iterator[str]:
    """Yield the properties of a text file that its first bytes show, but not its name.

    Raises:
        UnreadableError: If it is not a file of text.
    """
    try:
        with open_raw(path) as file:
            head = file.read(HEAD_BYTES)
    except Exception:  # reported as a failure when the file is read
        return
    check_text(head)
    compression = compression_of(path, head)
    if compression and not compression_ending(path):
        yield f"compressed with {compression}, though its name does not say so"
    elif not compression and compression_ending(path):
        yield "not compressed, though its name says so"
    found = encoding_of(head)
    if encoding is None and not compression and not is_utf8(found):
        yield f"in {found.upper()}"
    elif encoding is None:
        _warn_of_encoding(path)


def _warn_of_encoding(path: str) -> None:
    """Logs that the first line of a file is not UTF-8, or several near its beginning; a single one may be broken."""
    sample = bytearray()
    with suppress(Exception):  # reported as a failure when the file is read
        for block in read_blocks(path):
            sample += block
            if len(sample) >= _SAMPLE_BYTES:
                break
    lines = bytes(sample).splitlines(keepends=True)
    lines = lines[:-1] if len(sample) >= _SAMPLE_BYTES else lines  # the last one may be cut
    wrong = [number for number, line in enumerate(lines) if not is_utf8_text(line)]
    if len(wrong) > 1 or wrong == [0]:
        problem = "%s: line %d is not UTF-8; expected --encoding, such as cp1252, latin-1 or shift_jis"
        _logger.warning(problem, path, wrong[0] + 1)


def is_coarse(files: Sequence[FileMetadata], input_format: str, settings: ReadSettings) -> bool:
    """Return whether one worker may read the documents of these files for many workers.

    Args:
        files: The input's files.
        input_format: Their format.
        settings: The settings of reading.
    """
    with suppress(Exception):  # a file that cannot be opened becomes a failure when it is read
        return needs_redistribution(files, input_format, settings)
    return False


def check_fields(columns: Sequence[Column], path: str, input_format: str, fields: DocumentFields) -> None:
    """Rejects a file that has columns, but not exactly one for each text and at most one for the id.

    A field that no record has is logged if records may have other fields than these columns.

    Args:
        columns: The file's columns.
        path: The file.
        input_format: Its format.
        fields: The fields that make a document.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    names = [column.name for column in columns]
    for name in fields.texts if columns else ():
        count = names.count(name)
        sentence = f"--text_field={name!r}: {count} of the {len(names)} columns of {path} have this name"
        if count > 1:
            raise ValueError(f"{sentence}; expected one, not several")
        if not count:
            raise ValueError(f"{sentence}; expected {_expected(name, names, input_format)}")
        column = columns[names.index(name)]
        if not column.is_text:
            raise ValueError(f"--text_field={name!r}: the column of {path} is {column.described}; expected strings")
    if columns and fields.id not in names and fields.id != DocumentFields.id:
        problem = f"--id_field={fields.id!r}: none of the {len(names)} columns of {path} has this name"
        if not FORMATS[input_format].open_ended:
            raise ValueError(f"{problem}; expected {_expected(fields.id, names, input_format, 'id')}, or no --id_field")
        _logger.warning("%s; documents without it are named by their place", problem)


def _expected(given: str, names: list[str], input_format: str, field: str = "text") -> str:
    # A name that differs only in case or blanks is the one that was meant, and not a document's text.
    near = [name for name in names if name.strip().casefold() == given.strip().casefold()]
    if near:
        return repr(near[0])
    if input_format == "csv":
        # The first line of a CSV file without a header is document text, which must not reach a terminal or a log.
        delimiter = ", or --csv_delimiter for another than , ; | and tab" if len(names) == 1 else ""
        header = ", or --csv_header for a file without a header row, or --csv_skip_lines for one below a title"
        return f"the name of the column with the {field}{header}{delimiter}"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"one of {', '.join(names[:_MOST_NAMES])}{more}"
