"""The checksums of a checkpoint's files, in the format of the program ``sha256sum``."""

from __future__ import annotations

import re
from pathlib import Path

from transforms.checkpoints.files import MANIFEST, Checkpoint, file_hash, is_checkpoint_file
from transforms.errors import ArgumentError

_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")


def check_manifest(checkpoint: Checkpoint, *, weights: bool) -> None:
    """Checks a checkpoint's files against its ``SHA256SUMS``, if there is such a file.

    Args:
        checkpoint: The checkpoint.
        weights: Whether to check the weights too; all of them must then be listed.

    Raises:
        ValueError: if a file differs from the list, or is missing in the folder or in the list.
    """
    path, problem = checkpoint.folder / MANIFEST, f"model={checkpoint.name!r}: {MANIFEST}"
    if not path.is_file():
        return
    sums = _read_manifest(path, problem)
    for name, expected in sums.items():
        file = checkpoint.folder / name
        if not is_checkpoint_file(name, weights=weights):
            continue
        if file.is_file() and file_hash(file) != expected:
            raise ArgumentError(f"{problem} contains another checksum for {name} than that of the file")
        if not file.is_file() and is_checkpoint_file(name, weights=False):  # weights are needed in one format only
            raise ArgumentError(f"{problem} contains {name}, which is missing in the folder")
    unknown = [file.name for file in checkpoint.weights if file.relative_to(checkpoint.folder).as_posix() not in sums]
    if weights and unknown:
        raise ArgumentError(f"{problem} does not contain {unknown[0]}")


def _read_manifest(path: Path, problem: str) -> dict[str, str]:
    try:
        lines = [_MANIFEST_LINE.fullmatch(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{problem} cannot be read: {type(error).__name__}") from None
    if not all(lines):
        raise ArgumentError(
            f"{problem} contains an invalid line; expected a checksum and a name, as sha256sum writes them"
        )
    return {line[2]: line[1] for line in lines if line}
