"""The cache folder, and copies in it of files that may be replaced while they are in use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from transforms.checkpoints.files import TOKENIZER_FILES, content_hash, hash_files, is_checkpoint_file


def cache_folder() -> Path:
    """Return the folder for downloads and converted models: ``$BEAM_NER_CACHE``, or one in the user's cache folder.

    If the user's cache folder is not writable, as in some containers, the machine's temporary folder is used.
    """
    if chosen := os.environ.get("BEAM_NER_CACHE"):
        return Path(chosen)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "beam-ner"
    try:
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK)
    except OSError:
        writable = False
    return home if writable else Path(tempfile.gettempdir()) / "beam-ner"


_SCHEME = "sha256:"
"""The prefix of a revision that identifies a tokenizer by the content of its files."""


def snapshot(folder: Path) -> Path:
    """Return a copy of a checkpoint's files in the cache, under the hash of their content; made once a machine.

    The weights of a running model may be mapped from the files, so the files must not change.
    """
    files = [path for pattern in ("*", "onnx/*") for path in folder.glob(pattern) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in files]
    wanted = [name for name in names if is_checkpoint_file(name, weights=True)]
    return _copied(folder, wanted, "snapshots", content_hash)


def pin_tokenizer(folder: Path) -> str:
    """Copies a checkpoint's tokenizer and configuration to the cache.

    Returns:
        The revision of the copy, from which `pinned_tokenizer` finds it.
    """
    names = {path.name for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    return _SCHEME + _copied(folder, sorted(names), "tokenizers", _tokenizer_hash).name


def pinned_tokenizer(revision: str | None) -> Path | None:
    """Return the folder of a copy on this machine; None if it is missing, or the revision is not that of a copy."""
    if not is_pinned(revision):
        return None
    folder = cache_folder() / "tokenizers" / str(revision).removeprefix(_SCHEME)
    return folder if folder.is_dir() else None


def is_pinned(revision: str | None) -> bool:
    """Return whether a revision is from `pin_tokenizer`."""
    return revision is not None and revision.startswith(_SCHEME)


def _tokenizer_hash(folder: Path) -> str:
    return hash_files(sorted(folder.iterdir()), folder)[:24]


def _copied(folder: Path, names: Iterable[str], kind: str, hashed: Callable[[Path], str]) -> Path:
    """Copies files to the cache and returns the copy; it appears there as a whole, under a hash of its content."""
    root = cache_folder() / kind
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        copy = Path(scratch) / "folder"
        copy.mkdir()
        for name in names:
            (copy / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, copy / name)
        target = root / hashed(copy)
        try:
            if not target.is_dir():
                copy.rename(target)
        except OSError:  # another process was first
            if not target.is_dir():
                raise
    return target
