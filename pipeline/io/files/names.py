"""The names of output files."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from pipeline.io.compression import compression_ending
from pipeline.io.files.formats.registry import FORMATS
from pipeline.io.files.matching import is_glob, is_local, rooted
from transforms.errors import ArgumentError

ENDINGS: dict[str, tuple[str, ...]] = {name: kind.endings for name, kind in FORMATS.items() if kind.results}
"""The endings of each output format. A prefix without an ending gets the first one."""


def guess_output_format(path: str) -> str:
    """Return the format that a path's ending names, or `jsonl` if the ending names none.

    >>> guess_output_format("out/entities"), guess_output_format("gs://b/x.csv.gz")
    ('jsonl', 'csv')
    """
    stem = path.lower().removesuffix(compression_ending(path))
    return next((name for name, endings in ENDINGS.items() if stem.endswith(endings)), "jsonl")


def output_files(output: str, output_format: str, name: str = "output") -> tuple[str, str]:
    """Return the prefix and the suffix of the files `prefix-00000-of-00001suffix`.

    >>> output_files("out/entities", "jsonl"), output_files("out/x.jsonl.gz", "jsonl")
    (('out/entities', '.jsonl'), ('out/x', '.jsonl.gz'))

    Args:
        output: A prefix, or a file's name with an ending of the format.
        output_format: One of the keys of `ENDINGS`.
        name: The name of the setting that contains `output`, for error messages.

    Raises:
        ArgumentError: If Beam cannot write files of such names.
    """
    if is_glob(output):
        # Beam finds the files that it has written by a glob that contains the name.
        raise ArgumentError(f"{name}={output}: contains a wildcard; expected none of * ? [")
    compression = compression_ending(output)
    stem = output[: len(output) - len(compression)]
    ending = next((ending for ending in ENDINGS[output_format] if stem.lower().endswith(ending)), "")
    if ending and compression and not FORMATS[output_format].compresses:
        raise ArgumentError(f"{name}={output}: {output_format} files are compressed inside; expected no {compression}")
    prefix = stem[: len(stem) - len(ending)] if ending else output
    if not prefix or prefix.endswith(("/", "\\")):
        raise ArgumentError(f"{name}={output}: no name of a file; expected one at the end, as in out/entities")
    return prefix, output[len(prefix) :] or ENDINGS[output_format][0]


def written_files(prefix: str, suffix: str) -> list[str]:
    """Return the existing shards `prefix-NNNNN-of-NNNNNsuffix`.

    Args:
        prefix: The prefix, as returned by `output_files`.
        suffix: The suffix, as returned by `output_files`.

    Returns:
        Their paths, sorted.
    """
    return [path for path in numbered_files(prefix, suffix) if is_shard(path, prefix, suffix)]


def numbered_files(prefix: str, suffix: str) -> list[str]:
    """Return the existing files `prefix-…-of-…suffix`, sorted; some may belong to another, longer prefix."""
    return sorted(file.path for file in FileSystems.match([f"{rooted(prefix)}-*-of-*{suffix}"])[0].metadata_list)


def is_shard(path: str, prefix: str, suffix: str) -> bool:
    """Return whether a file in the prefix's folder is one of the shards with this prefix and suffix.

    >>> is_shard("out/x-00000-of-00001.csv", "out/x", ".csv"), is_shard("out/x-y-00000-of-00001.csv", "out/x", ".csv")
    (True, False)
    """
    name = re.escape(re.split(r"[/\\]", prefix)[-1]) + r"-\d{5,}-of-\d{5,}" + re.escape(suffix)
    return re.fullmatch(name, re.split(r"[/\\]", path)[-1]) is not None


def temporary_folders(prefix: str) -> list[str]:
    """Return the folders in which Beam's sinks collect the files of a prefix before the files get their names.

    Args:
        prefix: The prefix, as returned by `output_files`.

    Returns:
        The paths of the existing folders, sorted. On a remote file system, only folders that contain a file.
    """
    folder, name = FileSystems.split(prefix)
    if is_local(prefix):
        found = {str(path) for path in Path(folder or ".").glob(f"beam-temp-{name}-*")}
    else:
        files = FileSystems.match([FileSystems.join(folder, f"beam-temp-{name}-*", "*")])[0].metadata_list
        found = {FileSystems.split(file.path)[0] for file in files}
    # A UUID follows the name. Anything else belongs to a longer prefix.
    return sorted(path for path in found if re.search(rf"beam-temp-{re.escape(name)}-[0-9a-f]{{32}}$", path))


def delete_folder(folder: str) -> None:
    """Deletes a folder with its files, as far as that is possible."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
        return
    with suppress(BeamIOError):
        files = FileSystems.match([FileSystems.join(folder, "*")])[0].metadata_list
        FileSystems.delete([file.path for file in files])
    with suppress(BeamIOError):  # for file systems with real folders
        FileSystems.delete([folder])
