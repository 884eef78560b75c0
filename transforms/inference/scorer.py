"""Scores tokenized texts: makes windows and batches, runs the model, and assembles the results of each document."""

from __future__ import annotations

import hashlib
import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from transforms.documents import Document
from transforms.engines.base import Engine, OutOfMemoryError
from transforms.inference.batching import padded_length, plan_batches
from transforms.inference.isolation import run_isolating_failures
from transforms.inference.setup import ModelSetup
from transforms.inference.windows import truncated_bounds, window_bounds
from transforms.labels import dense_labels
from transforms.metrics import Counts
from transforms.pre_entities import ModelInfo, PreEntities, best_of
from transforms.tokenization.encoding import Encoded

# Architectures whose logits depend on the padding after a text, through convolutions, pooling or mixing over positions.
# MobileBERT uses the embeddings of both neighbours of a token.
_SEES_PADDING = frozenset(
    "canine convbert fnet funnel nystromformer reformer longformer big_bird yoso mra mobilebert".split()
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class TokenizedText:
    """A document with the tokens of its text."""

    document: Document
    encoded: Encoded


@dataclass(frozen=True, eq=False)
class _Scores:
    """The buffers for the scores of some tokens.

    Attributes:
        values: The buffer of `PreEntities.scores`.
        label: The buffer of `PreEntities.label`, or None.
    """

    values: np.ndarray
    label: np.ndarray | None

    @classmethod
    def allocate(cls, num_tokens: int, num_labels: int, scores: str) -> _Scores:
        """Return buffers for the scores of `num_tokens` tokens; `scores` is ``all`` or ``best``."""
        if scores == "all":
            return cls(np.empty((num_tokens, num_labels), np.float32), None)
        return cls(np.empty((num_tokens, 1), np.float32), np.empty(num_tokens, np.min_scalar_type(num_labels)))

    def slice(self, start: int, stop: int) -> _Scores:
        """Return the part of the buffers for a range of the tokens; it shares their memory."""
        return _Scores(self.values[start:stop], None if self.label is None else self.label[start:stop])

    def write(self, probabilities: np.ndarray) -> None:
        """Writes probabilities, float32[n_tokens, n_labels], to the buffers."""
        if self.label is None:
            self.values[:] = probabilities
        else:
            self.label[:], self.values[:, 0] = best_of(probabilities)


@dataclass(eq=False)
class _Window:
    """A window of a text. The model's input is built from it when its batch runs.

    Attributes:
        bounds: The half-open range of the text's tokens.
        ids: int32[n], the ids of these tokens.
        kept: int32[n_kept], the positions in the model's input that are not special tokens. Windows may share the
            array.
        length: The minimum length to pad the window to, in tokens.
        scores: The window's part of the text's buffers.
        error: The exception that this window alone raised.
    """

    bounds: tuple[int, int]
    ids: np.ndarray
    kept: np.ndarray
    length: int
    scores: _Scores
    error: BaseException | None = None


@dataclass(frozen=True, eq=False)
class _ScoredText:
    """The windows of a text, and the scores of all windows, one after the other.

    Attributes:
        windows: The windows.
        scores: The scores of their kept tokens.
    """

    windows: list[_Window]
    scores: _Scores

    @property
    def error(self) -> BaseException | None:
        """The first window's exception, if any window raised one."""
        return next((window.error for window in self.windows if window.error), None)


class Scorer:
    """Runs a model over tokenized texts of any length; safe for concurrent use if its engine is.

    Attributes:
        engine: The loaded model.
        counts: The numbers of batches that were split, that timed out, or that did not fit in memory.
    """

    def __init__(self, setup: ModelSetup, engine: Engine, *, max_batch_tokens: int) -> None:
        self.engine = engine
        self.counts = Counts()
        self._setup = setup
        self._tokenization = setup.tokenization
        self._max_batch_tokens = max_batch_tokens
        self._sees_padding = setup.config.model_type in _SEES_PADDING
        self._shortest: int = getattr(setup.config, "downsampling_rate", 1)  # CANINE crashes on shorter inputs
        self._num_labels: int = setup.config.num_labels
        padding = setup.tokenization.tokenizer.pad_token_id
        self._padding: int = 0 if padding is None else padding

    def score(
        self, texts: Sequence[TokenizedText], id2label: Mapping[int, str], stride: int | None, scores: str = "all"
    ) -> list[PreEntities | BaseException]:
        """Return the scored tokens of each text, in order. Texts with the same tokens are run once.

        Args:
            texts: The texts to score.
            id2label: The label of each class id.
            stride: Tokens that neighbouring windows of a long text share; None truncates the text to one window.
            scores: The scores of a token to keep, ``all`` or ``best``.

        Returns:
            For each text, its pre-entities, or the exception that this text alone raised.
        """
        # texts          windows            batches of windows of similar length
        #
        # "Ann ..."  ->  [1][2][3]     ->   {1, 4}  {2, 5}  {3}  ->  each window's rows of its text's scores
        # "Bob ..."  ->  [4][5]
        # "Ann ..."      (the windows of the equal text above)
        scored: dict[bytes, _ScoredText] = {}
        in_order = []
        for text in texts:
            key = hashlib.blake2b(np.ascontiguousarray(text.encoded.ids).data).digest()
            if key not in scored:
                scored[key] = self._unscored(text.encoded.ids, stride, scores)
            in_order.append((text, scored[key]))
        self._score([window for each in scored.values() for window in each.windows])
        model = self._model_info(id2label)
        return run_isolating_failures(
            lambda pairs: [each.error or self._assembled(text, each, model) for text, each in pairs], in_order
        )

    def _model_info(self, id2label: Mapping[int, str]) -> ModelInfo:
        return ModelInfo(
            name=self._setup.checkpoint.name,
            revision=self._setup.checkpoint.revision,
            tokenizer=self._setup.tokenizer_name,
            tokenizer_revision=self._setup.tokenizer_revision,
            labels=dense_labels(id2label, self._num_labels),
            calibration=self._setup.calibration,
        )

    def _unscored(self, ids: np.ndarray, stride: int | None, scores: str) -> _ScoredText:
        """Return the windows of a text, with buffers for their scores."""
        template = self._tokenization.template
        if stride is None:
            room = len(ids) if self._setup.truncated is None else self._setup.truncated - template.num_special
            bounds = truncated_bounds(len(ids), max(1, room), side=self._tokenization.side)
        else:
            bounds = window_bounds(len(ids), self._setup.capacity, stride, side=self._tokenization.side)
        # If scores depend on padding, a text's last window is padded as in Hugging Face: to the longest window.
        content = max(stop - first for first, stop in bounds) if self._sees_padding else 0
        shortest = max(self._shortest, content + template.num_special)
        kept = [self._tokenization.kept_positions(ids[first:stop]) for first, stop in bounds]
        ends = [0, *itertools.accumulate(map(len, kept))]
        # Most of a large text's memory is its scores, so they are written only once, to their final place.
        buffers = _Scores.allocate(ends[-1], self._num_labels, scores)
        windows = [
            _Window(
                bounds=(first, stop),
                ids=ids[first:stop],
                kept=positions,
                length=max(shortest, self._padded(stop - first + template.num_special)),
                scores=buffers.slice(begin, end),
            )
            for (first, stop), positions, (begin, end) in zip(bounds, kept, itertools.pairwise(ends), strict=True)
        ]
        return _ScoredText(windows, buffers)

    def _padded(self, length: int) -> int:
        """Return the length to pad a window to; unchanged if the model's scores depend on padding."""
        return length if self._sees_padding else max(length, min(self._setup.window, padded_length(length)))

    def _score(self, windows: Sequence[_Window]) -> None:
        """Sets the scores of each window's kept tokens, or the window's exception."""
        pending = [window for window in windows if len(window.kept)]
        while pending:
            plan = plan_batches(
                [window.length for window in pending], self._max_batch_tokens, same_length=self._sees_padding
            )
            done: set[int] = set()
            with suppress(OutOfMemoryError):  # the remaining windows are planned again, in smaller batches
                for positions in plan:
                    batch = [pending[position] for position in positions]
                    outcomes = run_isolating_failures(self._forward, batch, self.counts)
                    for window, outcome in zip(batch, outcomes, strict=True):
                        if isinstance(outcome, BaseException):
                            window.error = outcome
                        else:
                            window.scores.write(outcome)
                    done.update(positions)
            pending = [window for position, window in enumerate(pending) if position not in done]

    def _forward(self, windows: Sequence[_Window]) -> list[np.ndarray]:
        shape = len(windows), max(window.length for window in windows)
        input_ids = np.full(shape, self._padding, np.int64)
        attention_mask = np.zeros(shape, np.int64)
        token_type_ids = np.zeros(shape, np.int64) if self._tokenization.uses_token_types else None
        template = self._tokenization.template
        for row, window in enumerate(windows):
            length = len(window.ids) + template.num_special
            input_ids[row, :length] = template.input_ids(window.ids)
            attention_mask[row, :length] = 1
            if token_type_ids is not None:
                token_type_ids[row, :length] = template.token_type_ids(len(window.ids))
        try:
            logits = self.engine.logits(input_ids, attention_mask, token_type_ids)
        except OutOfMemoryError:
            self.counts.add("batches_out_of_memory")
            self._lower_budget(len(windows) * shape[1])
            raise
        if logits.shape[-1] != self._num_labels:
            given, named = logits.shape[-1], self._num_labels
            raise ArithmeticError(
                f"the model returns {given} scores for a token, and its config.json contains {named} labels"
            )
        probabilities = softmax(logits)
        scores = [probabilities[row, window.kept] for row, window in enumerate(windows)]
        if not all(np.isfinite(of_window).all() for of_window in scores):
            raise ArithmeticError("the model's scores are not finite numbers")
        return scores

    def _lower_budget(self, tokens: int) -> None:
        """Limits later batches to half the tokens of a batch that did not fit in memory."""
        if tokens // 2 < self._max_batch_tokens:
            self._max_batch_tokens = max(1, tokens // 2)
            _logger.warning("out of memory with %d tokens; batches are now at most %d", tokens, self._max_batch_tokens)

    def _assembled(
        self,
        text: TokenizedText,
        scored: _ScoredText,
        model: ModelInfo,
    ) -> PreEntities:
        """Return the pre-entities of one text, from its windows."""
        windows = scored.windows
        prefix = len(self._tokenization.template.prefix)
        ids = _joined([window.ids[window.kept - prefix] for window in windows])
        start, end = self._offsets(text.encoded, windows)
        words, is_subword = self._tokenization.words_and_subwords(text.document.text, ids, start, end)
        opens_word = text.encoded.opens_word
        if self._setup.word_boundaries == "tokenizer" and opens_word is not None:
            is_subword = _joined([~opens_word[slice(*window.bounds)][window.kept - prefix] for window in windows])
        first, stop = windows[0].bounds
        return PreEntities(
            scores=scored.scores.values,
            label=scored.scores.label,
            words=words,
            start=start,
            end=end,
            index=_joined([window.kept for window in windows]),
            is_subword=is_subword,
            window_starts=np.cumsum([0, *(len(window.kept) for window in windows[:-1])]),
            window_offsets=np.array([window.bounds[0] for window in windows], np.int64),
            num_tokens=len(text.encoded.ids),
            truncated=len(windows) == 1 and stop - first < len(text.encoded.ids),
            document=text.document,
            model=model,
        )

    def _offsets(self, encoded: Encoded, windows: Sequence[_Window]) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the starts and the ends of the kept tokens of all windows; None twice for a slow tokenizer."""
        prefix = len(self._tokenization.template.prefix)
        starts, ends = [], []
        for window in windows:
            tokens = self._tokenization.window(encoded, *window.bounds)
            if tokens.start is None or tokens.end is None:
                return None, None
            starts.append(tokens.start[window.kept - prefix])
            ends.append(tokens.end[window.kept - prefix])
        return _joined(starts), _joined(ends)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis, computed as in Hugging Face's pipeline: float32, same shape."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
