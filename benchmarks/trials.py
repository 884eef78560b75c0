"""Measures the choices of this library against the alternatives: ``make trials``.

As in `benchmarks.run`, the choices run in turns, and the figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import fastest_precision, machine, precisions
from benchmarks.texts import documents

RESULTS = Path(__file__).parent / "results"
BUDGETS = (512, 1024, 2048, 4096, 8192)
SORTED_TOGETHER = (1, 16, 64, 256, 1024)

Batch = dict[str, np.ndarray]
Rates = dict[str, float]


def main() -> int:
    """Runs all trials, and writes trials.json and trials.md to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1024, help="documents a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each choice (default: %(default)s)")
    parser.add_argument("--watch", action="store_true", help="measure only what the limit on a batch's time costs")
    arguments = parser.parse_args()

    from benchmarks.rampart import rampart_torch
    from benchmarks.subjects import quiet

    quiet()
    texts = documents(arguments.documents)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = str(rampart_torch(Path(scratch) / "rampart-torch"))
        if arguments.watch:
            rates = watched(checkpoint, texts, arguments.rounds)
            print(f"with a limit on a batch's time, {rates['limit'] / rates['none']:.3f} of the speed without")
            return 0
        results = {
            "machine": machine(),
            "fastest_precision": fastest_precision(),
            "documents": len(texts),
            "rounds": arguments.rounds,
            "batch_tokens": batch_tokens(checkpoint, texts, arguments.rounds),
            "streams": streams(checkpoint, texts, arguments.rounds),
            "sorted_together": sorted_together(checkpoint, texts, arguments.rounds),
        }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "trials.json").write_text(json.dumps(results, indent=1) + "\n")
    (RESULTS / "trials.md").write_text(table(results))
    print(table(results))
    return 0


def batch_tokens(checkpoint: str, texts: list[str], rounds: int) -> dict[str, Rates]:
    """Documents/s by precision and by the most tokens of a batch."""
    from transforms import TokenClassifier

    return {
        precision: _rates(
            {
                str(budget): TokenClassifier(
                    checkpoint, aggregation_strategy="first", engine="openvino", precision=precision,
                    max_batch_tokens=budget,
                )
                for budget in BUDGETS
            },
            texts,
            rounds,
        )
        for precision in precisions()
    }  # fmt: skip


def streams(checkpoint: str, texts: list[str], rounds: int) -> dict[str, Rates]:
    """Documents/s of the model alone: one request with all threads, or several at once."""
    import openvino

    from transforms.checkpoints.resolve import resolve
    from transforms.engines.conversion import converted_model

    path = converted_model(resolve(checkpoint), allow_pickle_weights=False)
    cores = machine()["cores"]
    kinds: dict[str, dict[str, Any]] = {
        "LATENCY, one request": {"PERFORMANCE_HINT": "LATENCY"},
        "LATENCY, not pinned": {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False},
        "THROUGHPUT, AsyncInferQueue": {"PERFORMANCE_HINT": "THROUGHPUT"},
        f"{cores} streams of a thread, AsyncInferQueue": {"NUM_STREAMS": cores, "INFERENCE_NUM_THREADS": cores},
    }
    results = {}
    for precision in ("fp32", "bf16"):
        if precision not in precisions():
            continue
        readers = {}
        hint = {"fp32": "f32", "bf16": "bf16"}[precision]
        for kind, settings in kinds.items():
            model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": hint, **settings})
            readers[kind] = _one_by_one(model) if kind.startswith("LATENCY") else _queued(model)
        results[precision] = _rates(readers, planned_batches(checkpoint, texts), rounds, count=len(texts))
    return results


def _one_by_one(model: Any) -> Callable[[Sequence[Batch]], None]:
    request = model.create_infer_request()

    def run(batches: Sequence[Batch]) -> None:
        for batch in batches:
            request.infer(batch)

    return run


def _queued(model: Any) -> Callable[[Sequence[Batch]], None]:
    import openvino

    queue = openvino.AsyncInferQueue(model)

    def run(batches: Sequence[Batch]) -> None:
        for batch in batches:
            queue.start_async(batch)
        queue.wait_all()

    return run


def planned_batches(checkpoint: str, texts: list[str], budget: int = 2048) -> list[Batch]:
    """Return the library's batches of the texts; long texts are truncated."""
    from transforms.inference.batching import plan_batches
    from transforms.tokenization.registry import read_tokenization

    tokenization = read_tokenization(Path(checkpoint))
    rows = [tokenization.template.input_ids(text.ids[:510]) for text in tokenization.encode(texts)]
    batches = []
    for numbers in plan_batches([len(row) for row in rows], budget):
        shape = len(numbers), max(len(rows[number]) for number in numbers)
        batch = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask", "token_type_ids")}
        for position, number in enumerate(numbers):
            batch["input_ids"][position, : len(rows[number])] = rows[number]
            batch["attention_mask"][position, : len(rows[number])] = 1
        batches.append(batch)
    return batches


def sorted_together(checkpoint: str, texts: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """Return documents/s and the share of padding, by the number of texts that are sorted by length together."""
    from transforms import TokenClassifier

    classify = TokenClassifier(
        checkpoint, aggregation_strategy="first", engine="openvino", precision=fastest_precision()
    )

    def by(size: int) -> Callable[[list[str]], None]:
        def read(texts: list[str]) -> None:
            for begin in range(0, len(texts), size):
                classify(texts[begin : begin + size])

        return read

    rates = _rates({str(size): by(size) for size in SORTED_TOGETHER}, texts, rounds)
    return {
        size: {
            "rate": rate,
            "padding": _padding(
                [
                    batch
                    for begin in range(0, len(texts), int(size))
                    for batch in planned_batches(checkpoint, texts[begin : begin + int(size)])
                ]
            ),
        }
        for size, rate in rates.items()
    }


def watched(checkpoint: str, texts: list[str], rounds: int) -> Rates:
    """Return documents/s with a time limit for batches, which run in their own thread, and without a limit."""
    from transforms import TokenClassifier

    return _rates(
        {
            kind: TokenClassifier(
                checkpoint, aggregation_strategy="first", engine="openvino", precision=fastest_precision(),
                batch_timeout_seconds=seconds,
            )
            for kind, seconds in (("none", 0), ("limit", 600))
        },
        texts,
        rounds,
    )  # fmt: skip


def _padding(batches: Sequence[Batch]) -> float:
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    return 1 - tokens / sum(batch["attention_mask"].size for batch in batches)


def _rates(readers: dict[str, Any], inputs: Any, rounds: int, count: int | None = None) -> Rates:
    """Return the documents/s of each reader: the median of its turns without the first."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for turn in range(rounds + 1):
        for name, read in readers.items():
            begin = time.perf_counter()
            read(inputs)
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    count = len(inputs) if count is None else count
    rates = {name: count / statistics.median(of_reader) for name, of_reader in seconds.items()}
    print(rates, file=sys.stderr)
    return rates


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"{results['documents']} documents, medians of {results['rounds']} turns; "
        f"{results['machine']['cores']} cores of {results['machine']['processor']}; documents/s",
        "",
        f"| tokens of a batch | {' | '.join(str(budget) for budget in BUDGETS)} |",
        "|---|" + "---|" * len(BUDGETS),
        *(
            f"| {precision} | {' | '.join(f'{rate:.0f}' for rate in rates.values())} |"
            for precision, rates in results["batch_tokens"].items()
        ),
        "",
        f"| the model alone | {' | '.join(results['streams'])} |",
        "|---|" + "---|" * len(results["streams"]),
        *(
            f"| {kind} | {' | '.join(f'{rates[kind]:.0f}' for rates in results['streams'].values())} |"
            for kind in results["streams"]["fp32"]
        ),
        "",
        f"| texts sorted together ({results['fastest_precision']}) | documents/s | padding |",
        "|---|---|---|",
        *(f"| {size} | {one['rate']:.0f} | {one['padding']:.0%} |" for size, one in results["sorted_together"].items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
