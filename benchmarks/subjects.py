"""The subjects of measurement: each loads a model once and then reads texts as often as asked."""

from __future__ import annotations

import json
import logging
import multiprocessing
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.machine import precisions

SPACY_PYTHON = Path(".venv-spacy/bin/python")
"""The Python of an environment with spaCy and its model, from ``make bench-spacy``; without it spaCy is left out."""

Reader = Callable[[Sequence[str]], Any]


def hugging_face(checkpoint: str, batch_size: int) -> Reader:
    """Transformers' own pipeline."""
    import transformers

    pipeline = transformers.pipeline(
        "token-classification", model=checkpoint, aggregation_strategy="first", device="cpu"
    )
    return lambda texts: pipeline(list(texts), batch_size=batch_size)


def hugging_face_in_beam(checkpoint: str) -> Reader:
    """Transformers' pipeline as Beam's own handler calls it: with each batch of BatchElements, inside RunInference."""
    import apache_beam as beam
    from apache_beam.ml.inference.base import ModelHandler, RunInference

    class Handler(ModelHandler[str, Any, Any]):
        def load_model(self) -> Any:
            """Return the pipeline."""
            import transformers

            return transformers.pipeline(
                "token-classification", model=checkpoint, aggregation_strategy="first", device="cpu"
            )

        def run_inference(self, batch: Sequence[str], model: Any, inference_args: Any = None) -> Iterable[Any]:
            """Return the pipeline's results for a batch."""
            return model(list(batch))

    def read(texts: Sequence[str]) -> None:
        with beam.Pipeline("FnApiRunner") as pipeline:  # as the program
            _ = pipeline | beam.Create(list(texts)) | RunInference(Handler())

    return read


def classifier(model: str, engine: str, precision: str) -> Reader:
    """`TokenClassifier`, in process."""
    from transforms import TokenClassifier

    return TokenClassifier(model, aggregation_strategy="first", engine=engine, precision=precision)


def program(model: str, engine: str, precision: str, *flags: str) -> Reader:
    """The whole program, from a JSONL file to JSONL files, on the DirectRunner: in this process, or as flags set."""
    from pipeline.run import main

    folder = Path(tempfile.mkdtemp())

    def read(texts: Sequence[str]) -> None:
        source = folder / f"in-{len(texts)}.jsonl"
        if not source.exists():
            source.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
        ends = [f"--input={source}", f"--output={folder}/out/x", f"--model={model}", "--aggregation_strategy=first"]
        if main([*ends, f"--engine={engine}", f"--precision={precision}", *flags]) != 0:
            raise RuntimeError("the program failed")

    return read


class InProcesses:
    """`TokenClassifier` in several processes, each with its part of the texts and a core of its own."""

    def __init__(self, model: str, engine: str, precision: str, processes: int) -> None:
        settings = {"aggregation_strategy": "first", "engine": engine, "precision": precision, "threads": 1}
        context = multiprocessing.get_context("spawn")
        # Not a ProcessPoolExecutor, whose processes may wait for each other at their end.
        self._pool = context.Pool(processes, initializer=_load_classifier, initargs=(model, settings))
        self._processes = processes

    def __call__(self, texts: Sequence[str]) -> None:
        """Reads the texts in all processes."""
        parts = [texts[number :: self._processes] for number in range(self._processes)]
        self._pool.map(_classify, list(filter(None, parts)), chunksize=1)


_classifier: Reader | None = None


def _load_classifier(model: str, settings: dict[str, Any]) -> None:
    global _classifier
    from transforms import TokenClassifier

    quiet()
    _classifier = TokenClassifier(model, **settings)


def _classify(texts: Sequence[str]) -> None:
    if _classifier is None:
        raise RuntimeError("this process has no classifier")
    _classifier(list(texts))


class Spacy:
    """spaCy's small English pipeline, NER only, in an environment of its own."""

    def __init__(self, processes: int) -> None:
        script = Path(__file__).parent / "rival_spacy.py"
        self._child = subprocess.Popen(
            [str(SPACY_PYTHON), str(script), str(processes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, texts: Sequence[str]) -> None:
        """Reads the texts in spaCy's process."""
        if self._child.stdin is None or self._child.stdout is None:
            raise RuntimeError("spaCy's process has no pipes")
        self._child.stdin.write(json.dumps(list(texts)) + "\n")
        self._child.stdin.flush()
        if not self._child.stdout.readline():
            raise RuntimeError("spaCy's process has ended")


def precision_of(name: str) -> str:
    """Return the precision that a subject's name contains, else fp32."""
    return next((precision for precision in ("bf16", "int8") if precision in name), "fp32")


def runs_here(name: str) -> bool:
    """Return whether a subject computes in the precision of its name; PyTorch does, on any processor."""
    return "torch" in name or precision_of(name) in precisions()


def subjects(torch_checkpoint: str) -> dict[str, Callable[[], Reader]]:
    """Return all subjects by name; the others are compared with the first."""
    ours = partial(partial, classifier)
    cores = multiprocessing.cpu_count()
    workers = ("--direct_running_mode=multi_processing", f"--direct_num_workers={cores}")
    rivals = {
        "spaCy en_core_web_sm, NER only": partial(Spacy, 1),
        f"spaCy en_core_web_sm, NER only, {cores} processes": partial(Spacy, cores),
    }
    return {
        "transformers, its defaults": partial(hugging_face, torch_checkpoint, 1),
        "transformers, batch_size=8": partial(hugging_face, torch_checkpoint, 8),
        "transformers, batch_size=32": partial(hugging_face, torch_checkpoint, 32),
        "transformers in Beam's RunInference": partial(hugging_face_in_beam, torch_checkpoint),
        "TokenClassifier, torch fp32": ours(torch_checkpoint, "torch", "fp32"),
        "TokenClassifier, torch bf16": ours(torch_checkpoint, "torch", "bf16"),
        "TokenClassifier, rampart's own ONNX, fp32": ours("rampart", "openvino", "fp32"),
        "TokenClassifier, rampart's own ONNX, bf16": ours("rampart", "openvino", "bf16"),
        "TokenClassifier, openvino fp32": ours(torch_checkpoint, "openvino", "fp32"),
        "TokenClassifier, openvino int8": ours(torch_checkpoint, "openvino", "int8"),
        "TokenClassifier, openvino bf16": ours(torch_checkpoint, "openvino", "bf16"),
        f"TokenClassifier, openvino bf16, {cores} processes": partial(
            InProcesses, torch_checkpoint, "openvino", "bf16", cores
        ),
        "program, openvino fp32": partial(program, torch_checkpoint, "openvino", "fp32"),
        "program, openvino bf16": partial(program, torch_checkpoint, "openvino", "bf16"),
        f"program, openvino bf16, {cores} processes": partial(program, torch_checkpoint, "openvino", "bf16", *workers),
        **(rivals if SPACY_PYTHON.exists() else {}),
    }


def quiet() -> None:
    """Keeps libraries from writing between the figures."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
