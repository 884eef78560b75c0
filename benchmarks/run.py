"""Measures transformers, this library and this program on the same documents, in turns: ``make bench``.

Every subject runs in its own process, loads once, and then reads the same documents in each of its turns
(A B C A B C …). The figure is the median of its turns. Absolute figures depend on the machine, so compare the ratios.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.machine import fastest_precision, machine, matrix_peaks, precisions
from benchmarks.process import run_program
from benchmarks.texts import debian_documents, documents
from transforms.machine import peak_mib

RESULTS = Path(__file__).parent / "results"
LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
GROWTH = (1_000, 10_000)
FULL_GROWTH = (*GROWTH, 100_000)
PROGRAM = [f"{what}, openvino {precision}" for precision in ("fp32", "bf16") for what in ("TokenClassifier", "program")]
"""Pairs of subjects: the program does the work of the `TokenClassifier` before it, from file to file."""
DEBIAN = ["transformers, its defaults", "TokenClassifier, openvino fp32", "TokenClassifier, openvino bf16"]
"""Subjects that read Debian's texts too."""


def main() -> int:
    """Runs everything, and writes results.json, a table and plots to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=600, help="documents a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each subject (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="let the growth go to 100,000 documents")
    arguments = parser.parse_args()

    from benchmarks.rampart import rampart_torch
    from benchmarks.report import write_report
    from benchmarks.subjects import quiet, subjects

    quiet()
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = str(rampart_torch(Path(scratch) / "rampart-torch"))
        texts = documents(arguments.documents)
        results: dict[str, Any] = {
            "machine": machine(),
            "precisions": precisions(),
            "documents": len(texts),
            "rounds": arguments.rounds,
            "peak_gflops": matrix_peaks(),
            "subjects": turn_about(list(subjects(checkpoint)), checkpoint, texts, arguments.rounds),
            "agreement": agreement(checkpoint, texts),
            "program": against_itself(checkpoint, 4 * arguments.documents, arguments.rounds),
            "debian": debian(checkpoint, arguments.documents, arguments.rounds),
            "grouping": grouping(texts),
            "lengths": by_length(checkpoint),
            "growth": growth(FULL_GROWTH if arguments.full else GROWTH),
        }
        results["gflop_per_document"] = gflop_per_document(checkpoint, texts)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    write_report(results, RESULTS)
    print((RESULTS / "table.md").read_text())
    return 0


def turn_about(names: list[str], checkpoint: str, texts: list[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Return the seconds of each subject's turns, its seconds to the first result and its peak memory in MiB.

    Subjects with a precision that this machine does not support are left out.
    """
    from benchmarks.subjects import runs_here

    names = list(filter(runs_here, names))
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name in names:
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(name, checkpoint, theirs))
        process.start()
        theirs.close()  # so that the end of the process is noticed
        workers[name] = (process, ours, ours.recv())  # one after the other: loading is measured too
        print(f"{name}: first result after {workers[name][2]:.1f} s", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(rounds):
        for name, (_, connection, _) in workers.items():
            connection.send(texts)
            seconds[name].append(connection.recv())
            print(f"turn {turn + 1}, {name}: {len(texts) / seconds[name][-1]:.0f} documents/s", file=sys.stderr)
    results = {}
    for name, (process, connection, first) in workers.items():
        connection.send(None)
        results[name] = {"seconds": seconds[name], "first_result_s": first, "peak_mib": connection.recv()}
        process.join()
    return results


def _serve(name: str, checkpoint: str, connection: Connection) -> None:
    begin = time.perf_counter()
    from benchmarks.subjects import quiet, subjects

    quiet()
    read = subjects(checkpoint)[name]()
    read(["My name is Ann Smith."])
    connection.send(time.perf_counter() - begin)
    read(documents(16, seed=1))
    while (texts := connection.recv()) is not None:
        connection.send(_seconds(lambda texts=texts: read(texts)))
    connection.send(peak_mib())


def agreement(checkpoint: str, texts: list[str]) -> dict[str, float]:
    """Share of tokens with the label that PyTorch gives in fp32."""
    from benchmarks.subjects import runs_here

    reference = _labels(checkpoint, "torch", "fp32", texts)
    kinds = {
        "torch bf16": (checkpoint, "torch", "bf16"),
        "openvino fp32": (checkpoint, "openvino", "fp32"),
        "openvino int8": (checkpoint, "openvino", "int8"),
        "openvino bf16": (checkpoint, "openvino", "bf16"),
        "rampart's own ONNX, fp32": ("rampart", "openvino", "fp32"),
        "rampart's own ONNX, bf16": ("rampart", "openvino", "bf16"),
    }
    return {name: float((_labels(*kind, texts) == reference).mean()) for name, kind in kinds.items() if runs_here(name)}


def against_itself(checkpoint: str, count: int, rounds: int) -> dict[str, Any]:
    """Compares the program with the `TokenClassifier`, on more documents, since its start takes half a second."""
    return {"documents": count, "subjects": turn_about(PROGRAM, checkpoint, documents(count), rounds)}


def debian(checkpoint: str, count: int, rounds: int) -> dict[str, Any] | None:
    """Compares `DEBIAN` on texts of Debian's packages; None if there are too few texts."""
    texts = debian_documents(count)
    if len(texts) < count:
        return None
    reference = _labels(checkpoint, "torch", "fp32", texts)
    return {
        "documents": len(texts),
        "subjects": turn_about(DEBIAN, checkpoint, texts, rounds),
        "agreement": {
            f"openvino {precision}": float((_labels(checkpoint, "openvino", precision, texts) == reference).mean())
            for precision in ("fp32", "bf16")
            if precision in precisions()
        },
    }


def _labels(model: str, engine: str, precision: str, texts: list[str]) -> Any:
    import numpy as np

    from transforms import Document, PreEntities, TokenClassifier

    scored = TokenClassifier(model, engine=engine, precision=precision).classify([Document("", text) for text in texts])
    return np.concatenate([one.scores.argmax(axis=1) for one in scored if isinstance(one, PreEntities)])


def grouping(texts: list[str]) -> dict[str, float]:
    """Microseconds a document that GroupEntities' function takes, by strategy; the median of five passes."""
    from transforms import AggregationStrategy, Document, PreEntities, TokenClassifier
    from transforms.aggregation.rules import EntityRules
    from transforms.beam.ner import group_document

    scored = TokenClassifier().classify([Document("", text) for text in texts])
    predictions = [one for one in scored if isinstance(one, PreEntities)]
    return {
        strategy.value: 1e6
        / len(predictions)
        * statistics.median(
            _seconds(lambda rules=rules: [group_document(one, rules) for one in predictions]) for _ in range(5)
        )
        for strategy, rules in ((strategy, EntityRules.of(strategy)) for strategy in AggregationStrategy)
    }


def by_length(checkpoint: str, tokens: int = 16_384) -> dict[str, dict[str, float]]:
    """Tokens/s of documents of one length, all of them read; in windows where they are longer than the model's."""
    from benchmarks.subjects import classifier
    from transforms.tokenization.registry import read_tokenization

    whole = " ".join(documents(2000, seed=2))
    encoded = read_tokenization(Path(checkpoint)).encode([whole])[0]
    results: dict[str, dict[str, float]] = {}
    for precision in ("fp32", "bf16"):
        if precision not in precisions():
            continue
        read = classifier(checkpoint, "openvino", precision)
        results[precision] = {}
        for length in LENGTHS:
            ends = encoded.end[length - 1 : tokens : length]
            starts = encoded.start[0:tokens:length]
            texts = [whole[start:end] for start, end in zip(starts, ends, strict=False)]
            read(texts[:2])
            results[precision][str(length)] = length * len(texts) / _seconds(lambda read=read, texts=texts: read(texts))
    return results


def growth(counts: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Seconds and peak MiB of the program as a process of its own, in bf16 if there is any, by number of documents."""
    results = {}
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "in.jsonl"
            source.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents(count)))
            _, seconds, peak = run_program(source, fastest_precision())
            results[str(count)] = {"seconds": seconds, "peak_mib": peak}
            print(f"{count} documents: {results[str(count)]}", file=sys.stderr)
    return results


def gflop_per_document(checkpoint: str, texts: list[str]) -> float:
    """Multiplications and additions of the model's matrices for a document on average, padding left out."""
    from transforms.tokenization.registry import read_tokenization

    config = json.loads((Path(checkpoint) / "config.json").read_text())
    hidden, layers, inner = config["hidden_size"], config["num_hidden_layers"], config["intermediate_size"]
    weights = layers * (4 * hidden**2 + 2 * hidden * inner) + hidden * len(config["id2label"])
    lengths = [len(one.ids) + 2 for one in read_tokenization(Path(checkpoint)).encode(texts)]
    return sum(2 * weights * length + 4 * layers * hidden * length**2 for length in lengths) / len(texts) / 1e9


def _seconds(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
