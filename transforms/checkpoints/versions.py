"""The versions of a model in a folder whose content changes, or in folders that match a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.checkpoints.files import is_checkpoint_file
from transforms.errors import ArgumentError


@dataclass(frozen=True)
class Version:
    """The content of a model's folder at some moment.

    Attributes:
        name: The folder, or the remote folder.
        state: Names, times and sizes of its files, and inodes of local ones; another state is another version.
    """

    name: str
    state: tuple[tuple[Any, ...], ...]


def check_watchable(model: str) -> None:
    """Checks that a model can be watched for new versions.

    Raises:
        ValueError: if it is not a folder, a remote folder or a pattern, in one sentence.
    """
    if "://" not in model and not is_pattern(model) and not Path(model).expanduser().is_dir():
        raise ArgumentError(
            f"model={model!r}: cannot be refreshed; expected a folder, a remote folder, or a pattern of folders"
        )


def newest_version(model: str) -> Version:
    """Return the current version in a folder, or in the folder with the latest file if a pattern matches several.

    Folders without a ``config.json`` are ignored. If folders are equally new, the last by name is chosen.

    Args:
        model: A folder, or a pattern (``models/ner-*``), here or on a file system that Beam supports.

    Raises:
        ValueError: if there is no such folder, or it cannot be listed.
    """
    try:
        files = _remote_files(model) if "://" in model else _local_files(model)
    except Exception as error:
        raise ArgumentError(f"model={model!r}: cannot be listed: {type(error).__name__}") from error
    folders: dict[str, list[tuple[Any, ...]]] = {}
    for folder, *file in files:
        if is_checkpoint_file(file[0], weights=True):
            folders.setdefault(folder, []).append(tuple(file))
    complete = {folder: found for folder, found in folders.items() if any(name == "config.json" for name, *_ in found)}
    if not complete:
        raise ArgumentError(f"model={model!r}: neither a folder with a config.json nor a pattern that matches one")
    newest = max(complete, key=lambda folder: (max(changed for _, changed, *_ in complete[folder]), folder))
    return Version(newest, tuple(sorted(complete[newest])))


def is_pattern(model: str) -> bool:
    """Return whether a model's name contains wildcards."""
    return any(wildcard in model for wildcard in "*?[")


def _local_files(model: str) -> list[tuple[Any, ...]]:
    path = Path(model).expanduser()
    folders = [path]
    if is_pattern(model):
        root = Path(path.anchor)
        folders = [folder for folder in root.glob(str(path.relative_to(root))) if folder.is_dir()]
    return [
        # The inode distinguishes two files of the same size and time.
        (str(folder), file.relative_to(folder).as_posix(), status.st_mtime, status.st_size, status.st_ino)
        for folder in folders
        for inside in ("*", "onnx/*")
        for file in folder.glob(inside)
        if file.is_file() and (status := file.stat())
    ]


def _remote_files(model: str) -> list[tuple[Any, ...]]:
    from apache_beam.io.filesystems import FileSystems

    root = model.rstrip("/")
    found = [file for inside in ("*", "onnx/*") for file in FileSystems.match([f"{root}/{inside}"])[0].metadata_list]
    files = []
    for file in found:
        folder, _, name = file.path.rpartition("/")
        if folder.endswith("/onnx"):
            folder, name = folder.removesuffix("/onnx"), f"onnx/{name}"
        files.append((folder, name, file.last_updated_in_seconds, file.size_in_bytes))
    return files
