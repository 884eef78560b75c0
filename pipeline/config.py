"""The program's configuration: the flags, checked against each other and the world before any worker starts."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apache_beam.options.pipeline_options import DirectOptions, StandardOptions

from pipeline.checks.places import check_dead_letter, check_input, check_output, check_streams
from pipeline.command_line import STREAMING_RUNNERS
from pipeline.options import NerOptions
from pipeline.places import Files, Place, Subscription, Topic
from pipeline.sinks import output_files
from transforms.aggregation import AggregationStrategy
from transforms.model_setup import ModelSetup

if TYPE_CHECKING:
    from transforms.model_handler import TokenClassificationModelHandler

_STREAMING_WAIT_MS = 100


@dataclass(frozen=True)
class NerConfig:
    """A run of the program, all of it known to make sense.

    Attributes:
        input: The files to read, or the subscription.
        input_format: The format of the files or the messages.
        text_field: Field of the text.
        id_field: Field of the id.
        id_attribute: Attribute of a message with the id.
        timestamp_attribute: Attribute of a message with the event time.
        output: Prefix of the result files, or the topic.
        output_format: The format of the files.
        num_shards: How many there are to be; 0 leaves it to the runner.
        dead_letter: Prefix of the files for failures, or the topic.
        ordering_key_attribute: Attribute whose value orders the messages of results.
        include_text: Whether results repeat the text.
        aggregation_strategy: How tokens become entities.
        ignore_labels: Labels to leave out.
        min_score: Lowest score of an entity.
        window_join: How overlapping windows are joined.
        model: Arguments of the model handler.
    """

    input: Place
    input_format: str
    text_field: str
    id_field: str
    id_attribute: str | None
    timestamp_attribute: str | None
    output: Place
    output_format: str
    num_shards: int
    dead_letter: Place
    ordering_key_attribute: str | None
    include_text: bool
    aggregation_strategy: AggregationStrategy
    ignore_labels: frozenset[str]
    min_score: float
    window_join: str
    model: dict[str, Any]

    @classmethod
    def from_options(cls, options: NerOptions) -> NerConfig:
        """Checks the flags.

        Raises:
            ValueError: in one sentence with the flag, its value and what would be right.
        """
        with _flags_named(options.get_all_options(current_only=True)):
            strategy = AggregationStrategy.parse(options.aggregation_strategy)
            _check_numbers(options)
            output, output_format = check_output(options)
            dead_letter = check_dead_letter(options, output, output_format)
            source, input_format = check_input(options, output, output_format, dead_letter)
            check_streams(source, ("output", output), ("dead_letter", dead_letter))
            model = _check_model(options, strategy, streaming=not isinstance(source, Files))
        return cls(
            input=source,
            input_format=input_format,
            text_field=options.text_field,
            id_field=options.id_field,
            id_attribute=options.id_attribute,
            timestamp_attribute=options.timestamp_attribute,
            output=output,
            output_format=output_format,
            num_shards=options.num_shards,
            dead_letter=dead_letter,
            ordering_key_attribute=options.ordering_key_attribute,
            include_text=options.include_text,
            aggregation_strategy=strategy,
            ignore_labels=frozenset(filter(None, (label.strip() for label in options.ignore_labels.split(",")))),
            min_score=options.min_score,
            window_join=options.window_join,
            model=model,
        )

    @property
    def streaming(self) -> bool:
        """Whether the input has no end."""
        return isinstance(self.input, Subscription | Topic)

    @property
    def files(self) -> list[tuple[str, str]]:
        """Prefix and suffix of each set of files that is written."""
        results = [output_files(self.output.path, self.output_format)] if isinstance(self.output, Files) else []
        if isinstance(self.dead_letter, Files):
            return [*results, output_files(self.dead_letter.path, "jsonl", "--dead_letter")]
        return results

    def load_model(self) -> None:
        """Loads the model into this process, where a runner in the same process will find it.

        Raises:
            ValueError: if it cannot be loaded, in one sentence with the flag and its value.
        """
        with _flags_named(self.model):
            self.handler().load_model()

    def handler(self) -> TokenClassificationModelHandler:
        """The model handler of this run."""
        # Beam's RunInference loads PyTorch, for which a mistake in the flags need not wait.
        from transforms.model_handler import TokenClassificationModelHandler

        return TokenClassificationModelHandler(**self.model, validate=False)


@contextmanager
def _flags_named(flags: Collection[str]) -> Iterator[None]:
    """Turns the argument names that open the library's messages into flags."""
    try:
        yield
    except ValueError as error:
        sentence = str(error)
        name = re.match(r"\w+(?==)", sentence)
        if name and name.group() in flags:
            sentence = f"--{sentence}"
        raise ValueError(sentence) from error


def _check_numbers(options: NerOptions) -> None:
    for name, least in (("num_shards", 0), ("max_batch_tokens", 1), ("threads", 1), ("max_batch_wait_ms", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"min_score={options.min_score} must be between 0 and 1")


def _check_model(options: NerOptions, strategy: AggregationStrategy, *, streaming: bool) -> dict[str, Any]:
    """Arguments of the model handler, after a look at the model's configuration and tokenizer."""
    setup = ModelSetup.load(
        options.model,
        model_revision=options.model_revision,
        tokenizer=options.tokenizer,
        weights=False,
        allow_pickle_weights=options.allow_pickle_weights,
    )
    setup.check_strategy(strategy)
    setup.stride(options.stride)
    if options.long_text == "truncate" and options.stride is not None:
        raise ValueError(f"stride={options.stride} is for windows; it does not go with --long_text=truncate")
    names = (
        "model", "model_revision", "tokenizer", "stride", "long_text", "engine", "device", "precision",
        "max_batch_tokens", "threads", "allow_pickle_weights",
    )  # fmt: skip
    return {
        **{name: getattr(options, name) for name in names},
        "threads": _threads(options),
        "max_batch_wait_ms": _max_batch_wait_ms(options) if streaming else None,
    }


def _max_batch_wait_ms(options: NerOptions) -> int | None:
    """How long a document waits for others in streaming.

    Service runners make bundles of a few messages, which are poor batches. The DirectRunner's bundles are what has
    come while the model was busy: waiting for more would only cost time.
    """
    if options.max_batch_wait_ms is not None or options.view_as(StandardOptions).runner in STREAMING_RUNNERS:
        return options.max_batch_wait_ms
    return _STREAMING_WAIT_MS


def _threads(options: NerOptions) -> int | None:
    """Threads of a process: those asked for, or where local worker processes share the cores, its part of them."""
    direct = options.view_as(DirectOptions)
    if options.threads is not None or direct.direct_running_mode != "multi_processing":
        return options.threads
    cores = os.cpu_count() or 1
    return max(1, cores // (direct.direct_num_workers or cores))
