"""A model that is replaced while documents flow.

`RefreshingClassifier` looks at the model's folder every few seconds from a thread of its own, loads and tries a new
version beside the one that is in use, and swaps the two between two batches. Beam has a way of its own, RunInference
with a side input of model paths, which this does not use: there, a new path is loaded in the middle of a bundle,
once for each thread and with all documents waiting; an exception of that load fails the bundle, and with it the
stream; a folder whose content is replaced is the same path, and so goes unnoticed; the first documents wait for the
side input's first value; and it has to be fed by an unbounded source, which not every runner has. A thread is the same
on every runner, and of the stream it touches nothing but the model that the next batch is given.
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
from transforms.metrics import Counts
from transforms.pre_entities import PreEntities

_SETTLES = 1.0
"""Seconds for which a folder must not change before it is read, at the most."""

_logger = logging.getLogger(__name__)


class RefreshingClassifier:
    """Classifies documents with the newest usable version of a model; each batch with one version.

    A version that cannot be loaded, or whose answers make no sense, leaves the one in use running: it is logged and
    counted once, and looked at again only when its files change. Safe for concurrent use.
    """

    def __init__(self, model: str, seconds: float, settings: Mapping[str, Any], *, starts: bool = True) -> None:
        """Loads the newest version, and begins to look for newer ones.

        Args:
            model: As for `newest_version`.
            seconds: How often to look.
            settings: The other arguments of `TokenClassifier`.
            starts: Whether to look from a thread; otherwise only `refresh` does.

        Raises:
            ValueError: if there is no version that can be used.
        """
        self._model = model
        self._settings = dict(settings)
        self._counts = Counts()
        self._unlisted = False
        self._seen = newest_version(model)
        self._current = self._loaded(self._seen)
        self._stop = threading.Event()
        if starts:
            look = threading.Thread(
                target=_look, args=(weakref.ref(self), self._stop, seconds), name="model-refresh", daemon=True
            )
            look.start()
            weakref.finalize(self, self._stop.set)

    @property
    def current(self) -> TokenClassifier:
        """The version in use; whoever asks for it keeps it."""
        return self._current

    def classify(self, documents: Sequence[Document], *, scores: str = "all") -> list[PreEntities | Failure]:
        """As `TokenClassifier.classify`."""
        return self._current.classify(documents, scores=scores)

    def take_counts(self) -> dict[str, int]:
        """What happened since the last call: ``model_refreshes``, ``model_refresh_failures``, and what batches did.

        The thread cannot count with Beam, whose counters belong to the bundle that a worker's thread is at.
        """
        return self._counts.take()

    def refresh(self, pause: Callable[[float], Any], settles: float = _SETTLES) -> bool:
        """Looks for a newer version, and takes it if there is one that can be used; whether it did.

        Args:
            pause: Called with the seconds to wait while a change settles; True ends the attempt.
            settles: For how many seconds nothing may change before a version is read.
        """
        try:
            version = newest_version(self._model)
        except ValueError as error:
            self._fails(str(error), again=self._unlisted)
            self._unlisted = True
            return False
        self._unlisted = False
        if version == self._seen or pause(settles) or self._now() != version:
            return False  # the same, or still being written: the next look will tell
        try:
            classifier = self._loaded(version)
        except Exception as error:
            if self._now() != version:
                return False  # it was changed under our hands
            self._seen = version
            self._fails(str(error) if isinstance(error, ValueError) else type(error).__name__)
            return False
        if self._now() != version:
            return False  # it may be made of files of two versions
        self._seen = version
        return self._takes(classifier)

    def _now(self) -> Version | None:
        try:
            return newest_version(self._model)
        except ValueError:
            return None

    def _takes(self, classifier: TokenClassifier) -> bool:
        former, self._current = self._current.model_revision, classifier
        if former == classifier.model_revision:
            return False  # touched, not changed
        self._counts.add("model_refreshes")
        _logger.info("model %r: revision %s takes the place of %s", self._model, classifier.model_revision, former)
        return True

    def _fails(self, problem: str, *, again: bool = False) -> None:
        if again:
            return
        self._counts.add("model_refresh_failures")
        _logger.error(
            "model %r: a new version cannot be used, and revision %s stays: %s",
            self._model,
            self._current.model_revision,
            problem,
        )

    def _loaded(self, version: Version) -> TokenClassifier:
        name = version.name if is_pattern(self._model) else self._model
        checkpoint = _own_copy(
            name, self._settings.get("model_revision"), self._settings.get("allow_pickle_weights", False)
        )
        classifier = TokenClassifier(checkpoint, **self._settings)
        classifier.scorer.counts = self._counts
        return classifier


def _own_copy(name: str, revision: str | None, allow_pickle_weights: bool) -> Checkpoint:
    """A checkpoint in files that nobody will change, with its tokenizer kept for later."""
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
        except Exception as error:  # whatever it is, there will be a next look
            _logger.error("looking for a new version failed: %s", type(error).__name__)
        del classifier  # so that it may be let go of while this thread waits
