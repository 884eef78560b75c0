"""The JSON files of a checkpoint, and the files that they refer to."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from transforms.checkpoints.files import Checkpoint
from transforms.errors import ArgumentError

_LARGEST = 1 << 24  # bytes

_PLAIN_NAME = re.compile(r"(?!\.\.?$)[^/\\]+")


class NoObjectError(ValueError):
    """A JSON value that is not an object."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if the file is too large or not JSON; a `NoObjectError` if the JSON is not an object.
        RecursionError: if the JSON is nested too deeply.
    """
    if (size := path.stat().st_size) > _LARGEST:
        raise ValueError(f"{size} bytes")
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise NoObjectError
    return content


def check_referenced_files(model: str, folder: Path) -> None:
    """Checks that a checkpoint's files refer only to files in the same folder.

    transformers loads shards of weights and tokenizers from any path that a file contains. It also loads the base model
    of an adapter, so adapters are rejected.

    Args:
        model: The checkpoint's name, for messages.
        folder: The checkpoint's folder.

    Raises:
        ValueError: if a reference leaves the folder, a file cannot be read, or the checkpoint is an adapter.
    """
    if (folder / "adapter_config.json").exists():
        raise ArgumentError(
            f"model={model!r}: an adapter of another model; expected a model with the adapter merged into it"
        )
    for path in [folder / "config.json", folder / "tokenizer_config.json", *sorted(folder.glob("*.index.json"))]:
        try:
            named = _referenced_files(read_object(path))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
            if path.name == "config.json":
                continue  # `read_config` reports the error in detail
            raise ArgumentError(f"model={model!r}: {path.name} cannot be read: {type(error).__name__}") from None
        if not all(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in named):
            raise ArgumentError(f"model={model!r}: {path.name} contains the name of a file outside the folder")


def _referenced_files(content: dict[str, Any]) -> list[Any]:
    """Return the file names in a JSON object.

    These are the shards of an index, a tokenizer's files for versions of transformers, and a configuration's weights.
    """
    weights = content.get("transformers_weights")
    return [
        *(content.get("weight_map") or {}).values(),
        *(content.get("fast_tokenizer_files") or ()),
        *([] if weights is None else [weights]),
    ]


def read_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the checkpoint's ``config.json``, after checking that it is one of a token classifier.

    Raises:
        ValueError: if it is not, or cannot be read.
    """
    name, path = checkpoint.name, checkpoint.folder / "config.json"
    try:
        config = read_object(path)
    except FileNotFoundError:
        raise ArgumentError(f"model={name!r}: no config.json; {_expected_instead(checkpoint.folder)}") from None
    except NoObjectError:
        raise ArgumentError(f"model={name!r}: config.json contains no JSON object") from None
    except (ValueError, RecursionError, OSError) as error:
        raise ArgumentError(f"model={name!r}: config.json cannot be read: {type(error).__name__}") from None
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ArgumentError(
            f"model={name!r}: quantised weights ({method or 'unknown method'}) are not read; expected weights in fp32,"
            " bf16 or fp16"
        )
    architectures = config.get("architectures") or []
    if not isinstance(architectures, list) or not all(isinstance(kind, str) for kind in architectures):
        raise ArgumentError(f"model={name!r}: the architectures in config.json are not a list of names")
    if architectures and not any("ForTokenClassification" in architecture for architecture in architectures):
        raise ArgumentError(
            f"model={name!r}: {architectures[0]} has no token-classification labels;"
            " expected a model fine-tuned for token classification (…ForTokenClassification)"
        )
    if not architectures and not config.get("id2label"):
        raise ArgumentError(f"model={name!r}: config.json contains no token-classification labels (id2label)")
    _check_labels(name, config.get("id2label"))
    return config


def _expected_instead(folder: Path) -> str:
    """Return what to name instead of a folder without a configuration, as a part of a sentence."""
    steps = [path.parent for path in folder.glob("checkpoint-*/config.json")]
    if not steps:
        return "expected a checkpoint of transformers"
    last = max(steps, key=lambda path: (len(path.name), path.name))
    return f"expected one of the {len(steps)} checkpoints in it, for example {last.name}"


def _check_labels(name: str, id2label: Any) -> None:
    if id2label is None:
        return
    if not isinstance(id2label, dict) or not all(isinstance(label, str) for label in id2label.values()):
        raise ArgumentError(f"model={name!r}: id2label in config.json does not contain a name for each class")
    if sorted(id2label) != sorted(map(str, range(len(id2label)))):
        raise ArgumentError(
            f"model={name!r}: id2label in config.json does not number its {len(id2label)} classes from 0"
        )
