"""The model behind Beam's RunInference."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import ModelHandler

from transforms.beam.coders import DocumentCoder
from transforms.checkpoints.versions import check_watchable, newest_version
from transforms.classifier.refreshing import RefreshingClassifier
from transforms.classifier.token_classifier import TokenClassifier
from transforms.documents import Document, Failure
from transforms.inference.setup import ModelSetup
from transforms.machine import usable_cores
from transforms.metrics import NAMESPACE
from transforms.pre_entities import PreEntities
from transforms.settings import (
    DEFAULT_BATCH_TIMEOUT_SECONDS,
    DEFAULT_MAX_BATCH_CHARS,
    DEFAULT_MAX_BATCH_TOKENS,
    DEFAULT_MAX_DOCUMENT_CHARS,
    EMBEDDED_MODEL,
    ENGINES,
    LONG_TEXT,
    PRECISIONS,
    SCORES,
    SPECIAL_TOKENS,
    check_choice,
    check_timeout,
)

_CHARS_A_DOCUMENT = 64  # added to each text's length, so that even empty texts fill a batch

Example = Document | str | bytes

_CODER = DocumentCoder()

_logger = logging.getLogger(__name__)

_load_lock = threading.Lock()


@dataclass(frozen=True)
class _Settings:
    """What it takes to load the model; hashable, for a process loads each just once."""

    model: str
    model_revision: str | None
    tokenizer: str | None
    stride: int | None
    long_text: str
    special_tokens: str
    engine: str
    device: str
    precision: str
    max_batch_tokens: int
    batch_timeout_seconds: float
    threads: int | None
    processes: int
    allow_pickle_weights: bool
    model_refresh_seconds: float | None


class TokenClassificationModelHandler(
    ModelHandler[Document, PreEntities | Failure, TokenClassifier | RefreshingClassifier]
):
    """Scores the tokens of documents with a token-classification checkpoint.

    The prediction for a document is its `PreEntities`, or the `Failure` that it became: one for one, in order.
    The device is looked for and the model loaded on the worker, once a process.
    """

    def __init__(
        self,
        model: str = EMBEDDED_MODEL,
        *,
        model_revision: str | None = None,
        tokenizer: str | None = None,
        stride: int | None = None,
        long_text: str = "window",
        special_tokens: str = "text",
        scores: str = "all",
        engine: str = "auto",
        device: str = "auto",
        precision: str = "auto",
        max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS,
        max_batch_chars: int = DEFAULT_MAX_BATCH_CHARS,
        max_batch_wait_ms: int | None = None,
        max_document_chars: int = DEFAULT_MAX_DOCUMENT_CHARS,
        batch_timeout_seconds: float = DEFAULT_BATCH_TIMEOUT_SECONDS,
        threads: int | None = None,
        processes: int = 1,
        allow_pickle_weights: bool = False,
        model_refresh_seconds: float | None = None,
        validate: bool = True,
    ) -> None:
        """Checks the arguments, and the model's configuration and tokenizer; loads no weights.

        Args:
            model: ``rampart`` (the embedded model), a folder, a remote folder or a hub id.
            model_revision: Branch, tag or commit of a hub id.
            tokenizer: Name or folder of another tokenizer than the model's.
            stride: Tokens that two windows of a long text share; None is a quarter of a window.
            long_text: ``window`` reads all of a long text; ``truncate`` stops at the model's length.
            special_tokens: What a special token (``[SEP]``, ``</s>``) is that somebody typed in a text: ``text``, so
                that it changes nothing in what other tokens get; or ``special``, as in Hugging Face.
            scores: Which scores of a token its `PreEntities` keep: those of ``all`` labels; or the ``best``, which
                takes a small part of the memory and is enough for every aggregation strategy but ``average``.
            engine: ``auto``, ``torch`` or ``openvino``.
            device: ``auto``, ``cpu``, ``cuda:0``, ``mps``; as the worker has it.
            precision: ``auto`` (fp32), ``fp32``, ``bf16``, ``fp16`` or ``int8`` (OpenVINO only).
            max_batch_tokens: Bound on the tokens of one call of the model, padding counted.
            max_batch_chars: Bound on the characters that are sorted into such calls together.
            max_batch_wait_ms: In streaming, how long a batch may wait for more documents, across bundles;
                None ends a batch with its bundle. What waits does not hold the watermark back on every runner (on the
                DirectRunner it does not), so that a GroupByKey by event time behind it may take it for late.
            max_document_chars: Characters of a text beyond which its document is a failure.
            batch_timeout_seconds: How long one call of the model may take; a document that takes longer alone is a
                failure. 0 is no limit. See `transforms.watch` for what becomes of a call that hangs.
            threads: Threads on a CPU; None leaves the choice to the engine, or where several processes share a
                machine, is the part of its cores that one has.
            processes: How many processes of a machine load the model; 0 is one for each core.
            allow_pickle_weights: Whether pickled weights may be loaded.
            model_refresh_seconds: How often each process looks whether the model's folder was replaced, and takes the
                new version if that can be used. The model may then be a pattern of folders, of which the newest
                counts; see `transforms.model_refresh`.
            validate: Whether to look at the model here; turn it off where only the workers can reach it.

        Raises:
            ValueError: if an argument is not understood, or does not fit the model.
        """
        super().__init__()
        check_choice("long_text", long_text, LONG_TEXT)
        check_choice("engine", engine, ENGINES)
        check_choice("precision", precision, PRECISIONS)
        check_choice("special_tokens", special_tokens, SPECIAL_TOKENS)
        check_choice("scores", scores, SCORES)
        check_timeout(batch_timeout_seconds)
        least_one = {
            "max_batch_tokens": max_batch_tokens,
            "max_batch_chars": max_batch_chars,
            "max_document_chars": max_document_chars,
        }
        for name, value in least_one.items():
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if processes < 0:
            raise ValueError(f"processes={processes} must be at least 0")
        if model_refresh_seconds is not None:
            if not 0 < model_refresh_seconds < float("inf"):
                raise ValueError(f"model_refresh_seconds={model_refresh_seconds} must be above 0")
            check_watchable(model)
        if validate:
            setup = ModelSetup.load(
                model if model_refresh_seconds is None else newest_version(model).name,
                model_revision=model_revision,
                tokenizer=tokenizer,
                special_tokens=special_tokens,
                weights=False,
                allow_pickle_weights=allow_pickle_weights,
            )
            setup.stride(stride)
        self._settings = _Settings(
            model=model,
            model_revision=model_revision,
            tokenizer=tokenizer,
            stride=stride,
            long_text=long_text,
            special_tokens=special_tokens,
            engine=engine,
            device=device,
            precision=precision,
            max_batch_tokens=max_batch_tokens,
            batch_timeout_seconds=batch_timeout_seconds,
            threads=threads,
            processes=processes,
            allow_pickle_weights=allow_pickle_weights,
            model_refresh_seconds=model_refresh_seconds,
        )
        self._scores = scores
        self._max_batch_chars = max_batch_chars
        self._max_batch_wait_ms = max_batch_wait_ms
        self._max_document_chars = max_document_chars

    def load_model(self) -> TokenClassifier | RefreshingClassifier:
        """The classifier, loaded unless this process has it already."""
        # A runner may set up a worker for every bundle; a lock keeps its threads from loading side by side.
        with _load_lock:
            return _load(self._settings)

    def run_inference(
        self,
        batch: Sequence[Example],
        model: TokenClassifier | RefreshingClassifier,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PreEntities | Failure]:
        """Scores a batch of documents; texts are taken too, and what `encoded` made of either."""
        documents = [_document(example) for example in batch]
        refused = [self._refused(document) for document in documents]
        fine = [document for document, failure in zip(documents, refused, strict=True) if failure is None]
        classified = iter(model.classify(fine, scores=self._scores))
        for name, count in model.take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(count)
        return [next(classified) if failure is None else failure for failure in refused]

    def _refused(self, document: Document) -> Failure | None:
        """The failure of a document that is too long to be read; None of any other."""
        length, limit = len(document.text), self._max_document_chars
        if length <= limit:
            return None
        return Failure.of_document(
            document, f"the text has {length} characters, and max_document_chars={limit} is the limit", "classify"
        )

    def get_num_bytes(self, batch: Sequence[Example]) -> int:
        """Characters of the batch's texts, which is near to their bytes."""
        return sum(map(_length, batch))

    @property
    def batches_across_bundles(self) -> bool:
        """Whether documents wait for their batch in Beam's state."""
        return self._max_batch_wait_ms is not None

    def get_metrics_namespace(self) -> str:
        """Namespace of RunInference's own metrics."""
        return NAMESPACE

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Batches are measured in characters and end with their bundle, or after `max_batch_wait_ms`."""
        bounds: dict[str, Any] = {
            "min_batch_size": self._max_batch_chars,
            "max_batch_size": self._max_batch_chars,
            "element_size_fn": batch_size,
        }
        if self._max_batch_wait_ms is not None:
            bounds["max_batch_duration_secs"] = self._max_batch_wait_ms / 1000
        return bounds


def encoded(example: Document | str) -> bytes:
    """A document as bytes, which the handler takes as well as the document itself."""
    return _CODER.encode(Document.of(example))


def _document(example: Example) -> Document:
    return _CODER.decode(example) if isinstance(example, bytes) else Document.of(example)


def _length(example: Example) -> int:
    return len(example) if isinstance(example, (str, bytes)) else len(example.text)


def batch_size(example: Example | tuple[Any, Example]) -> int:
    """What an example adds to a batch; a `KeyedModelHandler` asks with the key."""
    return _CHARS_A_DOCUMENT + _length(example[1] if isinstance(example, tuple) else example)


def threads_of_a_process(threads: int | None, processes: int) -> int | None:
    """Threads of a process: those asked for, or its part of this machine's cores; None where it has them all.

    Args:
        threads: Those asked for.
        processes: Processes that share the machine; 0 is one for each core.
    """
    if threads is not None or processes == 1:
        return threads
    cores = usable_cores()
    return max(1, cores // (processes or cores))


@functools.lru_cache(maxsize=2)
def _load(settings: _Settings) -> TokenClassifier | RefreshingClassifier:
    begin = time.monotonic()
    arguments = dict(vars(settings))
    seconds = arguments.pop("model_refresh_seconds")
    arguments["threads"] = threads_of_a_process(arguments.pop("threads"), arguments.pop("processes"))
    if arguments["threads"] is not None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(arguments["threads"]))  # the tokenizers' threads
    loaded: TokenClassifier | RefreshingClassifier
    if seconds is None:
        loaded = classifier = TokenClassifier(**arguments)
    else:
        loaded = RefreshingClassifier(arguments.pop("model"), seconds, arguments)
        classifier = loaded.current
    classifier.scorer.counts.add("model_loads")
    _logger.info(
        "loaded model %r, revision %s, in %.1f s: %s on %s in %s, windows of %d tokens",
        settings.model,
        classifier.model_revision,
        time.monotonic() - begin,
        classifier.scorer.engine.name,
        classifier.scorer.engine.device,
        classifier.scorer.engine.precision,
        classifier.window,
    )
    return loaded
