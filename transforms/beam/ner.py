"""The two steps of named-entity recognition as Beam transforms."""

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference
from apache_beam.typehints.decorators import no_annotations

from transforms.aggregation.rules import EntityRules
from transforms.aggregation.settings import EntitySettings
from transforms.aggregation.strategies import AggregationStrategy
from transforms.beam.coders import Outcome
from transforms.beam.model_handler import TokenClassificationModelHandler, encoded
from transforms.documents import Document, DocumentEntities, Entity, Failure, bytes_of
from transforms.errors import ArgumentError
from transforms.labels import LabelScheme
from transforms.metrics import NAMESPACE
from transforms.pre_entities import PreEntities
from transforms.settings import EMBEDDED_MODEL, takes_settings
from transforms.tokenization.registry import recall

_FAILURES = "failures"
_MOST_LABELS = 40
_LONGEST_LABEL = 40  # characters


class Classified(NamedTuple):
    """The result of `ClassifyTokens`.

    Attributes:
        predictions: PCollection[PreEntities].
        failures: PCollection[Failure].
    """

    predictions: beam.PCollection
    failures: beam.PCollection


class Grouped(NamedTuple):
    """The result of `GroupEntities(...).with_exception_handling()`.

    Attributes:
        results: PCollection[DocumentEntities].
        failures: PCollection[Failure].
    """

    results: beam.PCollection
    failures: beam.PCollection


class ClassifyTokens(beam.PTransform):
    """Scores each token of each document: PCollection[Document | str] to `Classified`.

    Each document becomes a prediction or a failure; so does an element that is no document. The result can be piped
    into `GroupEntities`, which uses its predictions.
    """

    def __init__(
        self,
        model: str | TokenClassificationModelHandler = EMBEDDED_MODEL,
        **settings: Any,
    ) -> None:
        """Checks the arguments; see `TokenClassificationModelHandler`.

        Args:
            model: The name of a model, or a handler.
            **settings: The settings of the handler; none if `model` is a handler.

        Raises:
            ValueError: if an argument is invalid, or does not fit the model.
        """
        super().__init__()
        if isinstance(model, TokenClassificationModelHandler):
            if settings:
                raise ValueError(
                    f"{', '.join(sorted(settings))}: not accepted beside a handler; expected in the handler"
                )
            self._handler = model
        else:
            self._handler = TokenClassificationModelHandler(model, **settings)

    @no_annotations
    def expand(self, pcoll: beam.PCollection) -> Classified:
        """Build the steps; return the predictions and the failures."""
        # Beam keeps waiting examples in state, and would pickle documents there, despite the coder of their type.
        waits = self._handler.batches_across_bundles
        examples = pcoll | "Examples" >> beam.ParDo(_CheckDocuments(encodes=waits)).with_output_types(
            bytes if waits else Document, failures=Failure
        ).with_outputs(_FAILURES, main="examples")
        outcomes = (
            examples.examples
            | "RunInference" >> RunInference(self._handler).with_output_types(Outcome)
            | "SplitFailures"
            >> beam.ParDo(_SplitFailures())
            .with_input_types(Outcome)
            .with_output_types(PreEntities, failures=Failure)
            .with_outputs(_FAILURES, main="predictions")
        )
        failures = (examples[_FAILURES], outcomes[_FAILURES]) | "Failures" >> beam.Flatten()
        return Classified(outcomes.predictions, failures)


class GroupEntities(beam.PTransform):
    """Groups scored tokens into entities: PCollection[PreEntities] to PCollection[DocumentEntities].

    The result of `ClassifyTokens` can be piped in directly.
    """

    @takes_settings(EntitySettings)
    def __init__(
        self,
        aggregation_strategy: str | AggregationStrategy = "none",
        *,
        rules: EntityRules | None = None,
        **settings: Any,
    ) -> None:
        """Checks the arguments.

        Args:
            aggregation_strategy: ``none``, ``simple``, ``first``, ``average`` or ``max``.
            rules: `transforms.aggregation.rules.EntityRules` that are made already, instead of the settings.
            **settings: The other fields of `transforms.aggregation.settings.EntitySettings`: ``ignore_labels``,
                ``min_score``, ``window_join``, ``tagging_scheme``, ``decoding`` and others. The decoding ``viterbi``
                and the strategy ``average`` require ``scores="all"`` in `ClassifyTokens`.

        Raises:
            ValueError: if an argument is invalid.
        """
        super().__init__()
        if rules is not None and not isinstance(rules, EntityRules):
            raise ArgumentError(f"rules: of type {type(rules).__name__}; expected EntityRules")
        if rules is not None and (settings or aggregation_strategy != "none"):
            given = ", ".join(sorted(settings)) or "aggregation_strategy"
            raise ArgumentError(f"rules: given together with {given}; expected rules alone, or settings alone")
        self._rules = EntityRules.of(aggregation_strategy, **settings) if rules is None else rules
        self._gives_failures = False

    def with_exception_handling(self) -> "GroupEntities":
        """Return the same transform with `Grouped` as its result.

        A document that cannot be grouped then becomes a failure instead of raising an error.
        """
        self._gives_failures = True
        return self

    @no_annotations
    def expand(self, pcoll: beam.PCollection | Classified) -> beam.PCollection | Grouped:
        """Build the steps; return the results, or with exception handling the results and the failures."""
        predictions = pcoll.predictions if isinstance(pcoll, Classified) else pcoll
        group = _Group(self._rules, raises=not self._gives_failures)
        outcomes = predictions | "Group" >> beam.ParDo(group).with_output_types(
            DocumentEntities, failures=Failure
        ).with_outputs(_FAILURES, main="results")
        if self._gives_failures:
            return Grouped(outcomes.results, outcomes[_FAILURES])
        return outcomes.results


def group_document(pre_entities: PreEntities, rules: EntityRules) -> DocumentEntities:
    """Return the entities of one document; see `GroupEntities`.

    The words are rendered by the model's tokenizer. If this process has not loaded that tokenizer yet, it is loaded by
    the name in the pre-entities, once a process.

    Raises:
        ValueError: if the strategy needs words, and the tokenizer is slow.
    """
    model = pre_entities.model
    if rules.strategy.by_word and pre_entities.start is None and len(pre_entities):
        raise ArgumentError(
            f"aggregation_strategy={rules.strategy.value!r}: requires a fast tokenizer, and that of"
            f" model={model.name!r} is slow; expected simple or none"
        )
    tokenization = recall(model.tokenizer, model.tokenizer_revision)
    entities = rules.entities(pre_entities, model.labels, model.calibration, tokenization.to_string)
    return DocumentEntities(
        document=pre_entities.document,
        entities=tuple(entities),
        num_tokens=pre_entities.num_tokens,
        num_windows=pre_entities.num_windows,
        truncated=pre_entities.truncated,
        model=model.name,
        model_revision=model.revision,
        aggregation_strategy=rules.strategy.value,
    )


class _CheckDocuments(beam.DoFn):
    """Makes documents from texts, and failures from elements that are no documents, or have fields of a wrong type."""

    def __init__(self, *, encodes: bool) -> None:
        self._encodes = encodes
        self._failed = Metrics.counter(NAMESPACE, "classify_failures")

    def process(self, element: Any) -> Iterator[Any]:
        try:
            document = Document.of(element)
            problem = document.problem()
        except TypeError as error:
            self._failed.inc()
            yield beam.pvalue.TaggedOutput(_FAILURES, Failure(bytes_of(element), str(error), "classify"))
            return
        if problem is not None:
            self._failed.inc()
            yield beam.pvalue.TaggedOutput(_FAILURES, Failure.of_document(document, problem, "classify"))
            return
        yield encoded(document) if self._encodes else document


class _SplitFailures(beam.DoFn):
    def __init__(self) -> None:
        self._failed = Metrics.counter(NAMESPACE, "classify_failures")
        self._tokens = Metrics.counter(NAMESPACE, "tokens")
        self._windows = Metrics.counter(NAMESPACE, "windows")
        self._truncated = Metrics.counter(NAMESPACE, "documents_truncated")

    def process(self, outcome: PreEntities | Failure) -> Iterator[Any]:
        if isinstance(outcome, Failure):
            self._failed.inc()
            yield beam.pvalue.TaggedOutput(_FAILURES, outcome)
            return
        self._tokens.inc(outcome.num_tokens)
        self._windows.inc(outcome.num_windows)
        if outcome.truncated:
            self._truncated.inc()
        yield outcome


class _Group(beam.DoFn):
    def __init__(self, rules: EntityRules, *, raises: bool) -> None:
        self._rules = rules
        self._raises = raises
        self._grouped = Metrics.counter(NAMESPACE, "documents")
        self._entities = Metrics.counter(NAMESPACE, "entities")
        self._failed = Metrics.counter(NAMESPACE, "group_failures")
        self._by_label: dict[str, Any] = {}

    def process(self, pre_entities: PreEntities) -> Iterator[Any]:
        try:
            result = group_document(pre_entities, self._rules)
        except Exception as error:
            if self._raises:
                raise
            self._failed.inc()
            yield beam.pvalue.TaggedOutput(_FAILURES, Failure.of_document(pre_entities.document, error, "group"))
            return
        self._grouped.inc()
        self._entities.inc(len(result.entities))
        labels = pre_entities.model.labels
        groups = self._rules.label_scheme(labels).groups
        for name, count in count_labels(result.entities, labels, groups).items():
            if name not in self._by_label:
                self._by_label[name] = Metrics.counter(NAMESPACE, name)
            self._by_label[name].inc(count)
        yield result


def count_labels(
    entities: Iterable[Entity], labels: tuple[str, ...], groups: tuple[str, ...] | None = None
) -> Counter[str]:
    """Return the number of entities of each label, by the name of the label's counter.

    A model can have more labels than runners keep counters for. So labels beyond a limit share one counter.

    >>> entities = [Entity("CITY", 0.9, "york", 0, 4, "York"), Entity("CITY", 0.9, "rome", 5, 9, "Rome")]
    >>> count_labels(entities, ("O", "B-CITY", "I-CITY"))
    Counter({'entities_CITY': 2})

    Args:
        entities: The entities.
        labels: The model's labels.
        groups: The entity group of each label; None is Hugging Face's.
    """
    names = _counter_names(labels, groups or LabelScheme.of(labels).groups)
    return Counter(names.get(entity.label, "entities_of_other_labels") for entity in entities)


@functools.lru_cache(maxsize=8)
def _counter_names(labels: tuple[str, ...], groups: tuple[str, ...]) -> dict[str, str]:
    """Return the counter's name for each entity group and each label, up to a limit for either."""
    names: dict[str, str] = {}
    for kind in (groups, labels):
        for label in list(dict.fromkeys(kind))[:_MOST_LABELS]:
            names[label] = "entities_" + re.sub(r"\W", "_", label)[:_LONGEST_LABEL]
    return names
