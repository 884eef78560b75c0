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
"""Name of a file with the checksums of the others, as the program `sha256sum` writes it."""

_BLOCK = 1 << 20  # bytes

_WEIGHT_ENDINGS = (".safetensors", ".onnx", ".onnx_data", ".bin")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on this machine.

    Attributes:
        name: The name it was asked for by.
        revision: The hub's commit, the embedded package's version, or a hash of the folder's content.
        folder: Where its files are.
        tokenizer_revision: By what its tokenizer is found again where its folder's content may change; None where not.
    """

    name: str
    revision: str
    folder: Path
    tokenizer_revision: str | None = None

    @property
    def safetensors(self) -> list[Path]:
        """Its safetensors files."""
        return sorted(self.folder.glob("*.safetensors"))

    @property
    def onnx(self) -> Path | None:
        """Its ONNX model; the one with the least quantisation where there are several."""
        models = [*self.folder.glob("*.onnx"), *self.folder.glob("onnx/*.onnx")]
        return min(models, key=lambda path: (len(path.stem), path.stem), default=None)

    @property
    def weights(self) -> list[Path]:
        """All its files of weights, of any kind."""
        return _weights(self.folder)

    @property
    def pickles(self) -> list[Path]:
        """Its pickled weights, which can run code when they are loaded."""
        return sorted(self.folder.glob("pytorch_model*.bin"))


def check_weights(checkpoint: Checkpoint, *, allow_pickle_weights: bool = False) -> None:
    """Looks whether there are weights that may be loaded.

    Raises:
        ValueError: if there are none.
    """
    if checkpoint.safetensors or checkpoint.onnx or (checkpoint.pickles and allow_pickle_weights):
        return
    if checkpoint.pickles:
        raise ArgumentError(
            f"model={checkpoint.name!r} has only pickled weights ({checkpoint.pickles[0].name}), which can run code"
            " when they are loaded; convert them to safetensors, or allow them with allow_pickle_weights"
        )
    raise ArgumentError(f"model={checkpoint.name!r} has neither safetensors nor ONNX weights")


def content_hash(folder: Path) -> str:
    """12 hexadecimal digits of the SHA-256 of a checkpoint's files: configuration, tokenizer and weights."""
    tokenizer = {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    return hash_files(sorted({*tokenizer, *_weights(folder)}), folder)[:12]


def _weights(folder: Path) -> list[Path]:
    found = [*folder.glob("*"), *folder.glob("onnx/*")]
    return sorted(path for path in found if path.suffix in _WEIGHT_ENDINGS)


def hash_files(paths: Iterable[Path], folder: Path) -> str:
    """The SHA-256 of files in this order: of their names in a folder, sizes and contents."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        _add_file(digest, path)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    _add_file(digest, path)
    return digest.hexdigest()


def _add_file(digest: Any, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)


def is_checkpoint_file(name: str, *, weights: bool) -> bool:
    """Whether a file of a checkpoint's folder is of use, by its name in there."""
    if ".." in name.split("/") or name.startswith("/"):
        return False
    endings = (".json", ".txt", ".model", ".jinja", ".tiktoken", *(_WEIGHT_ENDINGS if weights else ()))
    return name == MANIFEST or name.endswith(endings)
