"""TokenClassifier: texts in, entities out, with no Beam in sight."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transforms import aggregation
from transforms.aggregation import AggregationStrategy, find_entities, resolve_overlaps
from transforms.arguments import Offsets, TokenClassificationArgumentHandler, resolve_strategy
from transforms.checkpoints import EMBEDDED_MODEL, Checkpoint
from transforms.documents import Document, Entity, Failure
from transforms.engines import check_choice, load_engine
from transforms.engines.errors import BatchTimeoutError
from transforms.engines.watched import WatchedEngine
from transforms.labels import LabelScheme, dense_labels, get_tag, ignored_labels
from transforms.model_checks import check_answers
from transforms.model_setup import ModelSetup
from transforms.pre_entities import PreEntities
from transforms.scorer import DEFAULT_MAX_BATCH_TOKENS, Scorer, TokenizedText, isolated
from transforms.special_tokens import SPECIAL_TOKENS
from transforms.tokenization import Encoded
from transforms.watch import Watch, check_timeout
from transforms.windows import LONG_TEXT

_STREAM_CHUNK = 1024  # texts taken at a time from an iterator


class TokenClassifier:
    """Finds entities with a token-classification checkpoint, as `transformers.TokenClassificationPipeline` does.

    Example:
        >>> classify = TokenClassifier("rampart", aggregation_strategy="first")    # doctest: +SKIP
        >>> classify("Write to ann@example.org")                                   # doctest: +SKIP
        [{'entity_group': 'EMAIL', 'score': 0.99, 'word': 'ann @ example. org', 'start': 9, 'end': 24}]

    Attributes:
        id2label: Label of each class id; may be replaced.
        tokenization: The tokenizer.
        scorer: What runs the model.
        window: Tokens of a window, special tokens counted.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint = EMBEDDED_MODEL,
        *,
        model_revision: str | None = None,
        tokenizer: Any = None,
        aggregation_strategy: str | AggregationStrategy | None = "none",
        ignore_labels: Collection[str] | None = ("O",),
        stride: int | None = None,
        long_text: str = "window",
        window_join: str = "entities",
        special_tokens: str = "special",
        engine: str = "auto",
        device: Any = "auto",
        precision: str = "auto",
        max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS,
        batch_timeout_seconds: float = 0,
        threads: int | None = None,
        allow_pickle_weights: bool = False,
        grouped_entities: bool | None = None,
        ignore_subwords: bool | None = None,
    ) -> None:
        """Loads the model and its tokenizer.

        Args:
            model: ``rampart`` (the embedded model), a folder, a remote folder or a hub id; or a checkpoint.
            model_revision: Branch, tag or commit of a hub id.
            tokenizer: Name or folder of another tokenizer than the model's, or a tokenizer of transformers.
            aggregation_strategy: ``none`` (or None), ``simple``, ``first``, ``average`` or ``max``.
            ignore_labels: Labels (``none``) or entity groups that are left out; None means ``("O",)``, and a single
                one may stand for itself.
            stride: Tokens that two windows of a long text share; None is a quarter of a window.
            long_text: ``window`` reads all of a long text; ``truncate`` does what Hugging Face does: it stops at the
                model's length, unless there is a `stride`.
            window_join: How overlapping windows are joined; see `transforms.aggregation.find_entities`.
            special_tokens: What a special token (``[SEP]``, ``</s>``) is that somebody typed in a text: ``special``, as
                in Hugging Face, where it can change what all other tokens get; or ``text``, as is the default of the
                Beam transforms.
            engine: ``auto``, ``torch`` or ``openvino``.
            device: ``auto`` (or None), ``cpu``, ``cuda:0``, ``mps``; a number is a CUDA device, -1 the CPU.
            precision: ``auto`` (fp32), ``fp32``, ``bf16``, ``fp16`` or ``int8`` (OpenVINO only).
            max_batch_tokens: Bound on the tokens of a batch, padding counted.
            batch_timeout_seconds: How long a batch may take; a text that takes longer alone raises, and in `classify`
                is a `Failure`. 0 is no limit.
            threads: Threads on a CPU; None leaves the choice to the engine.
            allow_pickle_weights: Whether pickled weights may be loaded.
            grouped_entities: Deprecated; True means ``simple``.
            ignore_subwords: Deprecated; True with `grouped_entities` means ``first``.

        Raises:
            ValueError: if an argument is not understood, or does not fit the model.
        """
        check_choice("long_text", long_text, LONG_TEXT)
        check_choice("window_join", window_join, aggregation.WINDOW_JOINS)
        check_choice("special_tokens", special_tokens, SPECIAL_TOKENS)
        check_timeout(batch_timeout_seconds)
        if max_batch_tokens < 1:
            raise ValueError(f"max_batch_tokens={max_batch_tokens} must be at least 1")
        strategy = resolve_strategy(
            "none" if aggregation_strategy is None else aggregation_strategy, grouped_entities, ignore_subwords
        )
        setup = ModelSetup.load(
            model,
            model_revision=model_revision,
            tokenizer=tokenizer,
            special_tokens=special_tokens,
            allow_pickle_weights=allow_pickle_weights,
        )
        setup.check_strategy(strategy)
        self._setup = setup
        self._strategy = strategy
        overlap = setup.stride(stride)
        self._stride = None if long_text == "truncate" and stride is None else overlap
        self._ignore_labels = ignored_labels(ignore_labels)
        self._window_join = window_join
        self._arguments = TokenClassificationArgumentHandler()
        self.tokenization = setup.tokenization
        self.window = setup.window
        self.id2label: Mapping[int, str] = dict(setup.config.id2label)
        load = functools.partial(
            load_engine,
            setup.checkpoint,
            engine=engine,
            device=_device_name(device),
            precision=precision,
            threads=threads,
            allow_pickle_weights=allow_pickle_weights,
        )
        self._watch = Watch(batch_timeout_seconds) if batch_timeout_seconds else None
        loaded = WatchedEngine(load, self._watch) if self._watch else load()
        self.scorer = Scorer(setup, loaded, max_batch_tokens=max_batch_tokens)
        check_answers(self, setup.checkpoint.name)

    def __repr__(self) -> str:
        engine = self.scorer.engine
        return (
            f"TokenClassifier({self._setup.checkpoint.name!r}, aggregation_strategy={self._strategy.value!r},"
            f" engine={engine.name!r}, device={engine.device!r}, precision={engine.precision!r})"
        )

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
        """The entities of one text or of several.

        Args:
            inputs: A text; a list (or tuple) of texts; an iterator of texts or a data set of PyTorch, which are read
                bit by bit.
            aggregation_strategy: For this call alone.
            ignore_labels: For this call alone.
            stride: For this call alone.
            offset_mapping: The character range of each token, special tokens counted, of one text or of each; in
                place of the tokenizer's.
            is_split_into_words: Whether the input is a list of words, or a list of such lists.
            delimiter: What stands between words where they are joined to a text; a space by default.
            batch_size: Without meaning here; batches are filled up to `max_batch_tokens`.
            num_workers: Without meaning here.
            **deprecated: `grouped_entities` and `ignore_subwords`.

        Returns:
            A list of dicts for a text, a list of such lists for several, an iterator of them for an iterator. Keys are
            ``entity_group`` (``entity`` and ``index`` for ``none``), ``score``, ``word``, ``start``, ``end``.

        Raises:
            ValueError: if an argument is not understood.
        """
        unknown = set(deprecated) - {"grouped_entities", "ignore_subwords"}
        if unknown:
            raise TypeError(f"TokenClassifier does not know {', '.join(sorted(unknown))}")
        strategy = resolve_strategy(aggregation_strategy or self._strategy, **deprecated)
        self._setup.check_strategy(strategy)
        texts, is_split_into_words, offsets, delimiter = self._arguments(
            inputs, is_split_into_words=is_split_into_words, delimiter=delimiter, offset_mapping=offset_mapping
        )
        ignore = self._ignore_labels if ignore_labels is None else ignored_labels(ignore_labels)
        overlap = self._stride if stride is None else self._setup.stride(stride)

        def answer(texts: Sequence[TokenizedText]) -> list[list[dict[str, Any]]]:
            return [
                [_as_dict(entity, strategy) for entity in self._entities(_raised(result), strategy, ignore)]
                for result in self.scorer.score(texts, self.id2label, overlap)
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

    @property
    def model_revision(self) -> str:
        """The checkpoint's commit or content hash."""
        return self._setup.checkpoint.revision

    def classify(self, documents: Sequence[Document]) -> list[PreEntities | Failure]:
        """What the model says of each token of these documents, in their order.

        A document that cannot be classified is a `Failure`; the others are not affected by it.
        """
        encoded = isolated(self._encoded, [document.text for document in documents], self.scorer.counts)
        texts = [
            TokenizedText(document, tokens)
            for document, tokens in zip(documents, encoded, strict=True)
            if isinstance(tokens, Encoded)
        ]
        results = iter(self.scorer.score(texts, self.id2label, self._stride))
        outcomes = [next(results) if isinstance(tokens, Encoded) else tokens for tokens in encoded]
        return [
            outcome
            if isinstance(outcome, PreEntities)
            else Failure.of_document(document, _reason(outcome, document.text), stage="classify")
            for document, outcome in zip(documents, outcomes, strict=True)
        ]

    def take_counts(self) -> dict[str, int]:
        """What happened to batches since the last call: ``batch_splits`` and the like; see `transforms.scorer`."""
        return self.scorer.counts.take()

    # Hugging Face's methods, for those who call or override a single step. They take and give lists of dicts.

    def gather_pre_entities(
        self,
        sentence: str,
        input_ids: Any,
        scores: Any,
        offset_mapping: Any,
        special_tokens_mask: Any,
        aggregation_strategy: str | AggregationStrategy = "none",
        word_ids: Sequence[int | None] | None = None,
        word_to_chars_map: Sequence[tuple[int, int]] | None = None,
    ) -> list[dict[str, Any]]:
        """The tokens of one window as pre-entities, special tokens left out.

        Args:
            sentence: The text.
            input_ids: [n_tokens], special tokens counted, as are all that follow.
            scores: [n_tokens, n_labels].
            offset_mapping: [n_tokens, 2], or None.
            special_tokens_mask: [n_tokens], true for special tokens.
            aggregation_strategy: Without effect on the result.
            word_ids: Word of each token, where the text was given as words.
            word_to_chars_map: Character range of each word, likewise; shifts the offsets.
        """
        rows = np.flatnonzero(~np.asarray(special_tokens_mask).astype(bool)[: len(scores)])
        ids = np.asarray(input_ids, np.int64)[rows]
        start = end = None
        if offset_mapping is not None:
            offsets = np.array([[int(start), int(end)] for start, end in offset_mapping], np.int64).reshape(-1, 2)[rows]
            if word_ids is not None and word_to_chars_map is not None:
                words = [word_ids[row] for row in rows.tolist()]
                offsets += np.array([[0 if word is None else word_to_chars_map[word][0]] for word in words], np.int64)
            start, end = offsets[:, 0], offsets[:, 1]
        words_column, is_subword = self.tokenization.words_and_subwords(sentence, ids, start, end)
        return PreEntities(
            scores=np.asarray(scores)[rows],
            words=words_column,
            start=start,
            end=end,
            index=rows,
            is_subword=is_subword,
        ).to_dicts()

    def aggregate(
        self, pre_entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> list[dict[str, Any]]:
        """Entities from pre-entities; nothing is left out, ``O`` neither."""
        strategy = AggregationStrategy.parse(aggregation_strategy)
        columns = PreEntities.from_dicts(pre_entities)
        return [_as_dict(entity, strategy) for entity in self._entities(columns, strategy, frozenset())]

    def aggregate_words(
        self, entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> list[dict[str, Any]]:
        """Words with one label each, from pre-entities.

        Raises:
            ValueError: if the strategy is ``none`` or ``simple``.
        """
        strategy = AggregationStrategy.parse(aggregation_strategy)
        if not strategy.by_word:
            raise ValueError("NONE and SIMPLE strategies are invalid for word aggregation")
        columns = PreEntities.from_dicts(entities)
        labels = dense_labels(self.id2label, columns.scores.shape[1])
        units = aggregation.label_words(columns, strategy)
        return [
            {
                "entity": labels[label],
                "score": score,
                "word": self.tokenization.to_string(columns.words[first:stop].tolist()),
                "start": None if columns.start is None else int(columns.start[first]),
                "end": None if columns.end is None else int(columns.end[stop - 1]),
            }
            for label, score, first, stop in zip(
                units.label.tolist(), units.score.tolist(), units.first.tolist(), units.stop.tolist(), strict=True
            )
        ]

    def aggregate_word(
        self, entities: list[dict[str, Any]], aggregation_strategy: str | AggregationStrategy
    ) -> dict[str, Any]:
        """One word with one label, from the pre-entities of its tokens."""
        first, *others = entities
        tokens = [{**first, "is_subword": False}, *({**other, "is_subword": True} for other in others)]
        return self.aggregate_words(tokens, aggregation_strategy)[0]

    def group_entities(self, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Groups adjacent entities (``entity, score, word, start, end``) of one tag."""
        labels = tuple(dict.fromkeys(entity["entity"] for entity in entities))
        scheme = LabelScheme.of(labels)
        rows = np.arange(len(entities))
        units = aggregation.Units(
            label=np.array([labels.index(entity["entity"]) for entity in entities], np.int64),
            score=np.array([entity["score"] for entity in entities]),
            first=rows,
            stop=rows + 1,
            opens_window=np.zeros(len(entities), bool),
        )
        starts, stops = aggregation.group_units(units, scheme)
        scores = aggregation.group_scores(units, starts, stops)
        return [
            {
                "entity_group": scheme.groups[units.label[start]],
                "score": score,
                "word": self.tokenization.to_string([entity["word"] for entity in entities[start:stop]]),
                "start": entities[start]["start"],
                "end": entities[stop - 1]["end"],
            }
            for start, stop, score in zip(starts.tolist(), stops.tolist(), scores.tolist(), strict=True)
        ]

    def group_sub_entities(self, entities: list[dict[str, Any]]) -> dict[str, Any]:
        """One group of all these entities, named by the first."""
        label = entities[0]["entity"]
        same = [{**entity, "entity": f"I-{get_tag(label)[1]}"} for entity in entities]
        return {**self.group_entities(same)[0], "entity_group": LabelScheme.of([label]).groups[0]}

    def get_tag(self, entity_name: str) -> tuple[str, str]:
        """Prefix (``B`` or ``I``) and tag of a label."""
        return get_tag(entity_name)

    def aggregate_overlapping_entities(self, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Merges the entities of overlapping windows; see `transforms.aggregation.resolve_overlaps`."""
        spans = [(entity["start"], entity["end"], entity["score"]) for entity in entities]
        return [entities[survivor] for survivor in resolve_overlaps(spans)]

    def _entities(
        self, pre_entities: PreEntities, strategy: AggregationStrategy, ignore_labels: Collection[str]
    ) -> list[Entity]:
        labels = dense_labels(self.id2label, pre_entities.scores.shape[1])
        return find_entities(
            pre_entities,
            strategy,
            LabelScheme.of(labels),
            self.tokenization.to_string,
            ignore_labels=ignore_labels,
            window_join=self._window_join,
        )

    def _encoded(self, texts: Sequence[str]) -> list[Encoded]:
        # A slow tokenizer is not watched: what it holds while it hangs, no other text could get.
        if self._watch and self.tokenization.is_fast:
            return self._watch.call(self.tokenization.encode, texts)
        return self.tokenization.encode(texts)

    def _tokenized(self, texts: Sequence[Any], offsets: Sequence[Offsets] | None = None) -> list[TokenizedText]:
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("When `is_split_into_words=False`, `sentence` must be an untokenized string.")
        encoded = self.tokenization.encode(texts)
        if offsets is not None:
            encoded = [self._placed(tokens, own) for tokens, own in zip(encoded, offsets, strict=True)]
        return [TokenizedText(Document("", text), tokens) for text, tokens in zip(texts, encoded, strict=True)]

    def _tokenized_words(self, texts: Sequence[Any], delimiter: str) -> list[TokenizedText]:
        if not all(isinstance(words, list) for words in texts):
            raise ValueError("When `is_split_into_words=True`, `sentence` must be a list of tokens.")
        encoded = [self.tokenization.encode_words(words, delimiter) for words in texts]
        return [TokenizedText(Document("", text), tokens) for text, tokens in encoded]

    def _placed(self, encoded: Encoded, offsets: Offsets) -> Encoded:
        """The same tokens at the caller's offsets, which count special tokens."""
        first = len(self.tokenization.template.prefix)
        own = np.array(offsets, np.int64).reshape(-1, 2)[first : first + len(encoded.ids)]
        if len(own) < len(encoded.ids):
            raise ValueError(
                f"offset_mapping has {len(offsets)} entries for a text of {len(encoded.ids)} tokens"
                f" and {self.tokenization.template.num_special} special tokens"
            )
        return Encoded(encoded.ids, own[:, 0], own[:, 1])


def _reason(error: BaseException, text: str) -> str | BaseException:
    """What to tell of an error: a sentence of ours where we know the cause, else the error."""
    if isinstance(error, BatchTimeoutError):
        return str(error)
    try:
        text.encode()
    except UnicodeEncodeError as surrogate:
        return f"the text holds half a surrogate pair at position {surrogate.start}, which is no character"
    return str(error) if type(error) is ArithmeticError else error


def _raised(result: PreEntities | BaseException) -> PreEntities:
    if isinstance(result, BaseException):
        raise result
    return result


def _as_dict(entity: Entity, strategy: AggregationStrategy) -> dict[str, Any]:
    if strategy is AggregationStrategy.NONE:
        return {
            "entity": entity.label,
            "score": entity.score,
            "index": entity.index,
            "word": entity.word,
            "start": entity.start,
            "end": entity.end,
        }
    return {
        "entity_group": entity.label,
        "score": entity.score,
        "word": entity.word,
        "start": entity.start,
        "end": entity.end,
    }


def _stream(texts: Any) -> Iterator[Any]:
    """What an iterator or a data set of PyTorch holds; of the latter, many know but their length and their items."""
    return iter(texts) if hasattr(texts, "__iter__") else map(texts.__getitem__, range(len(texts)))


def _device_name(device: Any) -> str:
    if device is None:
        return "auto"
    if isinstance(device, int):
        return f"cuda:{device}" if device >= 0 else "cpu"
    return str(device)
