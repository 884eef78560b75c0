"""The README's examples run, and its table of flags is that of the program."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from pipeline.options import NerOptions
from pipeline.run import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("code", "printed"), list(zip(
    blocks("python"),
    ["1 ['Ann', 'Smith', 'London']\n2 []\n", "GIVEN_NAME ann 1.0 11 14\nSURNAME smith 1.0 15 20\nCITY london 0.93 35 41\n"],
    strict=True,
)))  # fmt: skip
def test_python_examples(code: str, printed: str, capfd: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(printed.splitlines())


def test_the_programs_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gzip

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tickets").mkdir()
    for name in ("tickets", "letters", "addresses"):
        with gzip.open(tmp_path / "tickets" / f"{name}.jsonl.gz", "wb") as file:
            file.write((ROOT / "samples" / f"{name}.jsonl").read_bytes())
    (command,) = [
        line for block in blocks("sh") for line in block.splitlines() if line.startswith("python -m pipeline ")
    ]
    assert main(shlex.split(command)[3:]) == 0
    printed = capsys.readouterr().out
    expected = next(block for block in blocks("text") if "documents in" in block)
    assert [line.split(" in ")[0] for line in printed.splitlines()] == [
        line.split(" in ")[0] for line in expected.splitlines()
    ]
    (row,) = blocks("json")
    written = (tmp_path / "out" / "entities-00000-of-00001.jsonl").read_text(encoding="utf-8")
    for line in re.findall(r"\{\"entity_group\".*?\}", row):
        assert re.sub(r'"score": \S+', "", line) in re.sub(r'"score": \S+', "", written)


def test_flags_are_those_of_the_program() -> None:
    parser = argparse.ArgumentParser()
    NerOptions._add_argparse_args(parser)
    rows = dict(re.findall(r"^\| `(--\w+)` \| (.*?) \|", README, re.MULTILINE))
    actions = {action.option_strings[-1]: action for action in parser._actions if action.dest != "help"}
    assert list(rows) == list(actions)
    for flag, shown in rows.items():
        default = actions[flag].default
        if default is False:
            assert shown == "off", flag
        elif default is not None:
            assert shown == f"`{default}`", flag


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", README):
        assert (ROOT / target).exists(), target
