"""The words of docstrings: how they open, how long a sentence is, and phrases that have to be read twice."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("pipeline", "transforms")
    for path in (REPOSITORY / package).rglob("*.py")
)
OPENERS = re.compile(r"(What|Whether|Where|How|Who|Whose|By|Of|When|Which|Why)\b")
PHRASES = re.compile(
    r"\b(likewise|as there|(?<!\w )of which|from whose|is none of|by what|be had|to be had)\b", re.IGNORECASE
)
LONGEST = 25
"""Words of a sentence, without code."""


def docstrings(tree: ast.Module) -> Iterator[str]:
    """The docstrings of a module, its classes and functions, and the strings below its constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield re.sub(r"\n +", "\n", node.value.value)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a docstring's prose: no examples, no tables, no headings of sections."""
    prose = re.sub(r"(?m)^>>>.*\n(?:(?!\n|>>>).+\n?)*", "", text)
    prose = re.sub(r"(?m)^(Args|Returns|Raises|Attributes|Yields|Example):$", "\n", prose)
    prose = re.sub(r"``[^`]*``|`[^`]*`|\([^()]*\)", "x", prose)
    prose = re.sub(r"(?m)^\*{0,2}\w+: ", ". ", prose)
    for paragraph in re.split(r"\n\s*\n|\n- ", prose):
        yield from re.split(r"(?<=[.:;?!])\s+", paragraph)


@pytest.mark.parametrize("module", MODULES)
def test_docstrings_are_read_once(module: str) -> None:
    tree = ast.parse((REPOSITORY / module).read_text("utf-8"))
    for text in docstrings(tree):
        assert not OPENERS.match(text), f"opens with no verb and no noun: {text[:80]}"
        assert not PHRASES.search(text), f"{PHRASES.search(text)}: {text}"
        for sentence in sentences(text):
            assert len(sentence.split()) <= LONGEST, f"{len(sentence.split())} words: {sentence}"
