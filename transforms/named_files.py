"""What a checkpoint's JSON files say, and which other files they name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_LARGEST = 1 << 24  # bytes
_PLAIN_NAME = re.compile(r"(?!\.\.?$)[^/\\]+")


class NoObjectError(ValueError):
    """JSON that is no object."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is too large or no JSON; a `NoObjectError` if that is no object.
        RecursionError: if it is nested too deeply.
    """
    if (size := path.stat().st_size) > _LARGEST:
        raise ValueError(f"{size} bytes")
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise NoObjectError
    return content


def check_named_files(model: str, folder: Path) -> None:
    """Looks whether the files that a checkpoint's files name stand beside them.

    transformers takes shards of weights and tokenizers from wherever their names lead, and an adapter's model too.

    Args:
        model: The checkpoint's name, for sentences.
        folder: Where it is.

    Raises:
        ValueError: if not.
    """
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"model={model!r} is an adapter of another model; merge it into that one")
    for path in [folder / "config.json", folder / "tokenizer_config.json", *sorted(folder.glob("*.index.json"))]:
        try:
            named = _named_files(read_object(path))
        except FileNotFoundError:
            continue
        except (ValueError, TypeError, AttributeError, RecursionError, OSError) as error:
            if path.name == "config.json":
                continue  # of which more is said where it is read
            raise ValueError(f"model={model!r} has a {path.name} that cannot be read: {type(error).__name__}") from None
        if not all(isinstance(name, str) and _PLAIN_NAME.fullmatch(name) for name in named):
            raise ValueError(f"model={model!r} has a {path.name} that names files out of the folder")


def _named_files(content: dict[str, Any]) -> list[Any]:
    """The shards of an index, a tokenizer's files for versions of transformers, and a configuration's weights."""
    weights = content.get("transformers_weights")
    return [
        *(content.get("weight_map") or {}).values(),
        *(content.get("fast_tokenizer_files") or ()),
        *([] if weights is None else [weights]),
    ]
