"""The files of a checkpoint in a folder on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.errors import ArgumentError

TOKENIZER_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken"]

MANIFEST = "SHA256SUMS"
"""The name of a file with the checksums of the other files, in the format of the program `sha256sum`."""

_BLOCK = 1 << 20  # bytes

_WEIGHT_ENDINGS = (".safetensors", ".onnx", ".onnx_data", ".bin")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: The name that was requested.
        revision: The hub's commit, the embedded package's version, or a hash of the folder's content.
        folder: The folder that contains the files.
        tokenizer_revision: Revision of the cached tokenizer copy if the folder may change; otherwise None.
    """

    name: str
    revision: str
    folder: Path
    tokenizer_revision: str | None = None

    @property
    def safetensors(self) -> list[Path]:
        """The safetensors files."""
        return sorted(self.folder.glob("*.safetensors"))

    @property
    def onnx(self) -> Path | None:
        """The ONNX model; of several, the one with the shortest name, which is the least quantised."""
        models = [*self.folder.glob("*.onnx"), *self.folder.glob("onnx/*.onnx")]
        return min(models, key=lambda path: (len(path.stem), path.stem), default=None)

    @property
    def weights(self) -> list[Path]:
        """The files of weights, of any kind."""
        return _weights(self.folder)

    @property
    def pickles(self) -> list[Path]:
        """The files of pickled weights, which can run code when they are loaded."""
        return sorted(self.folder.glob("pytorch_model*.bin"))


def check_weights(checkpoint: Checkpoint, *, allow_pickle_weights: bool = False) -> None:
    """Checks that there are weights that may be loaded.

    Raises:
        ValueError: if there are none.
    """
    if checkpoint.safetensors or checkpoint.onnx or (checkpoint.pickles and allow_pickle_weights):
        return
    if checkpoint.pickles:
        raise ArgumentError(
            f"model={checkpoint.name!r}: only pickled weights ({checkpoint.pickles[0].name}), which can run code when"
            " they are loaded; expected safetensors, or allow_pickle_weights"
        )
    raise ArgumentError(f"model={checkpoint.name!r}: neither safetensors nor ONNX weights")


def content_hash(folder: Path) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of a checkpoint's files: configuration, tokenizer and weights."""
    tokenizer = {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    return hash_files(sorted({*tokenizer, *_weights(folder)}), folder)[:12]


def _weights(folder: Path) -> list[Path]:
    found = [*folder.glob("*"), *folder.glob("onnx/*")]
    return sorted(path for path in found if path.suffix in _WEIGHT_ENDINGS)


def hash_files(paths: Iterable[Path], folder: Path) -> str:
    """Return the SHA-256 of the names, sizes and contents of files, in this order; names are relative to `folder`."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        _add_file(digest, path)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    _add_file(digest, path)
    return digest.hexdigest()


def _add_file(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)


def is_checkpoint_file(name: str, *, weights: bool) -> bool:
    """Return whether a file belongs to a checkpoint, by its name in the checkpoint's folder."""
    if ".." in name.split("/") or name.startswith("/"):
        return False
    endings = (".json", ".txt", ".model", ".jinja", ".tiktoken", *(_WEIGHT_ENDINGS if weights else ()))
    return name == MANIFEST or name.endswith(endings)
