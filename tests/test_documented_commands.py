"""The command lines of the documents name flags that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pipeline.command_line import beam_parser, parse
from pipeline.options import NerOptions

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]


def commands() -> list[tuple[str, list[str]]]:
    """Where a run of the program stands, and its flags."""
    found = []
    for document in DOCUMENTS:
        for block in re.findall(r"```(?:sh)?\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("python -m pipeline "):
                    flags = [flag for flag in shlex.split(line)[3:] if flag != "…"]
                    found.append((f"{document.name}: {' '.join(flags)[:60]}", flags))
    return found


COMMANDS = commands()


def test_there_are_commands() -> None:
    runners = " ".join(flag for where, flags in COMMANDS if where.startswith("runners.md") for flag in flags)
    for runner in ("DataflowRunner", "PortableRunner", "PrismRunner", "multi_processing"):
        assert runner in runners


@pytest.mark.parametrize("flags", [flags for _, flags in COMMANDS], ids=[where for where, _ in COMMANDS])
def test_every_flag_is_known(flags: list[str]) -> None:
    parse(flags)  # which refuses what is mistyped, but leaves a job server's own flags to that
    known = beam_parser()
    NerOptions._add_argparse_args(known)
    assert known.parse_known_args(flags)[1] == []
