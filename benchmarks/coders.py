"""Measures the cost of encoding and decoding a document between two steps.

``python -m benchmarks.coders`` takes some seconds, and writes coders.md in results/; `make bench-overhead` runs it too.
"""

from __future__ import annotations

import argparse
import timeit
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from transforms import Document, PreEntities, TokenClassifier
from transforms.beam.coders import DocumentCoder, PreEntitiesCoder, RecordCoder

RESULTS = Path(__file__).parent / "results"
SENTENCE = "Anna wrote to Max Miller in Berlin about order 12345 from 12 Baker Street, London. "
SENTENCES = (3, 30)
_TURNS = 200


def microseconds(coder: RecordCoder, value: Any) -> float:
    """Time to encode and decode a value, the best of some."""
    return min(timeit.repeat(lambda: coder.decode(coder.encode(value)), number=_TURNS)) / _TURNS * 1e6


def rows() -> list[str]:
    """One line of the table for each record and length."""
    classifier, lines = TokenClassifier(), []
    for count in SENTENCES:
        document = Document("tickets/1.jsonl:123", SENTENCE * count, {"source": "x"}, 12.5, b"{}" * 50, "receipt")
        (scored,) = classifier.classify([document])
        if not isinstance(scored, PreEntities):
            raise RuntimeError(scored.error)
        coders: list[tuple[RecordCoder, Any]] = [(DocumentCoder(), document), (PreEntitiesCoder(), scored)]
        for coder, value in coders:
            size, time = len(coder.encode(value)), microseconds(coder, value)
            lines.append(f"| {coder.record.__name__} | {len(scored)} | {size:,} | {time:.1f} |")
    return lines


def main() -> int:
    """Measures, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    arguments = parser.parse_args()
    kind = machine()
    table = [
        f"One core of {kind['processor']}, Python {kind['python']}; the best of five times {_TURNS} turns.",
        "",
        "| record | tokens | bytes | µs to encode and decode |",
        "|---|---|---|---|",
        *rows(),
    ]
    text = "\n".join(table) + "\n"
    arguments.results.mkdir(exist_ok=True)
    (arguments.results / "coders.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
