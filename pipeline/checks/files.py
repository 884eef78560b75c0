"""Checks that output files can be written, and that the workers can reach files."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipeline.io.files.matching import is_local
from pipeline.places import what_is_missing

_logger = logging.getLogger(__name__)


def check_writable(name: str, prefix: str) -> None:
    """Checks that a prefix is on a file system that Beam supports, and that its folder, if local, is writable.

    A local folder that does not exist is created.
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


def check_no_stream(name: str, path: str, expected: str) -> None:
    """Rejects `-` for standard input or output.

    Raises:
        ValueError: in one sentence with the flag and a valid value.
    """
    if path == "-":
        raise ValueError(f"--{name}='-': standard input and output are not supported; expected {expected}")
