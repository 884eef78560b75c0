"""Shows a run's results in the terminal: ``python -m pipeline.preview 'out/entities-*.jsonl'``."""

from __future__ import annotations

import argparse
import glob
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.process.output import guard_output, report

# The control characters of a document must not reach the terminal; each is shown as its symbol in Unicode.
_VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def marked(row: dict[str, Any], most_characters: int) -> Text:
    """Return the beginning of a document's text, with its entities marked and labelled.

    Args:
        row: A result row with the document's text.
        most_characters: Number of characters to show; an entity at the limit is shown whole.
    """
    shown = Text()
    source, at = row["text"].translate(_VISIBLE), 0
    for entity in row["entities"]:
        start, end = entity["start"], entity["end"]
        if start is None or start < at:
            continue
        if start >= most_characters:
            break
        label = _label(entity)
        colour = _COLOURS[sum(label.encode()) % len(_COLOURS)]
        shown.append(source[at:start])
        shown.append(source[start:end], style=f"bold {colour}")
        shown.append(f"[{label}]", style=f"dim {colour}")
        at = end
    cut = max(at, most_characters)
    shown.append(source[at:cut])
    if cut < len(source):
        shown.append(" …")
    return shown


def main(argv: list[str] | None = None) -> int:
    """Prints some documents of JSONL results with their entities marked, and the number of entities of each label."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.preview", description=main.__doc__)
    parser.add_argument("results", help="glob of JSONL files written with --include_text")
    parser.add_argument("--documents", type=int, default=6, help="how many to show (default: %(default)s)")
    parser.add_argument("--characters", type=int, default=400, help="of each (default: %(default)s)")
    guard_output()
    arguments = parser.parse_args(argv)
    try:
        return _show(arguments)
    except ValueError as error:
        report(f"{parser.prog}: error: {error}")
        return 2


def _show(arguments: argparse.Namespace) -> int:
    files = sorted(glob.glob(arguments.results))  # noqa: PTH207, for the pattern may be absolute
    if not files:
        raise ValueError(f"{arguments.results!r}: matches no file")

    console = Console(soft_wrap=True, highlight=False)
    documents = sum(1 for _ in _rows(files))
    every = max(1, documents // max(1, arguments.documents))  # from all over the results, not only the first
    labels: Counter[str] = Counter()
    for number, row in enumerate(_rows(files)):
        if "text" not in row:
            raise ValueError(f"{arguments.results!r}: contains no text; expected results written with --include_text")
        labels.update(_label(entity) for entity in row["entities"])
        if number % every == 0 and number // every < arguments.documents:
            console.print(Text(row["id"].translate(_VISIBLE), style="bold"))
            console.print(marked(row, arguments.characters), end="\n\n")
    console.print(_table(labels))
    total = f"{sum(labels.values()):,} entities in {documents:,} documents; all of them in {arguments.results}"
    console.print(total, markup=False)
    return 0


def _rows(files: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of files of results.

    Raises:
        ValueError: if a file contains no results in JSON Lines.
    """
    for file in files:
        try:
            with open(file, encoding="utf-8") as lines:  # noqa: PTH123
                for line in lines:
                    row = json.loads(line)
                    if not isinstance(row, dict) or "entities" not in row:
                        raise ValueError("no result")
                    yield row
        except ValueError:
            raise ValueError(
                f"{file}: contains no results in JSON Lines; expected those of --output_format=jsonl"
            ) from None
        except OSError as error:
            raise ValueError(f"{file}: cannot be read: {error.strerror}") from error


def _label(entity: dict[str, Any]) -> str:
    return entity.get("entity_group") or entity["entity"]


def _table(labels: Counter[str]) -> Table:
    table = Table(title="Entities by label", title_justify="left", box=None)
    table.add_column("label")
    table.add_column("entities", justify="right")
    for label, count in labels.most_common():
        table.add_row(Text(label), f"{count:,}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
