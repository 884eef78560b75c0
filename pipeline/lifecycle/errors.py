"""The one line that is printed for a run that has failed."""

from __future__ import annotations

import re

_TRACEBACK = "Traceback (most recent call last):"
_MAX_CHARS = 500  # Prism puts a stage with all its transforms into a line; the log has the whole of it
_STEP = re.compile(r"\[while running '.*?'\]")


def sentence_of(error: BaseException) -> str:
    r"""The line that says what is wrong in an exception of a runner.

    A runner that has a worker's exception as text makes the worker's whole stack its message, and says only behind it
    what it was; one in whose own process the step ran has a message that may go on after its first line. Beam adds
    the step at the very end.

    >>> sentence_of(ValueError("no such table\nask for one [while running 'Write']"))
    "no such table [while running 'Write']"
    >>> sentence_of(RuntimeError("Traceback (most recent call last):\n  File ...\nKeyError: 'id'\n"))
    "KeyError: 'id'"
    """
    message = f"KeyError: {error}" if isinstance(error, KeyError) else str(error)  # which is a mere name
    # Of several, one behind another, the last is that of the exception which left the step.
    _, _, behind = message.rpartition(_TRACEBACK)
    line = _first_line(behind, after_stack=len(behind) < len(message)) or _first_line(message) or type(error).__name__
    step = _STEP.search(behind) or _STEP.search(message)
    short = line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}…"
    return short if step is None or step.group() in short else f"{short} {step.group()}"


def _first_line(text: str, *, after_stack: bool = False) -> str:
    """The first line that says something; behind a stack those that are indented do not."""
    lines = (line for line in text.splitlines() if not (after_stack and line.startswith((" ", "\t"))))
    return next((line.strip() for line in lines if line.strip()), "")
