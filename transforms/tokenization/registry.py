"""The tokenizers that this process has loaded, by the names that pre-entities carry.

The step that groups tokens needs the tokenizer of the step that classified them. In most pipelines, both steps run in
the same process. Then the registry saves a second load, and works even after the model's folder was deleted.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transforms.checkpoints.cache import is_pinned, pin_tokenizer, pinned_tokenizer
from transforms.checkpoints.resolve import resolve
from transforms.errors import ArgumentError
from transforms.settings import SPECIAL_TOKENS
from transforms.tokenization.fast import FastTokenization
from transforms.tokenization.slow import SlowTokenization
from transforms.tokenization.tokenizer import Tokenization

_CAPACITY = 8
_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class _Entry:
    folder: Path
    tokenization: Tokenization


_entries: dict[tuple[str, str | None, str], _Entry] = {}


def load_tokenization(name: str, revision: str | None, folder: Path, special_tokens: str = "text") -> Tokenization:
    """Return the tokenizer in a folder, loaded once a process, and keep it under its name.

    Args:
        name: A `ModelInfo`'s `tokenizer`.
        revision: Its `tokenizer_revision`.
        folder: The folder of that tokenizer on this machine.
        special_tokens: ``text`` or ``special``, as for `Tokenization`.

    Raises:
        ValueError: if there is none, or it cannot be read. The caller must put the tokenizer's name before the message.
    """
    with _lock:
        entry = _entries.pop((name, revision, special_tokens), None)
        if entry is None or entry.folder != folder:
            entry = _Entry(folder, read_tokenization(folder, special_tokens))
        _entries[name, revision, special_tokens] = entry
        while len(_entries) > _CAPACITY:
            del _entries[next(iter(_entries))]
    return entry.tokenization


def recall(name: str, revision: str | None) -> Tokenization:
    """Return the tokenizer of a name, loaded if this process has not loaded it. Its `special_tokens` may be either.

    Args:
        name: A `ModelInfo`'s `tokenizer`.
        revision: Its `tokenizer_revision`.

    Raises:
        ValueError: if there is none. The message is one sentence with the name.
    """
    for special_tokens in SPECIAL_TOKENS:
        entry = _entries.get((name, revision, special_tokens))
        if entry is not None:
            return entry.tokenization
    folder = tokenizer_folder(name, revision)
    try:
        return load_tokenization(name, revision, folder)
    except ValueError as error:
        raise ArgumentError(f"tokenizer={name!r}: {error}") from error


def read_tokenization(folder: Path, special_tokens: str = "text") -> Tokenization:
    """Return the tokenizer in a folder, always loaded from its files.

    Raises:
        ValueError: if there is none, or it cannot be read. The caller must put the tokenizer's name before the message.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise ValueError(f"no tokenizer that transformers can load ({type(error).__name__})") from error
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise ValueError("the tokenizer has no vocabulary; expected all its files")
    return tokenization_of(tokenizer, special_tokens)


def tokenization_of(tokenizer: Any, special_tokens: str = "text") -> Tokenization:
    """Return the tokenization of a tokenizer of transformers, fast or slow; see `Tokenization`."""
    kind = FastTokenization if tokenizer.is_fast else SlowTokenization
    return kind(tokenizer, special_tokens)


def own_tokenization(tokenizer: Any, special_tokens: str = "text") -> Tokenization:
    """Return the tokenization of a copy of a tokenizer, so that the caller may change the original."""
    return tokenization_of(copy.deepcopy(tokenizer), special_tokens)


def tokenizer_folder(name: str, revision: str | None) -> Path:
    """Return the folder of a tokenizer on this machine.

    Args:
        name: The name, as for `resolve`.
        revision: The revision, as for `resolve`; or a result of `transforms.checkpoints.cache.pin_tokenizer`. The
            latter identifies a cached copy, which later changes of the folder do not affect.

    Raises:
        ValueError: if there is none. The message is one sentence with the name.
    """
    if pinned := pinned_tokenizer(revision):
        return pinned
    try:
        folder = resolve(name, None if is_pinned(revision) else revision, weights=False).folder
    except ValueError as error:
        raise ArgumentError(str(error).replace("model", "tokenizer", 1)) from error
    if is_pinned(revision) and pin_tokenizer(folder) != revision:
        raise ArgumentError(f"tokenizer={name!r}: was replaced, and this worker has no copy of the one in use")
    return folder
