"""Checks that output files can be written, and that the workers can reach files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.io.files.matching import is_local
from pipeline.places import what_is_missing

_MAX_NAME_BYTES = {"output": 175, "dead_letter": 184}
"""The longest names of prefixes, since file systems limit a name to 255 bytes.

The name of a window's file is up to 71 bytes longer than its prefix. The usual dead letter is the output with 9 more.
"""


def check_working_folder() -> None:
    """Checks that the working folder exists, since even libraries that are imported later look for it."""
    try:
        Path.cwd()
    except OSError as error:
        raise ValueError(f"the working folder: {error.strerror}; expected one that was not deleted") from error


def check_writable(name: str, prefix: str) -> None:
    """Checks that a prefix is on a file system that Beam supports, and that its folder, if local, is writable.

    A folder that does not exist is created later, by `make_folder`. Here the folder in which it will be is checked.
    """
    check_no_stream(name, prefix, "a prefix of files, for example out/entities")
    missing = what_is_missing(prefix)
    if missing:
        raise ValueError(f"--{name}={prefix!r}: not a whole name; {missing}")
    try:
        FileSystems.get_filesystem(prefix)
    except ValueError:
        raise ValueError(f"--{name}={prefix!r}: is on no file system that Beam supports") from None
    if not is_local(prefix):
        return
    with _writing(name, prefix):
        if prefix.endswith("/") or Path(prefix).is_dir():
            example = f"{prefix.rstrip('/')}/entities"
            raise ValueError(f"--{name}={prefix!r}: is a folder; expected a prefix in it, for example {example!r}")
        size, most = len(Path(prefix).name.encode()), _MAX_NAME_BYTES[name]
        if size > most:
            raise ValueError(f"--{name}={prefix!r}: a name of {size} bytes; expected at most {most}")
        with tempfile.TemporaryFile(dir=_nearest_folder(Path(prefix).absolute().parent)):
            pass


def make_folder(name: str, prefix: str) -> None:
    """Makes the folder of a prefix, if it is local; call this after all checks, so that a refused run leaves none."""
    if is_local(prefix):
        with _writing(name, prefix):
            Path(prefix).absolute().parent.mkdir(parents=True, exist_ok=True)


def _nearest_folder(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    while True:
        try:
            folder.lstat()
            return folder
        except (FileNotFoundError, NotADirectoryError):
            folder = folder.parent


@contextmanager
def _writing(name: str, prefix: str) -> Iterator[None]:
    """Turns an error of the file system into a ValueError that names the flag."""
    try:
        yield
    except UnicodeEncodeError:
        raise ValueError(f"--{name}={prefix!r}: is not UTF-8; expected a name in UTF-8") from None
    except OSError as error:
        problem = f"--{name}={prefix!r}: cannot be written: {error.strerror}"
        raise ValueError(f"{problem}; expected a prefix of files in a folder that can be written") from error


def check_reachable(name: str, path: str, options: PipelineOptions) -> None:
    """Rejects a path on this machine for a run on Dataflow, whose workers have disks of their own.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    if options.view_as(StandardOptions).runner == "DataflowRunner" and is_local(path):
        raise ValueError(
            f"--{name}={path!r}: on this machine, where Dataflow's workers find nothing; expected a gs:// path"
        )


def check_no_stream(name: str, path: str, expected: str) -> None:
    """Rejects `-` for standard input or output.

    Raises:
        ValueError: in one sentence with the flag and a valid value.
    """
    if path == "-":
        raise ValueError(f"--{name}='-': standard input and output are not supported; expected {expected}")
