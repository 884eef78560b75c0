"""What is measured: each subject loads a model once and then reads texts as often as asked."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

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
            import transformers

            return transformers.pipeline(
                "token-classification", model=checkpoint, aggregation_strategy="first", device="cpu"
            )

        def run_inference(self, batch: Sequence[str], model: Any, inference_args: Any = None) -> Iterable[Any]:
            return model(list(batch))

    def read(texts: Sequence[str]) -> None:
        with beam.Pipeline() as pipeline:
            _ = pipeline | beam.Create(list(texts)) | RunInference(Handler())

    return read


def classifier(model: str, engine: str, precision: str) -> Reader:
    """`TokenClassifier`, in process."""
    from transforms import TokenClassifier

    return TokenClassifier(model, aggregation_strategy="first", engine=engine, precision=precision)


def program(model: str, engine: str, precision: str) -> Reader:
    """The whole program, from a JSONL file to JSONL files, on the DirectRunner in this process."""
    from pipeline.run import main

    folder = Path(tempfile.mkdtemp())

    def read(texts: Sequence[str]) -> None:
        source = folder / f"in-{len(texts)}.jsonl"
        if not source.exists():
            source.write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)))
        flags = [f"--input={source}", f"--output={folder}/out/x", f"--model={model}", "--aggregation_strategy=first"]
        if main([*flags, f"--engine={engine}", f"--precision={precision}"]) != 0:
            raise RuntimeError("the program failed")

    return read


def subjects(torch_checkpoint: str) -> dict[str, Callable[[], Reader]]:
    """All subjects by name; the first is what the others are held against."""
    ours = partial(partial, classifier)
    return {
        "transformers, its defaults": partial(hugging_face, torch_checkpoint, 1),
        "transformers, batch_size=8": partial(hugging_face, torch_checkpoint, 8),
        "transformers, batch_size=32": partial(hugging_face, torch_checkpoint, 32),
        "transformers in Beam's RunInference": partial(hugging_face_in_beam, torch_checkpoint),
        "TokenClassifier, torch fp32": ours(torch_checkpoint, "torch", "fp32"),
        "TokenClassifier, torch bf16": ours(torch_checkpoint, "torch", "bf16"),
        "TokenClassifier, openvino fp32, int4 weights": ours("rampart", "openvino", "fp32"),
        "TokenClassifier, openvino bf16, int4 weights": ours("rampart", "openvino", "bf16"),
        "TokenClassifier, openvino fp32": ours(torch_checkpoint, "openvino", "fp32"),
        "TokenClassifier, openvino bf16": ours(torch_checkpoint, "openvino", "bf16"),
        "program, openvino fp32": partial(program, torch_checkpoint, "openvino", "fp32"),
        "program, openvino bf16": partial(program, torch_checkpoint, "openvino", "bf16"),
    }


def quiet() -> None:
    """Keeps libraries from writing between the figures."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
