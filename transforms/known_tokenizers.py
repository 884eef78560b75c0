"""The tokenizers of the models that this process has loaded, by the names that pre-entities carry.

Who groups tokens needs the tokenizer of whoever classified them, in most pipelines in the same process. To have it
from there saves loading it a second time, and does without the model's folder, which may be gone by then.
"""

from __future__ import annotations

import threading

from transforms.checkpoints import tokenizer_folder
from transforms.tokenization import Tokenization, load_tokenization

_MOST = 8
_known: dict[tuple[str, str | None], Tokenization] = {}
_lock = threading.Lock()


def remember(name: str, revision: str | None, tokenization: Tokenization) -> None:
    """Keeps the tokenizer of a model that is being loaded, and forgets that which was kept first of too many."""
    with _lock:
        _known.pop((name, revision), None)
        _known[name, revision] = tokenization
        while len(_known) > _MOST:
            del _known[next(iter(_known))]


def recall(name: str, revision: str | None) -> Tokenization:
    """The tokenizer of that name, loaded if it has not been; fit for rendering, whatever it makes of special tokens.

    Args:
        name: A `ModelInfo`'s `tokenizer`.
        revision: Its `tokenizer_revision`.

    Raises:
        ValueError: if there is none, in one sentence that names it.
    """
    known = _known.get((name, revision))
    return load_tokenization(tokenizer_folder(name, revision)) if known is None else known
