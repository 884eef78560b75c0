"""Writes docs/flags.md from the program's flags: ``python -m templates.flags``, or ``make templates``."""

from __future__ import annotations

import argparse
import itertools
import re
from pathlib import Path

from templates.metadata import own_actions

PATH = Path(__file__).parents[1] / "docs" / "flags.md"

_INTRODUCTION = """\
# Flags

This page lists all flags of `python -m pipeline` (also installed as `beam-ner`), in the groups of `--help`.
`make templates` writes it from `pipeline/options.py`.

The program passes Beam's own flags on: `--runner`, `--temp_location`, `--direct_num_workers` and others.
[Runners](runners.md) describes them, and the exit codes. A flag with the default `off` is a switch. It takes no value,
or `true` or `false`.
"""

_DEFAULT = re.compile(r"\s*\(default: (?P<default>.+)\)\.?$")


def text() -> str:
    """Return the text of docs/flags.md: a table for each group of flags."""
    parts = [_INTRODUCTION]
    for title, actions in itertools.groupby(own_actions(), key=lambda titled: titled[0]):
        rows = "".join(_row(action) for _, action in actions)
        parts.append(f"## {title[:1].upper()}{title[1:]}\n\n| flag | default | help |\n|---|---|---|\n{rows}")
    return "\n".join(parts)


def _row(action: argparse.Action) -> str:
    """Return a flag's row in its table."""
    flag, explained = action.option_strings[-1], action.help or ""
    default = "" if action.default is None else f"`{action.default}`"
    if action.default is False:
        default = "off"
    else:
        flag = f"{flag} {'|'.join(action.choices or ()) or action.metavar}".replace("|", r"\|")
    if found := _DEFAULT.search(explained):  # a default that is not one value
        default = _escaped(found["default"])
        explained = f"{explained[: found.start()].rstrip('.')}."
    return f"| `{flag}` | {default} | {_escaped(explained)} |\n"


def _escaped(words: str) -> str:
    """Return words with the signs escaped that Markdown would take for its own."""
    return re.sub(r"([|*<])", r"\\\1", words)


if __name__ == "__main__":
    PATH.write_text(text(), "utf-8")
