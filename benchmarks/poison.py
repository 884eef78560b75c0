"""Measures the cost of 1 % of invalid ("poison") lines: ``make bench-poison``; ``--large`` adds a document of 20 MB.

The program alternately reads two files with the same number of lines: a clean one, and one in which every hundredth
line is poison. The figure is the number of good documents a second. Every poison line must become a failure, and no
other line.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.process import run_program
from benchmarks.texts import documents
from transforms.engines.precisions import openvino_precision

POISON = [
    b'{"text": "caf\xe9 in latin-1, which is no UTF-8"}',
    b'{"text": "half a pair \\ud83d"}',
    b'{"text": 12345}',
    b'{"text": null}',
    b'{"body": "no text"}',
    b'["a list"]',
    b'{"text": "cut in the mid',
    b'{"n": ' + b"9" * 5000 + b', "text": "a huge integer"}',
    b"[" * 20_000,
    b"\xff\xfe" + '{"text": "in UTF-16"}'.encode("utf-16-le").replace(b"\n", b""),
]
_EVERY = 100
_LARGE_CHARS = 20_000_000  # hardly more bytes: the texts are nearly all ASCII


def write_lines(
    path: Path, count: int, *, poisoned: bool, large: bool = False, words: int | None = None, seed: int = 0
) -> int:
    """Writes lines of JSON, and returns the number of poison lines.

    Args:
        path: The file.
        count: Number of lines.
        poisoned: Whether to put one of `POISON` in place of a random line of each hundred.
        large: Whether to insert a text of 20 MB in the middle.
        words: Number of words of each text to keep; None keeps all.
        seed: Seed of the texts and the places.
    """
    chance = random.Random(seed)
    texts = [" ".join(text.split(" ")[:words]) for text in documents(count, seed)]
    lines = [json.dumps({"id": str(number), "text": text}).encode() for number, text in enumerate(texts)]
    places = [first + chance.randrange(_EVERY) for first in range(0, count - _EVERY + 1, _EVERY)] if poisoned else []
    for number, place in enumerate(places):
        lines[place] = POISON[number % len(POISON)]
    if large:
        prose = " ".join(texts)
        text = (prose * (1 + _LARGE_CHARS // len(prose)))[:_LARGE_CHARS]
        lines.insert(count // 2, json.dumps({"id": "large", "text": text}).encode())
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return len(places)


def run(source: Path, precision: str) -> dict[str, float]:
    """Runs the program as a process; returns its counts, its seconds and its peak memory."""
    printed, seconds, peak = run_program(source, precision, f"--max_document_chars={_LARGE_CHARS}")
    counts = dict(re.findall(r"^ *([\d,]+) (documents|results|failures)\b", printed, re.MULTILINE))
    counted = {name: float(count.replace(",", "")) for count, name in counts.items()}
    return {**counted, "seconds": seconds, "peak_mib": peak}


def main() -> int:
    """Measures and prints one line of JSON a run, and the ratio at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poison", description=main.__doc__)
    parser.add_argument("--documents", type=int, default=100_000, help="lines of each file (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=2, help="runs of each (default: %(default)s)")
    parser.add_argument("--precision", default="bf16", help="of the model (default: %(default)s)")
    parser.add_argument("--large", action="store_true", help="one poisoned run alone, with a document of 20 MB")
    arguments = parser.parse_args()
    print(json.dumps({**machine(), "precision": openvino_precision(arguments.precision)}))
    rates: dict[str, list[float]] = {"clean": [], "poisoned": []}
    with tempfile.TemporaryDirectory() as folder:
        poisons = {}
        for name in rates:
            poisons[name] = write_lines(
                Path(folder) / f"{name}.jsonl",
                arguments.documents,
                poisoned=name == "poisoned",
                large=arguments.large and name == "poisoned",
            )
        for _ in range(1 if arguments.large else arguments.turns):
            for name in ["poisoned"] if arguments.large else rates:
                figures = run(Path(folder) / f"{name}.jsonl", arguments.precision)
                print(json.dumps({"run": name, **figures}), flush=True)
                if figures["failures"] != poisons[name]:
                    raise RuntimeError(f"{figures['failures']:.0f} failures, where {poisons[name]} lines are poison")
                rates[name].append(figures["results"] / figures["seconds"])
    if not arguments.large:
        clean, poisoned = (statistics.median(rates[name]) for name in rates)
        print(f"{clean:.0f} good documents a second, with 1 % of poison {poisoned:.0f}: {poisoned / clean:.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
