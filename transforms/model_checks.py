"""Whether a checkpoint can be believed: its files, labels, weights and answers.

A broken checkpoint need not fail. With weights that are corrupt, labels that are not the head's or a tokenizer that is
another model's, it answers, and what it says is wrong. These checks run whenever a model is loaded.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from transforms.checkpoints import MANIFEST, Checkpoint, file_hash, is_checkpoint_file
from transforms.documents import Document, Failure

if TYPE_CHECKING:
    from transforms.classifier import TokenClassifier
    from transforms.tokenization import Tokenization

LARGEST_WEIGHT = 1e5
"""No trained weight is near to it; a few random bytes in a float are likely to be far above."""

_MANIFEST_LINE = re.compile(r"([0-9a-f]{64}) [ *](?:\./)?(.+)")

_CANARIES = [
    Document("canary-1", "My name is Ann Smith and I live at 12 Baker Street, London."),
    Document("canary-2", "Write to José Ñandú, Münchner Straße 5, 80331 München. " * 3),
]


def check_manifest(checkpoint: Checkpoint, *, weights: bool) -> None:
    """Holds the files against the folder's ``SHA256SUMS``, in the form of the program ``sha256sum``, if it has one.

    Args:
        checkpoint: Where they are.
        weights: Whether the weights are looked at too; then none may be there that the list does not name.

    Raises:
        ValueError: if a file is not the one that was listed.
    """
    path, problem = checkpoint.folder / MANIFEST, f"model={checkpoint.name!r} has a {MANIFEST}"
    if not path.is_file():
        return
    sums = _read_manifest(path, problem)
    for name, expected in sums.items():
        file = checkpoint.folder / name
        if not is_checkpoint_file(name, weights=weights):
            continue
        if file.is_file() and file_hash(file) != expected:
            raise ValueError(f"{problem} with another checksum for {name} than that of the file here")
        if not file.is_file() and is_checkpoint_file(name, weights=False):  # weights are needed in one format only
            raise ValueError(f"{problem} that names {name}, which is not here")
    unknown = [file.name for file in checkpoint.weights if file.relative_to(checkpoint.folder).as_posix() not in sums]
    if weights and unknown:
        raise ValueError(f"{problem} that does not name {unknown[0]}")


def _read_manifest(path: Path, problem: str) -> dict[str, str]:
    try:
        lines = [_MANIFEST_LINE.fullmatch(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{problem} that cannot be read: {type(error).__name__}") from None
    if not all(lines):
        raise ValueError(f"{problem} with a line that is no checksum and name, as sha256sum writes them")
    return {line[2]: line[1] for line in lines if line}


def check_vocabulary(checkpoint: Checkpoint, config: Any, tokenization: Tokenization) -> None:
    """Looks whether the model knows all tokens that its tokenizer may give it.

    Raises:
        ValueError: if it does not.
    """
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and tokenization.largest_id >= size:
        raise ValueError(
            f"model={checkpoint.name!r} knows {size} tokens, and the tokenizer's reach up to number"
            f" {tokenization.largest_id}: they are not made for each other"
        )


def check_parameters(name: str, model: Any) -> None:
    """Looks at all weights of a PyTorch module.

    Raises:
        ValueError: if one is not finite or beyond all bounds.
    """
    for parameter, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.numel():
            least, most = (bound.item() for bound in tensor.detach().aminmax())
            if not -LARGEST_WEIGHT <= least <= most <= LARGEST_WEIGHT:
                worst = least if not least >= -LARGEST_WEIGHT else most
                raise ValueError(f"model={name!r} has weights of {worst:.3g} in {parameter}: they are corrupt")


def check_answers(classifier: TokenClassifier, name: str) -> None:
    """Has the model read a short and a long text.

    Args:
        classifier: The model.
        name: Its name.

    Raises:
        ValueError: if it cannot, or its scores are no probabilities.
    """
    for outcome in classifier.classify(_CANARIES):
        if isinstance(outcome, Failure):
            raise ValueError(f"model={name!r} cannot read a test sentence: {outcome.error}")
        if not len(outcome) or not np.allclose(outcome.scores.sum(axis=-1), 1, atol=1e-3):
            raise ValueError(f"model={name!r} gives a test sentence scores that are no probabilities")
