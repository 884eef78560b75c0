"""A model that is replaced by newer versions while the pipeline runs.

`RefreshingClassifier` checks the model's folder every few seconds in its own thread. The thread loads and tests a new
version beside the one in use, and swaps the two between two batches:

    thread     |-- check --|-- new version: load, test --| swap
    batches    | old | old | old | old | old | old | old | new | new | ...

Beam's own solution is RunInference with a side input of model paths. It is not used here, because

- it loads a new path in the middle of a bundle, once for each thread, while all documents wait;
- an exception during that load fails the bundle, and with it the stream;
- a folder with replaced content has the same path, so the change is not detected;
- the first documents wait for the side input's first value;
- the side input requires an unbounded source, which not every runner supports.

A thread works the same on every runner. It affects nothing in the stream except the model of the next batch.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from transforms.checkpoints.cache import pin_tokenizer, snapshot
from transforms.checkpoints.files import Checkpoint
from transforms.checkpoints.resolve import resolve
from transforms.checkpoints.versions import Version, is_pattern, newest_version
from transforms.classifier.token_classifier import TokenClassifier
from transforms.documents import Document, Failure
from transforms.engines.base import Engine
from transforms.metrics import Counts
from transforms.pre_entities import PreEntities

_SETTLES = 1.0
"""The time in seconds, at most, for which a folder must not change before it is read."""

_logger = logging.getLogger(__name__)


class RefreshingClassifier:
    """Classifies documents with the newest usable version of a model; each batch with one version.

    If a new version cannot be loaded, or its scores are not valid, the version in use is kept. The failure is logged
    and counted once, and the new version is tried again only after its files change. Safe for concurrent use.
    """

    def __init__(self, model: str, seconds: float, settings: Mapping[str, Any], *, starts: bool = True) -> None:
        """Loads the newest version, and starts to check for newer ones.

        Args:
            model: The model's folder, or a pattern of folders, as for `newest_version`.
            seconds: The time between two checks.
            settings: The other arguments of `TokenClassifier`.
            starts: Whether to check in a thread. Otherwise only `refresh` checks.

        Raises:
            ValueError: if no version can be used.
        """
        self._model = model
        self._settings = dict(settings)
        self._counts = Counts()
        self._unlisted = False
        self._seen = newest_version(model)
        self._current = self._load_version(self._seen)
        self._stop = threading.Event()
        if starts:
            look = threading.Thread(
                target=_look, args=(weakref.ref(self), self._stop, seconds), name="model-refresh", daemon=True
            )
            look.start()
            weakref.finalize(self, self._stop.set)

    @property
    def current(self) -> TokenClassifier:
        """The version in use. A caller can continue to use it after it was replaced."""
        return self._current

    @property
    def engine(self) -> Engine:
        """The engine of the version in use."""
        return self._current.engine

    def classify(self, documents: Sequence[Document], *, scores: str = "all") -> list[PreEntities | Failure]:
        """Classifies documents with the version in use; see `TokenClassifier.classify`."""
        return self._current.classify(documents, scores=scores)

    def take_counts(self) -> dict[str, int]:
        """Return the counts since the last call: ``model_refreshes``, ``model_refresh_failures``, and those of batches.

        The thread cannot use Beam's counters, which belong to the bundle that a worker's thread processes.
        """
        return self._counts.take()

    def refresh(self, pause: Callable[[float], Any], settles: float = _SETTLES) -> bool:
        """Checks for a newer version, and swaps it in if it can be used.

        Args:
            pause: A function that waits for some seconds. If it returns True, the attempt ends.
            settles: The time in seconds for which nothing may change before a version is read.

        Returns:
            True if another version is in use now.
        """
        try:
            version = newest_version(self._model)
        except ValueError as error:
            self._report_failure(str(error), again=self._unlisted)
            self._unlisted = True
            return False
        self._unlisted = False
        if version == self._seen or pause(settles) or self._current_version() != version:
            return False  # the same, or still being written: the next check will find out
        try:
            classifier = self._load_version(version)
        except Exception as error:
            if self._current_version() != version:
                return False  # the files changed during the load
            self._seen = version
            self._report_failure(str(error) if isinstance(error, ValueError) else type(error).__name__)
            return False
        if self._current_version() != version:
            return False  # the loaded files may be of two versions
        self._seen = version
        return self._swap_in(classifier)

    def _current_version(self) -> Version | None:
        try:
            return newest_version(self._model)
        except ValueError:
            return None

    def _swap_in(self, classifier: TokenClassifier) -> bool:
        former, self._current = self._current.model_revision, classifier
        if former == classifier.model_revision:
            return False  # touched, but with the same content
        self._counts.add("model_refreshes")
        _logger.info("model %r: revision %s replaces %s", self._model, classifier.model_revision, former)
        return True

    def _report_failure(self, problem: str, *, again: bool = False) -> None:
        if again:
            return
        self._counts.add("model_refresh_failures")
        _logger.error(
            "model %r: a new version cannot be used, so revision %s is kept: %s",
            self._model,
            self._current.model_revision,
            problem,
        )

    def _load_version(self, version: Version) -> TokenClassifier:
        name = version.name if is_pattern(self._model) else self._model
        checkpoint = _own_copy(
            name, self._settings.get("model_revision"), self._settings.get("allow_pickle_weights", False)
        )
        classifier = TokenClassifier(checkpoint, **self._settings)
        classifier.counts = self._counts
        return classifier


def _own_copy(name: str, revision: str | None, allow_pickle_weights: bool) -> Checkpoint:
    """Return a checkpoint whose files will not change, with a cached copy of its tokenizer."""
    checkpoint = resolve(name, revision, allow_pickle_weights=allow_pickle_weights)
    if "://" not in name:
        folder = snapshot(checkpoint.folder)
        checkpoint = Checkpoint(name, folder.name, folder)
    return replace(checkpoint, tokenizer_revision=pin_tokenizer(checkpoint.folder))


def _look(reference: weakref.ref[RefreshingClassifier], stop: threading.Event, seconds: float) -> None:
    while not stop.wait(seconds):
        classifier = reference()
        if classifier is None:
            return
        try:
            classifier.refresh(stop.wait, min(seconds, _SETTLES))
        except Exception as error:  # of any kind: the next check retries
            _logger.error("checking for a new version failed: %s", type(error).__name__)
        del classifier  # so that it can be freed while this thread waits
