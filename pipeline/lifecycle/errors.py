"""The line that is printed for a failed run."""

from __future__ import annotations

import re

_TRACEBACK = "Traceback (most recent call last):"
_MAX_CHARS = 500  # Prism writes a stage with all its transforms into one line; the log contains all of it
_STEP = re.compile(r"\[while running '.*?'\]")


def describe_run_error(error: BaseException) -> str:
    r"""Return the line that describes the problem, from an exception of a runner.

    Some runners get a worker's exception as text. Their message starts with the worker's whole stack, and the
    description follows. If the step ran in the runner's own process, the message starts with the description, and may
    continue on further lines. In both cases Beam appends the step.

    >>> describe_run_error(ValueError("no such table\nask for one [while running 'Write']"))
    "no such table [while running 'Write']"
    >>> describe_run_error(RuntimeError("Traceback (most recent call last):\n  File ...\nKeyError: 'id'\n"))
    "KeyError: 'id'"
    """
    message = f"KeyError: {error}" if isinstance(error, KeyError) else str(error)  # its text is only the key
    # If there are several tracebacks, the last one is of the exception that the step raised.
    _, _, behind = message.rpartition(_TRACEBACK)
    line = _first_line(behind, after_stack=len(behind) < len(message)) or _first_line(message) or type(error).__name__
    step = _STEP.search(behind) or _STEP.search(message)
    short = line if len(line) <= _MAX_CHARS else f"{line[:_MAX_CHARS]}…"
    return short if step is None or step.group() in short else f"{short} {step.group()}"


def _first_line(text: str, *, after_stack: bool = False) -> str:
    """Return the first line that is not blank; after a stack, indented lines are skipped."""
    lines = (line for line in text.splitlines() if not (after_stack and line.startswith((" ", "\t"))))
    return next((line.strip() for line in lines if line.strip()), "")
