"""The model handler for Beam's RunInference."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
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
from transforms.settings import EMBEDDED_MODEL, HandlerSettings, ModelSettings, check_names, takes_settings

_CHARS_A_DOCUMENT = 64  # added to each text's length, so that even empty texts fill a batch

Example = Document | str | bytes

_CODER = DocumentCoder()

_logger = logging.getLogger(__name__)

_load_lock = threading.Lock()


class TokenClassificationModelHandler(
    ModelHandler[Document, PreEntities | Failure, TokenClassifier | RefreshingClassifier]
):
    """Scores the tokens of documents with a token-classification checkpoint.

    The prediction for a document is its `PreEntities`, or its `Failure`: one for each document, in order. The worker
    selects the device and loads the model, once a process.
    """

    @takes_settings(HandlerSettings)
    def __init__(self, model: str = EMBEDDED_MODEL, *, validate: bool = True, **settings: Any) -> None:
        """Checks the arguments, and the model's configuration and tokenizer; loads no weights.

        Args:
            model: ``rampart`` (the embedded model), a folder, a remote folder or a hub id.
            validate: Whether to check the model here. Turn it off if only the workers can reach the model.
            **settings: Other fields of `transforms.settings.HandlerSettings`; its docstring lists them.

        Raises:
            ValueError: if an argument is invalid, or does not fit the model.
        """
        super().__init__()
        check_names(settings, HandlerSettings, own=["model", "validate"])
        self._settings = HandlerSettings(model=model, **settings)
        refreshes = self._settings.model_refresh_seconds is not None
        if refreshes:
            check_watchable(model)
        if validate:
            newest = newest_version(model).name if refreshes else model
            setup = ModelSetup.load(replace(self._settings, model=newest), weights=False)
            setup.stride(self._settings.stride)

    @classmethod
    def of(cls, settings: HandlerSettings) -> TokenClassificationModelHandler:
        """Return a handler for settings that were already checked against the model."""
        handler = cls.__new__(cls)
        ModelHandler.__init__(handler)
        handler._settings = settings
        return handler

    def load_model(self) -> TokenClassifier | RefreshingClassifier:
        """Return the classifier, loaded at the first call in a process."""
        # A runner may set up a worker for each bundle. The lock prevents its threads from loading at the same time.
        with _load_lock:
            return _load(self._settings)

    def run_inference(
        self,
        batch: Sequence[Example],
        model: TokenClassifier | RefreshingClassifier,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PreEntities | Failure]:
        """Scores a batch of documents. An example may also be a text, or the bytes that `encoded` returned."""
        documents = [_document(example) for example in batch]
        refused = [self._refused(document) for document in documents]
        fine = [document for document, failure in zip(documents, refused, strict=True) if failure is None]
        classified = iter(model.classify(fine, scores=self._settings.scores))
        for name, count in model.take_counts().items():
            Metrics.counter(NAMESPACE, name).inc(count)
        return [next(classified) if failure is None else failure for failure in refused]

    def _refused(self, document: Document) -> Failure | None:
        """Return the failure of a document that is too long; None for any other document."""
        length, limit = len(document.text), self._settings.max_document_chars
        if length <= limit:
            return None
        return Failure.of_document(
            document, f"the text has {length} characters, more than max_document_chars={limit}", "classify"
        )

    def get_num_bytes(self, batch: Sequence[Example]) -> int:
        """Return the number of characters of the batch's texts, which approximates their bytes."""
        return sum(map(_length, batch))

    @property
    def batches_across_bundles(self) -> bool:
        """True if documents wait for their batch in Beam's state."""
        return self._settings.max_batch_wait_ms is not None

    def get_metrics_namespace(self) -> str:
        """Return the namespace of RunInference's own metrics."""
        return NAMESPACE

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Return the limits of a batch. Its size is in characters; it ends with its bundle or after a wait.

        The wait is `max_batch_wait_ms`, if that is set.
        """
        bounds: dict[str, Any] = {
            "min_batch_size": self._settings.max_batch_chars,
            "max_batch_size": self._settings.max_batch_chars,
            "element_size_fn": batch_size,
        }
        if self._settings.max_batch_wait_ms is not None:
            bounds["max_batch_duration_secs"] = self._settings.max_batch_wait_ms / 1000
        return bounds


def encoded(example: Document | str) -> bytes:
    """Return a document as bytes, which the handler accepts too."""
    return _CODER.encode(Document.of(example))


def _document(example: Example) -> Document:
    return _CODER.decode(example) if isinstance(example, bytes) else Document.of(example)


def _length(example: Example) -> int:
    return len(example) if isinstance(example, (str, bytes)) else len(example.text)


def batch_size(example: Example | tuple[Any, Example]) -> int:
    """Return the size that an example adds to a batch. A `KeyedModelHandler` passes a pair of key and example."""
    return _CHARS_A_DOCUMENT + _length(example[1] if isinstance(example, tuple) else example)


def threads_of_a_process(threads: int | None, processes: int) -> int | None:
    """Return the number of threads of a process: the requested number, or its part of this machine's cores.

    Args:
        threads: The requested number, or None.
        processes: The number of processes that share the machine; 0 is one for each core.

    Returns:
        The number; None if none is requested and the process does not share the machine.
    """
    if threads is not None or processes == 1:
        return threads
    cores = usable_cores()
    return max(1, cores // (processes or cores))


@functools.lru_cache(maxsize=2)
def _load(settings: HandlerSettings) -> TokenClassifier | RefreshingClassifier:
    begin = time.monotonic()
    threads = threads_of_a_process(settings.threads, settings.processes)
    if threads is not None:
        os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizers' threads
    arguments = {field.name: getattr(settings, field.name) for field in fields(ModelSettings)} | {"threads": threads}
    loaded: TokenClassifier | RefreshingClassifier
    if settings.model_refresh_seconds is None:
        loaded = classifier = TokenClassifier(**arguments)
    else:
        loaded = RefreshingClassifier(arguments.pop("model"), settings.model_refresh_seconds, arguments)
        classifier = loaded.current
    classifier.counts.add("model_loads")
    _logger.info(
        "loaded model %r, revision %s, in %.1f s: %s on %s in %s, windows of %d tokens",
        settings.model,
        classifier.model_revision,
        time.monotonic() - begin,
        classifier.engine.name,
        classifier.engine.device,
        classifier.engine.precision,
        classifier.window,
    )
    return loaded
