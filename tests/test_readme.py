"""The examples of the documentation run, its links lead somewhere, and its page of flags is that of the program."""

from __future__ import annotations

import functools
import gzip
import re
import shlex
from pathlib import Path

import pytest

from pipeline import preview
from pipeline.run import main
from templates import flags

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", *PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY"))]


@functools.cache
def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text_of(path), re.DOTALL)


def command_of(path: str) -> list[str]:
    """The flags of a page's command that reads the tickets from files."""
    (command,) = [
        line
        for block in blocks(path, "sh")
        for line in block.splitlines()
        if line.startswith("python -m pipeline ") and "tickets/" in line and not line.endswith("\\")
    ]
    return shlex.split(command)[3:]


@pytest.mark.parametrize(("path", "number", "printed"), [
    ("README.md", 0, "1 ['Ann', 'Smith', 'London']\n2 []\n"),
    ("README.md", 1, "GIVEN_NAME ann 1.0 11 14\nSURNAME smith 1.0 15 20\nCITY london 0.93 35 41\n"),
    ("docs/library.md", 0, "ticket-7 PreEntities\n"),
])  # fmt: skip
def test_python_examples(path: str, number: int, printed: str, capfd: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks(path, "python")[number], path, "exec"), {"__name__": "readme"})
    assert sorted(capfd.readouterr().out.splitlines()) == sorted(printed.splitlines())


def test_every_python_example_is_run() -> None:
    assert {page.name: number for page in DOCUMENTS if (number := len(blocks(str(page), "python")))} == {
        "README.md": 2,
        "library.md": 1,
        "SECURITY.md": 1,  # run by the tests of sinks
    }


def test_the_programs_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tickets").mkdir()
    for name in ("tickets", "letters", "addresses"):
        with gzip.open(tmp_path / "tickets" / f"{name}.jsonl.gz", "wb") as file:
            file.write((ROOT / "samples" / f"{name}.jsonl").read_bytes())
    command = command_of("README.md")
    assert command == command_of("docs/files.md")
    assert main(command) == 0
    printed = capsys.readouterr().out
    expected, _ = blocks("docs/files.md", "text")  # the second has failures
    assert [line.split(" in ")[0] for line in printed.splitlines()] == [
        line.split(" in ")[0] for line in expected.splitlines()
    ]
    (row,) = blocks("docs/files.md", "json")
    written = (tmp_path / "out" / "entities-00000-of-00001.jsonl").read_text(encoding="utf-8")
    entities = re.findall(r"\{\"entity_group\".*?\}", row)
    assert entities
    for line in entities:
        assert re.sub(r'"score": \S+', "", line) in re.sub(r'"score": \S+', "", written)


def test_the_picture_is_what_make_run_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    commands = re.findall(r"^\t\$\(BIN\)/python -m (pipeline\S*) (.*)$", text_of("Makefile"), re.MULTILINE)
    (run, look) = (shlex.split(arguments) for module, arguments in commands)
    assert [module for module, _ in commands] == ["pipeline", "pipeline.preview"]
    assert main(run) == 0
    capsys.readouterr()
    assert preview.main(look) == 0
    shown = capsys.readouterr().out.splitlines()
    (picture,) = blocks("README.md", "text")
    assert len(picture.splitlines()) > 3
    assert set(picture.splitlines()) <= set(shown)


def test_the_page_of_flags_is_up_to_date() -> None:
    assert flags.PATH.read_text("utf-8") == flags.text(), "run: make templates"


def test_the_page_of_flags_has_a_row_for_each_flag() -> None:
    rows = [line for line in flags.text().splitlines() if line.startswith("| `--")]
    assert len(rows) == len(list(flags.own_actions())) > 40
    for row in rows:
        assert re.fullmatch(r"\| `--\w+.*` \| .*\| \S.* \|", row), row
        assert len(re.findall(r"(?<!\\)\|", row)) == 4, row
        assert "(default" not in row, row


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", without_code(document)):
        path, _, anchor = target.partition("#")
        led = (document.parent / path).resolve() if path else document
        assert led.is_relative_to(ROOT), target
        assert led.exists(), target
        assert not anchor or anchor in anchors(led), target


def test_the_index_lists_every_page() -> None:
    listed = re.findall(r"\]\(([^)]+)\)", text_of("docs/index.md"))
    assert {page.name for page in PAGES} - {"index.md"} <= set(listed)


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def without_code(document: Path) -> str:
    return re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
