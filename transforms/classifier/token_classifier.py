"""The token classifier: finds entities in texts, without Beam."""

from __future__ import annotations

import copy
import functools
import itertools
import operator
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from transforms.aggregation.rules import EntityRules
from transforms.aggregation.settings import EntitySettings
from transforms.aggregation.strategies import AggregationStrategy
from transforms.checkpoints.files import Checkpoint
from transforms.classifier.arguments import Offsets, TokenClassificationArgumentHandler, resolve_strategy
from transforms.classifier.pipeline_methods import PipelineSteps, as_dict
from transforms.documents import Document, Failure
from transforms.engines.base import BatchTimeoutError, Engine
from transforms.engines.loading import load_engine
from transforms.engines.timeouts import CallTimeout, WatchedEngine
from transforms.errors import ArgumentError, first_line
from transforms.inference.isolation import run_isolating_failures
from transforms.inference.scorer import Scorer, TokenizedText
from transforms.inference.setup import ModelSetup
from transforms.metrics import Counts
from transforms.pre_entities import PreEntities
from transforms.settings import (
    EMBEDDED_MODEL,
    ModelSettings,
    Scores,
    check_choice,
    check_names,
    taken_from,
    takes_settings,
)
from transforms.tokenization.encoding import Encoded

_IN_PROCESS: dict[str, Any] = {  # as in Hugging Face
    "special_tokens": "special",
    "batch_timeout_seconds": 0,
    "tagging_scheme": "hf",
}
_STREAM_CHUNK = 1024  # texts taken at a time from an iterator


class TokenClassifier(PipelineSteps):
    """Finds entities with a token-classification checkpoint, as `transformers.TokenClassificationPipeline` does.

    It can be pickled and copied; the model is then loaded again.

    Example:
        >>> classify = TokenClassifier("rampart", aggregation_strategy="first")
        >>> for entity in classify("Ann Smith lives in London."):
        ...     print(entity["entity_group"], entity["word"], entity["start"], entity["end"], round(entity["score"], 2))
        GIVEN_NAME ann 0 3 0.99
        SURNAME smith 4 9 0.99
        CITY london 19 25 0.95

    Attributes:
        id2label: The label of each class id; may be replaced.
        tokenization: The tokenizer.
        scorer: The scorer, which runs the model.
        window: The number of tokens of a window, special tokens counted.
    """

    @takes_settings(EntitySettings, ModelSettings, **_IN_PROCESS)
    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint = EMBEDDED_MODEL,
        *,
        tokenizer: Any = None,
        aggregation_strategy: str | AggregationStrategy | None = "none",
        ignore_labels: Collection[str] | None = ("O",),
        device: Any = "auto",
        grouped_entities: bool | None = None,
        ignore_subwords: bool | None = None,
        **settings: Any,
    ) -> None:
        """Loads the model and its tokenizer.

        Args:
            model: ``rampart`` (the embedded model), a folder, a remote folder or a hub id; or a checkpoint.
            tokenizer: The name or folder of a tokenizer to use instead of the model's; or a tokenizer of transformers.
            aggregation_strategy: ``none`` (or None), ``simple``, ``first``, ``average`` or ``max``.
            ignore_labels: Labels (``none``) or entity groups (other strategies) to leave out. None means ``("O",)``,
                and a string is one label.
            device: ``auto`` (or None), ``cpu``, ``cuda:0``, ``mps``; a number is a CUDA device, -1 the CPU.
            grouped_entities: Deprecated; True means ``simple``.
            ignore_subwords: Deprecated; True with `grouped_entities` means ``first``.
            **settings: Other fields of `transforms.settings.ModelSettings` and of
                `transforms.aggregation.settings.EntitySettings`. Three defaults differ here, as in Hugging Face:
                ``special_tokens="special"``, ``batch_timeout_seconds=0`` and ``tagging_scheme="hf"``. If `stride` is
                set, ``long_text="truncate"`` has no effect, and a long text is read in windows.

        Raises:
            ValueError: if an argument is invalid, or does not fit the model.
        """
        self._made_with = {
            "model": model,
            "tokenizer": tokenizer,
            "aggregation_strategy": aggregation_strategy,
            "ignore_labels": ignore_labels,
            "device": device,
            "grouped_entities": grouped_entities,
            "ignore_subwords": ignore_subwords,
            **settings,
        }
        strategy = resolve_strategy(
            "none" if aggregation_strategy is None else aggregation_strategy, grouped_entities, ignore_subwords
        )
        check_names(settings, EntitySettings, ModelSettings, own=self._made_with)
        settings = {**_IN_PROCESS, **settings}
        self._rules = EntityRules.of(strategy, ignore_labels=ignore_labels, **taken_from(settings, EntitySettings))
        checkpoint = model if isinstance(model, Checkpoint) else None
        is_named = isinstance(tokenizer, (str, os.PathLike))
        chosen = ModelSettings(
            model=checkpoint.name if checkpoint else model,  # type: ignore[arg-type]
            tokenizer=tokenizer if is_named else None,
            device=_device_name(device),
            **settings,
        )
        setup = ModelSetup.load(chosen, checkpoint=checkpoint, tokenizer=None if is_named else tokenizer)
        setup.check_rules(self._rules)
        self._setup = setup
        overlap = setup.stride(chosen.stride)
        self._stride = None if chosen.long_text == "truncate" and chosen.stride is None else overlap
        self._calibration = setup.calibration
        self._arguments = TokenClassificationArgumentHandler()
        self.tokenization = setup.tokenization
        self.window = setup.window
        self.id2label: Mapping[int, str] = dict(setup.config.id2label)
        load = functools.partial(load_engine, setup.checkpoint, chosen, token_types=setup.tokenization.uses_token_types)
        self._reads_words = setup.word_boundaries == "tokenizer"
        self._watch = CallTimeout(chosen.batch_timeout_seconds) if chosen.batch_timeout_seconds else None
        loaded = WatchedEngine(load, self._watch) if self._watch else load()
        self.scorer = Scorer(setup, loaded, max_batch_tokens=chosen.max_batch_tokens)
        check_answers(self, setup.checkpoint.name)

    def __repr__(self) -> str:
        engine = self.scorer.engine
        return (
            f"TokenClassifier({self._setup.checkpoint.name!r}, aggregation_strategy={self._rules.strategy.value!r},"
            f" engine={engine.name!r}, device={engine.device!r}, precision={engine.precision!r})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _loaded, (type(self), self._made_with, self.id2label)

    def __call__(
        self,
        inputs: Any,
        *,
        aggregation_strategy: str | AggregationStrategy | None = None,
        ignore_labels: Collection[str] | None = None,
        stride: int | None = None,
        offset_mapping: Any = None,
        is_split_into_words: bool = False,
        delimiter: str | None = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **deprecated: Any,
    ) -> Any:
        """Return the entities of one text or of several.

        Args:
            inputs: A text; a list (or tuple) of texts; an iterator of texts or a data set of PyTorch, which are read
                in chunks.
            aggregation_strategy: The strategy for this call alone.
            ignore_labels: The labels to leave out in this call alone.
            stride: The stride for this call alone.
            offset_mapping: The character range of each token, special tokens counted, of one text or of each text. It
                replaces the tokenizer's offsets.
            is_split_into_words: Whether the input is a list of words, or a list of such lists.
            delimiter: The string between words that are joined to a text; a space by default.
            batch_size: Ignored; batches are filled up to `max_batch_tokens`.
            num_workers: Ignored.
            **deprecated: The deprecated arguments `grouped_entities` and `ignore_subwords`.

        Returns:
            A list of dicts for a text. A list of such lists for several texts, and an iterator of such lists for an
            iterator or a data set. The keys are ``entity_group`` (``entity`` and ``index`` for ``none``), ``score``,
            ``word``, ``start``, ``end``.

        Raises:
            ValueError: if an argument is invalid.
            TypeError: if there is an unknown argument.
        """
        unknown = set(deprecated) - {"grouped_entities", "ignore_subwords"}
        if unknown:
            raise TypeError(f"{', '.join(sorted(unknown))}: unknown; expected arguments of TokenClassifier")
        rules = self._rules
        if aggregation_strategy or deprecated or ignore_labels is not None:
            rules = rules.changed(
                aggregation_strategy=resolve_strategy(aggregation_strategy or rules.strategy, **deprecated),
                ignore_labels=rules.settings.ignore_labels if ignore_labels is None else ignore_labels,
            )
            self._setup.check_rules(rules)
        texts, is_split_into_words, offsets, delimiter = self._arguments(
            inputs, is_split_into_words=is_split_into_words, delimiter=delimiter, offset_mapping=offset_mapping
        )
        overlap = self._stride if stride is None else self._setup.stride(stride)

        def answer(texts: Sequence[TokenizedText]) -> list[list[dict[str, Any]]]:
            return [
                [as_dict(entity, rules.strategy) for entity in self._entities(_raised(result), rules)]
                for result in self.scorer.score(texts, self.id2label, overlap, rules.scores)
            ]

        words_joined_by = " " if delimiter is None else delimiter
        if not isinstance(texts, list):
            stream = _stream(texts)
            chunks = iter(lambda: list(itertools.islice(stream, _STREAM_CHUNK)), [])
            tokenized = (
                self._tokenized_words(chunk, words_joined_by) if is_split_into_words else self._tokenized(chunk)
                for chunk in chunks
            )
            return itertools.chain.from_iterable(map(answer, tokenized))
        if is_split_into_words:
            if not isinstance(inputs, str) and not all(isinstance(words, list) for words in texts):
                texts = [texts]  # the words of one text
            return answer(self._tokenized_words(texts, words_joined_by))
        answers = answer(self._tokenized(texts, offsets))
        return answers[0] if isinstance(inputs, str) else answers

    @functools.cached_property
    def tokenizer(self) -> Any:
        """A copy of the tokenizer of transformers. A call would change settings of the original."""
        return copy.deepcopy(self.tokenization.tokenizer)

    @property
    def model_config(self) -> Any:
        """The model's `PretrainedConfig`."""
        return self._setup.config

    @property
    def config(self) -> Any:
        """The same as `model_config`."""
        return self._setup.config

    @property
    def device(self) -> Any:
        """The `torch.device` on which the model runs."""
        import torch

        return torch.device(self.engine.device)

    @property
    def engine(self) -> Engine:
        """The loaded model, with its name, device and precision."""
        return self.scorer.engine

    @property
    def counts(self) -> Counts:
        """The counts of what happened to batches; several classifiers may share them."""
        return self.scorer.counts

    @counts.setter
    def counts(self, counts: Counts) -> None:
        self.scorer.counts = counts

    @property
    def model_revision(self) -> str:
        """The checkpoint's commit or content hash."""
        return self._setup.checkpoint.revision

    def classify(self, documents: Sequence[Document], *, scores: str = "all") -> list[PreEntities | Failure]:
        """Return the scored tokens of each document, in order.

        A document that cannot be classified becomes a `Failure`, and does not affect the others.

        Args:
            documents: The documents to classify; a text is accepted too.
            scores: The scores of a token to keep, those of ``all`` labels or the ``best``; see `PreEntities`.
        """
        check_choice("scores", scores, get_args(Scores))
        documents = [Document.of(document) for document in documents]
        problems = [document.problem() for document in documents]
        fine = [document for document, problem in zip(documents, problems, strict=True) if problem is None]
        encoded = run_isolating_failures(self._encoded, [document.text for document in fine], self.scorer.counts)
        texts = [
            TokenizedText(document, tokens)
            for document, tokens in zip(fine, encoded, strict=True)
            if isinstance(tokens, Encoded)
        ]
        scored = iter(self.scorer.score(texts, self.id2label, self._stride, scores))
        outcomes = (next(scored) if isinstance(tokens, Encoded) else tokens for tokens in encoded)
        results: list[PreEntities | Failure] = []
        for document, problem in zip(documents, problems, strict=True):
            outcome = next(outcomes) if problem is None else problem
            if isinstance(outcome, PreEntities):
                results.append(outcome)
            else:
                error = outcome if isinstance(outcome, str) else _reason(outcome, document.text)
                results.append(Failure.of_document(document, error, stage="classify"))
        return results

    def take_counts(self) -> dict[str, int]:
        """Return the counts of batches since the last call: ``batch_splits``, ``batch_timeouts`` and others.

        See `transforms.inference.isolation` and `transforms.inference.scorer`.
        """
        return self.scorer.counts.take()

    def _encoded(self, texts: Sequence[str]) -> list[Encoded]:
        # A slow tokenizer has no time limit: a stuck call would keep its lock, and block all other texts.
        if self._watch and self.tokenization.is_fast:
            return self._watch.call(self.tokenization.encode, texts, self._reads_words)
        return self.tokenization.encode(texts, self._reads_words)

    def _tokenized(self, texts: Sequence[Any], offsets: Sequence[Offsets] | None = None) -> list[TokenizedText]:
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("When `is_split_into_words=False`, `sentence` must be an untokenized string.")
        encoded = self.tokenization.encode(texts, self._reads_words)
        if offsets is not None:
            encoded = [self._placed(tokens, own) for tokens, own in zip(encoded, offsets, strict=True)]
        return [TokenizedText(Document("", text), tokens) for text, tokens in zip(texts, encoded, strict=True)]

    def _tokenized_words(self, texts: Sequence[Any], delimiter: str) -> list[TokenizedText]:
        if not all(isinstance(words, list) for words in texts):
            raise ValueError("When `is_split_into_words=True`, `sentence` must be a list of tokens.")
        encoded = [self.tokenization.encode_words(words, delimiter) for words in texts]
        return [TokenizedText(Document("", text), tokens) for text, tokens in encoded]

    def _placed(self, encoded: Encoded, offsets: Offsets) -> Encoded:
        """Return the same tokens with the caller's offsets, which include those of special tokens."""
        first = len(self.tokenization.template.prefix)
        try:
            pairs = [(operator.index(start), operator.index(end)) for start, end in offsets]
        except (TypeError, ValueError):
            raise ValueError("offset_mapping: expected a pair of whole numbers for each token") from None
        own = np.array(pairs, np.int64).reshape(-1, 2)[first : first + len(encoded.ids)]
        if len(own) < len(encoded.ids):
            raise ValueError(
                f"offset_mapping: {len(offsets)} entries; expected one for each of {len(encoded.ids)} tokens"
                f" and {self.tokenization.template.num_special} special tokens"
            )
        return replace(encoded, start=own[:, 0], end=own[:, 1])


def _loaded(kind: type[TokenClassifier], arguments: dict[str, Any], id2label: Mapping[int, str]) -> TokenClassifier:
    """Return a classifier that was pickled or copied."""
    classifier = kind(**arguments)
    classifier.id2label = id2label
    return classifier


def _reason(error: BaseException, text: str) -> str | BaseException:
    """Return the reason to report: a sentence if the cause is known, otherwise the error itself."""
    if isinstance(error, BatchTimeoutError):
        return str(error)
    try:
        text.encode()
    except UnicodeEncodeError as surrogate:
        return f"the text contains half a surrogate pair at position {surrogate.start}, which is not a character"
    return str(error) if type(error) is ArithmeticError else error


def _raised(result: PreEntities | BaseException) -> PreEntities:
    if isinstance(result, BaseException):
        raise result
    return result


def _stream(texts: Any) -> Iterator[Any]:
    """Return an iterator over an iterator or a data set of PyTorch. Many data sets define only a length and items."""
    return iter(texts) if hasattr(texts, "__iter__") else map(texts.__getitem__, range(len(texts)))


def _device_name(device: Any) -> str:
    if device is None:
        return "auto"
    if isinstance(device, int):
        return f"cuda:{device}" if device >= 0 else "cpu"
    return str(device)


_CANARIES = [
    Document("canary-1", "My name is Ann Smith and I live at 12 Baker Street, London."),
    Document("canary-2", "Write to José Ñandú, Münchner Straße 5, 80331 München. " * 3),
]


def check_answers(classifier: TokenClassifier, name: str) -> None:
    """Checks that a model can classify a short and a long text.

    Args:
        classifier: The classifier of the model.
        name: The model's name.

    Raises:
        ValueError: if the model cannot, or if its scores are not probabilities.
    """
    for canary, outcome in zip(_CANARIES, classifier.classify(_CANARIES), strict=True):
        if isinstance(outcome, Failure):
            problem = _cause(classifier, canary.text) or outcome.error
            raise ArgumentError(f"model={name!r}: a test sentence cannot be classified: {problem}")
        if not len(outcome) or not np.allclose(outcome.scores.sum(axis=-1), 1, atol=1e-3):
            raise ArgumentError(f"model={name!r}: the scores of a test sentence are not probabilities")


def _cause(classifier: TokenClassifier, text: str) -> str | None:
    """Return the message of the error that a text causes, which may quote the text; None if there is none."""
    try:
        classifier(text)
    except ArithmeticError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return None
