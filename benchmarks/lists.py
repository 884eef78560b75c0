"""Measures lists of a few documents against transformers' pipeline, in one process: ``make bench-lists``.

Each list is read by both in turn, in fp32. The padding is the tokens that the model reads by those of the documents.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rampart import rampart_torch
from benchmarks.subjects import quiet
from benchmarks.texts import documents

_SIZES = (1, 4, 8, 16, 64, 192)
_LEAST_LISTS = 3


def main() -> int:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=200, help="documents of a size's lists (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=_SIZES)
    arguments = parser.parse_args()
    quiet()
    with tempfile.TemporaryDirectory() as scratch:
        subjects = _subjects(str(rampart_torch(Path(scratch) / "rampart")))
    heads = " | ".join(f"{name}, a second" for name in subjects)
    print(f"| documents | {heads} | ratio | padding |\n|---|---|---|---|---|")
    for size in arguments.sizes:
        texts = documents(max(arguments.documents, _LEAST_LISTS * size), seed=size)
        lists = [texts[at : at + size] for at in range(0, len(texts) - size + 1, size)]
        seconds = _turn_about(list(subjects.values()), lists)
        rates = [size / statistics.median(taken) for taken in seconds]
        ratio = sum(seconds[0]) / sum(seconds[1])
        print(f"| {size} | {rates[0]:.0f} | {rates[1]:.0f} | {ratio:.2f} | {_padding(lists):.2f} |", flush=True)
    return 0


def _subjects(checkpoint: str) -> dict[str, Callable[[list[str]], Any]]:
    import transformers

    from transforms import TokenClassifier

    return {
        "transformers": transformers.pipeline("token-classification", model=checkpoint, aggregation_strategy="first"),
        "TokenClassifier": TokenClassifier(checkpoint, precision="fp32", aggregation_strategy="first"),
    }


def _turn_about(subjects: Sequence[Callable[[list[str]], Any]], lists: Sequence[list[str]]) -> list[list[float]]:
    """Return the seconds of each subject for each list; the first list only warms up."""
    seconds: list[list[float]] = [[] for _ in subjects]
    for number, texts in enumerate([lists[0], *lists]):
        for subject, taken in zip(subjects, seconds, strict=True):
            begin = time.perf_counter()
            subject(list(texts))
            if number:
                taken.append(time.perf_counter() - begin)
    return seconds


def _padding(lists: Sequence[list[str]]) -> float:
    """Return the tokens of the batches by those of the texts."""
    from transforms.inference.batching import padded_length, plan_batches
    from transforms.inference.setup import ModelSetup
    from transforms.settings import HandlerSettings

    setup = ModelSetup.load(HandlerSettings(), weights=False)
    needed = read = 0
    for texts in lists:
        lengths = [len(encoded.ids) + 2 for encoded in setup.tokenization.encode(texts)]
        padded = [padded_length(length) for length in lengths]
        plan = plan_batches(padded, HandlerSettings().max_batch_tokens)
        needed += sum(lengths)
        read += sum(len(batch) * max(padded[position] for position in batch) for batch in plan)
    return read / needed


if __name__ == "__main__":
    raise SystemExit(main())
