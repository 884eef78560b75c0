"""Measures the cost of a document without the model: the whole graph, from file to file, with a stub for the model.

Each subject runs in its own process:

- `beam`: the model handler returns no tokens. The cost is that of Beam, reading and parsing the record, batching, the
  coders, counting, and writing the result as a line of a file.
- `all but the model`: the real tokenizer, windows, batches and grouping, and an engine that computes nothing. Every
  batch gets the same logits, with an entity in about every ten tokens.
- `beam, dealt out`: as `beam`, but documents are redistributed after reading (`ReadDocuments/Balance`). The program
  does this if there are other workers and one of them has to read a whole file. The DirectRunner holds all documents
  in memory for it, so use fewer: `--subjects beam 'beam, dealt out' --documents 10000 50000`.

``make bench-overhead`` runs the first two over 10^5 and 10^6 documents, and writes overhead.{json,md} in results/.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from benchmarks.machine import machine
from benchmarks.texts import documents
from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.graph import build
from pipeline.io.fields import DocumentFields
from pipeline.io.files.matching import Shard
from pipeline.io.files.read import read_shard
from pipeline.options import NerOptions
from pipeline.runners.selection import batch_runner
from pipeline.summary import Summary
from transforms import Document, PreEntities, TokenClassificationModelHandler, TokenClassifier
from transforms.beam.coders import DocumentCoder
from transforms.machine import peak_mib

RESULTS = Path(__file__).parent / "results"
DEALT_OUT = "beam, dealt out"
SUBJECTS = ("beam", "all but the model", DEALT_OUT)
COUNTS = (100_000, 1_000_000)
_DIFFERENT = 20_000  # texts; more would only take longer to make up
_LABEL_EVERY = 10  # tokens


class NoModel:
    """A classifier that finds no tokens in anything."""

    def __init__(self) -> None:
        (self._nothing,) = TokenClassifier().classify([Document("", "")])
        self._columns = dict(vars(self._nothing))
        del self._columns["document"]

    def classify(self, texts: Sequence[Document], *, scores: str) -> list[PreEntities]:
        """No tokens for each document."""
        return [PreEntities(**self._columns, document=text) for text in texts]

    def take_counts(self) -> dict[str, int]:
        """Return no counts, since there are no batches."""
        return {}


class NoArithmetic:
    """An engine whose logits depend on nothing but a token's place."""

    name, device, precision = "none", "cpu", "fp32"

    def __init__(self, num_labels: int, longest: int) -> None:
        self._logits = np.full((longest, num_labels), -5, np.float32)
        self._logits[:, 0] = 5
        self._logits[::_LABEL_EVERY, 1] = 9

    def logits(self, input_ids: np.ndarray, attention_mask: np.ndarray, token_type_ids: Any) -> np.ndarray:
        """Return the same logits for each row: float32[batch, tokens, labels]."""
        rows, tokens = input_ids.shape
        return np.broadcast_to(self._logits[:tokens], (rows, tokens, self._logits.shape[1]))


class StubHandler(TokenClassificationModelHandler):
    """The program's handler with a stub in the model's place."""

    def __init__(self, subject: str, scores: str) -> None:
        super().__init__(scores=scores)
        self._subject = subject

    def load_model(self) -> Any:
        """The stub, which a process makes once."""
        return _stub(self._subject)


@functools.lru_cache
def _stub(subject: str) -> Any:
    if subject != "all but the model":
        return NoModel()
    classifier = TokenClassifier()
    classifier.scorer.engine = NoArithmetic(len(classifier.id2label), classifier.window)
    return classifier


@dataclass(frozen=True)
class StubConfig(NerConfig):
    """A run with a stub in the model's place."""

    subject: str = "beam"

    def handler(self) -> StubHandler:
        """The stub's handler."""
        return StubHandler(self.subject, self.model.scores)


def records(count: int) -> Iterator[str]:
    """Lines of JSON, each with an id of its own."""
    texts = [json.dumps(text, ensure_ascii=False) for text in documents(min(count, _DIFFERENT))]
    for number, text in enumerate(itertools.islice(itertools.cycle(texts), count)):
        yield f'{{"id": "{number}", "text": {text}}}\n'


def run(subject: str, source: Path, output: Path) -> tuple[Summary, float]:
    """Runs the whole graph over a file on the DirectRunner.

    Args:
        subject: One of `SUBJECTS`.
        source: A file of `records`.
        output: Prefix of the results.

    Returns:
        The run's counts, with the seconds of the pipeline alone, and the processor's seconds in all threads.
    """
    options = parse([f"--input={source}", f"--output={output}", "--aggregation_strategy=first"])
    settings = vars(NerConfig.from_options(options.view_as(NerOptions)))
    config = StubConfig(**{**settings, "balance": subject == DEALT_OUT}, subject=subject)
    pipeline = beam.Pipeline(batch_runner(options), options=options)
    build(pipeline, config)
    config.handler().load_model()
    begin, cpu = time.perf_counter(), time.process_time()
    result = pipeline.run()
    result.wait_until_finish()
    cpu = time.process_time() - cpu
    return Summary.of(result.metrics(), time.perf_counter() - begin), cpu


def shuffled_bytes(source: Path) -> int:
    """Return the bytes of a file's documents in a shuffle, without the keys that distribute them."""
    outcomes = read_shard(Shard(str(source)), "jsonl", DocumentFields())
    return sum(len(DocumentCoder().encode(document)) for document in outcomes if isinstance(document, Document))


def main() -> int:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs=2, default=COUNTS, help="the two numbers of documents")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS[:2], help="which to measure")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default: %(default)s)")
    parser.add_argument("--one", nargs=3, metavar=("SUBJECT", "INPUT", "OUTPUT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        subject, source, output = arguments.one
        summary, cpu = run(subject, Path(source), Path(output))
        told = {**vars(summary), "cpu_seconds": cpu, "peak_mib": peak_mib()}
        if subject == DEALT_OUT:
            told["shuffled"] = shuffled_bytes(Path(source)) / Path(source).stat().st_size
        print(json.dumps(told))
        return 0
    few, many = sorted(arguments.documents)
    with tempfile.TemporaryDirectory() as scratch:
        runs = {
            subject: {str(n): _in_process(subject, n, Path(scratch)) for n in (few, many)}
            for subject in arguments.subjects
        }
    results = {"machine": machine(), "runs": {**_earlier(arguments.results), **runs}}
    arguments.results.mkdir(exist_ok=True)
    (arguments.results / "overhead.json").write_text(json.dumps(results, indent=1) + "\n")
    (arguments.results / "overhead.md").write_text(table(results))
    print(table(results))
    return 0


def _earlier(folder: Path) -> dict[str, Any]:
    """Return the runs of earlier measurements; runs that are measured again replace them."""
    path = folder / "overhead.json"
    return json.loads(path.read_text())["runs"] if path.exists() else {}


def _in_process(subject: str, count: int, scratch: Path) -> dict[str, Any]:
    source = scratch / f"{count}.jsonl"
    if not source.exists():
        with source.open("w") as file:
            file.writelines(records(count))
    output = scratch / "out" / "x"
    command = [sys.executable, "-m", "benchmarks.overhead", "--one", subject, str(source), str(output)]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    if answer["results"] != count or answer["failures"]:
        raise RuntimeError(f"{answer['results']} results and {answer['failures']} failures of {count} documents")
    print(f"{subject}, {count:,}: {1e6 * answer['cpu_seconds'] / count:.1f} µs a document", file=sys.stderr)
    for path in output.parent.iterdir():
        path.unlink()
    return answer


def table(results: dict[str, Any]) -> str:
    """The results in Markdown."""
    kind = results["machine"]
    lines = [
        f"One process on {kind['processor']}, Python {kind['python']}; JSONL to JSONL on the DirectRunner."
        " Microseconds are the processor's, of all threads, which other work on the machine changes little.",
        "",
        "| | documents | seconds | µs a document | each further one | peak memory, MiB | ratio | shuffled / read |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for subject, runs in results["runs"].items():
        few: dict[str, Any] = {}
        for one in runs.values():
            further = f"{further_us(few, one):.1f}" if few else ""
            ratio = f"{one['peak_mib'] / few['peak_mib']:.2f}" if few else ""
            lines.append(
                f"| {subject} | {one['documents']:,} | {one['seconds']:.1f} |"
                f" {1e6 * one['cpu_seconds'] / one['documents']:.1f} | {further} | {one['peak_mib']:.0f} | {ratio} |"
                + (f" {one['shuffled']:.1f} |" if "shuffled" in one else " |")
            )
            few = one
    return "\n".join(lines) + "\n"


def further_us(few: dict[str, Any], many: dict[str, Any]) -> float:
    """Return the processor's microseconds for each further document, without the start of a run."""
    return 1e6 * (many["cpu_seconds"] - few["cpu_seconds"]) / (many["documents"] - few["documents"])


if __name__ == "__main__":
    raise SystemExit(main())
