"""Tokens in, scored tokens out: windows, batches, the model, and each document put together again."""

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
from transforms.inference.isolation import isolated
from transforms.inference.setup import ModelSetup
from transforms.inference.windows import truncated_bounds, window_bounds
from transforms.labels import dense_labels
from transforms.metrics import Counts
from transforms.pre_entities import ModelInfo, PreEntities, best_of
from transforms.tokenization.encoding import Encoded

# Architectures whose logits depend on the padding behind a text, by convolutions, pooling or mixing over positions.
# MobileBERT looks at the embeddings of both neighbours.
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
class _Window:
    """One window of a text; what the model is given of it is made when its turn comes.

    Attributes:
        bounds: Half-open range of the text's tokens that it holds.
        ids: int32[n], these tokens.
        kept: int32[n_kept], positions in the model's input that are no special tokens; may be shared.
        length: Tokens to pad it to, at the least.
    """

    bounds: tuple[int, int]
    ids: np.ndarray
    kept: np.ndarray
    length: int


@dataclass(frozen=True, eq=False)
class _Scores:
    """Where what the model says of some tokens goes.

    Attributes:
        values: As `PreEntities.scores`.
        label: As `PreEntities.label`.
    """

    values: np.ndarray
    label: np.ndarray | None

    @classmethod
    def room(cls, num_tokens: int, num_labels: int, scores: str) -> _Scores:
        """Room for these scores, ``all`` or ``best``, of so many tokens."""
        if scores == "all":
            return cls(np.empty((num_tokens, num_labels), np.float32), None)
        return cls(np.empty((num_tokens, 1), np.float32), np.empty(num_tokens, np.min_scalar_type(num_labels)))

    def part(self, start: int, stop: int) -> _Scores:
        """The same room, for some of the tokens."""
        return _Scores(self.values[start:stop], None if self.label is None else self.label[start:stop])

    def fill(self, probabilities: np.ndarray) -> None:
        """Writes float32[n_tokens, n_labels] to it."""
        if self.label is None:
            self.values[:] = probabilities
        else:
            self.label[:], self.values[:, 0] = best_of(probabilities)


class Scorer:
    """Runs a model over tokenized texts of any length; safe for concurrent use if its engine is.

    Attributes:
        engine: The loaded model.
        counts: How often batches were split, took too long, or did not fit in memory.
    """

    def __init__(self, setup: ModelSetup, engine: Engine, *, max_batch_tokens: int) -> None:
        self.engine = engine
        self.counts = Counts()
        self._setup = setup
        self._tokenization = setup.tokenization
        self._max_batch_tokens = max_batch_tokens
        self._sees_padding = setup.config.model_type in _SEES_PADDING
        self._shortest: int = getattr(setup.config, "downsampling_rate", 1)  # CANINE crashes on less
        self._num_labels: int = setup.config.num_labels
        padding = setup.tokenization.tokenizer.pad_token_id
        self._padding: int = 0 if padding is None else padding

    def score(
        self, texts: Sequence[TokenizedText], id2label: Mapping[int, str], stride: int | None, scores: str = "all"
    ) -> list[PreEntities | BaseException]:
        """The scored tokens of each text, in their order; texts of the same tokens are run once.

        Args:
            texts: What to score.
            id2label: The label of each class id.
            stride: Tokens that neighbouring windows of a long text share; None truncates it to one window.
            scores: Which scores of a token to keep, ``all`` or ``best``.

        Returns:
            Pre-entities, or the exception that this text alone has raised.
        """
        keys = [hashlib.blake2b(np.ascontiguousarray(text.encoded.ids).data).digest() for text in texts]
        windows = {key: self._windows(text.encoded.ids, stride) for key, text in zip(keys, texts, strict=True)}
        # Of a large text, the scores of all labels are most of the memory: they are written where they are to stay.
        rooms = {
            key: _Scores.room(sum(len(window.kept) for window in of_text), self._num_labels, scores)
            for key, of_text in windows.items()
        }
        places = [place for key, of_text in windows.items() for place in _places(of_text, rooms[key])]
        problems = iter(self._score([window for of_text in windows.values() for window in of_text], places))
        problem = {
            key: next(filter(None, [*itertools.islice(problems, len(of_text))]), None)
            for key, of_text in windows.items()
        }
        model = self._model_info(id2label)

        def outcome(number: int) -> PreEntities | BaseException:
            key = keys[number]
            return problem[key] or self._assembled(texts[number], windows[key], rooms[key], model)

        return isolated(lambda numbers: [outcome(number) for number in numbers], range(len(texts)))

    def _model_info(self, id2label: Mapping[int, str]) -> ModelInfo:
        return ModelInfo(
            name=self._setup.checkpoint.name,
            revision=self._setup.checkpoint.revision,
            tokenizer=self._setup.tokenizer_name,
            tokenizer_revision=self._setup.tokenizer_revision,
            labels=dense_labels(id2label, self._num_labels),
        )

    def _windows(self, ids: np.ndarray, stride: int | None) -> list[_Window]:
        if stride is None:
            bounds = truncated_bounds(len(ids), self._setup.capacity, side=self._tokenization.side)
        else:
            bounds = window_bounds(len(ids), self._setup.capacity, stride, side=self._tokenization.side)
        template = self._tokenization.template
        # Where padding matters, a text's last window gets that which Hugging Face gives it.
        content = max(stop - first for first, stop in bounds) if self._sees_padding else 0
        shortest = max(self._shortest, content + template.num_special)
        return [
            _Window(
                bounds=(first, stop),
                ids=ids[first:stop],
                kept=self._tokenization.kept_positions(ids[first:stop]),
                length=max(shortest, self._padded(stop - first + template.num_special)),
            )
            for first, stop in bounds
        ]

    def _padded(self, length: int) -> int:
        """The length that a window of this length is padded to, where that does not matter to the model."""
        return length if self._sees_padding else min(self._setup.window, padded_length(length))

    def _score(self, windows: Sequence[_Window], places: Sequence[_Scores]) -> list[BaseException | None]:
        """Writes the probabilities of the kept tokens of each window to its place.

        Returns:
            For each window what it has raised, if anything.
        """
        problems: list[BaseException | None] = [None] * len(windows)
        pending = [number for number, window in enumerate(windows) if len(window.kept)]
        while pending:
            lengths = [windows[number].length for number in pending]
            plan = plan_batches(lengths, self._max_batch_tokens, same_length=self._sees_padding)
            batches = [[pending[position] for position in batch] for batch in plan]
            done: set[int] = set()
            with suppress(OutOfMemoryError):  # what is left is planned anew, in smaller batches
                for batch in batches:
                    of_batch = isolated(self._forward, [windows[number] for number in batch], self.counts)
                    for number, scores in zip(batch, of_batch, strict=True):
                        if isinstance(scores, BaseException):
                            problems[number] = scores
                        else:
                            places[number].fill(scores)
                    done.update(batch)
            pending = [number for number in pending if number not in done]
        return problems

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
            raise ArithmeticError(f"the model gives a token {given} scores, and its config.json names {named} labels")
        probabilities = softmax(logits)
        scores = [probabilities[row, window.kept] for row, window in enumerate(windows)]
        if not all(np.isfinite(of_window).all() for of_window in scores):
            raise ArithmeticError("the model's scores are not finite numbers")
        return scores

    def _lower_budget(self, tokens: int) -> None:
        """After a batch of so many tokens did not fit, none of more than half is tried again."""
        if tokens // 2 < self._max_batch_tokens:
            self._max_batch_tokens = max(1, tokens // 2)
            _logger.warning("out of memory with %d tokens; batches are now at most %d", tokens, self._max_batch_tokens)

    def _assembled(
        self,
        text: TokenizedText,
        windows: Sequence[_Window],
        scores: _Scores,
        model: ModelInfo,
    ) -> PreEntities:
        """The windows of one text as its pre-entities."""
        prefix = len(self._tokenization.template.prefix)
        ids = _joined([window.ids[window.kept - prefix] for window in windows])
        start, end = self._offsets(text.encoded, windows)
        words, is_subword = self._tokenization.words_and_subwords(text.document.text, ids, start, end)
        first, stop = windows[0].bounds
        return PreEntities(
            scores=scores.values,
            label=scores.label,
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
        """Offsets of the kept tokens of all windows; none if the tokenizer knows none."""
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
    """Probabilities over the last axis, computed as Hugging Face's pipeline does: float32, same shape."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def _places(windows: Sequence[_Window], room: _Scores) -> list[_Scores]:
    """The part of a text's scores that is each window's."""
    if len(windows) == 1:
        return [room]
    stops = np.cumsum([len(window.kept) for window in windows]).tolist()
    return [room.part(start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True)]


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
