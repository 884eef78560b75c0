"""The program's configuration: the flags, checked against each other and the world before any worker starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.checks.places import check_dead_letter, check_input, check_output
from pipeline.checks.prism import find_prism
from pipeline.checks.runners import check_runner
from pipeline.checks.tables import TableSettings, check_tables
from pipeline.command_line import LOCAL_RUNNERS, STREAMING_RUNNERS
from pipeline.io.bigquery.tables import failure_layout, prepare_table, result_layout
from pipeline.io.files.formats.registry import is_coarse
from pipeline.io.files.names import output_files
from pipeline.options import NerOptions
from pipeline.places import Files, Place, Source, Table, is_stream
from pipeline.runners.dataflow import accelerator_hint, memory_hint
from pipeline.runners.selection import processes_of_a_machine
from transforms.aggregation.strategies import AggregationStrategy
from transforms.checkpoints.versions import check_watchable, newest_version
from transforms.errors import ArgumentError
from transforms.inference.setup import ModelSetup
from transforms.settings import HandlerSettings, check_at_least, check_min_score

if TYPE_CHECKING:
    from transforms.beam.model_handler import TokenClassificationModelHandler

_STREAMING_WAIT_MS = 100


@dataclass(frozen=True)
class NerConfig:
    """A run of the program, all of it known to make sense.

    Attributes:
        input: What is read.
        input_format: The format of the files or the messages.
        balance: Whether documents are dealt out to all workers after reading.
        text_field: Field of the text.
        id_field: Field of the id.
        id_attribute: Attribute of a message with the id.
        timestamp_attribute: Attribute of a message with the event time.
        read_method: How BigQuery is read.
        output: Prefix of the result files, or the table or topic.
        output_format: The format of the files.
        escape_formulas: Whether CSV keeps spreadsheets from running texts.
        num_shards: How many there are to be; 0 leaves it to the runner.
        tables: How BigQuery tables are written.
        window_seconds: Event time of a set of files in streaming.
        allowed_lateness_seconds: How long results late for theirs are gathered.
        dead_letter: Prefix of the files for failures, or the table or topic.
        ordering_key_attribute: Attribute whose value orders the messages of results.
        include_text: Whether results repeat the text.
        aggregation_strategy: How tokens become entities.
        ignore_labels: Labels to leave out.
        min_score: Lowest score of an entity.
        window_join: How overlapping windows are joined.
        model: Arguments of the model handler.
        hints: Beam's resource hints for the model's step.
    """

    input: Source
    input_format: str
    balance: bool
    text_field: str
    id_field: str
    id_attribute: str | None
    timestamp_attribute: str | None
    read_method: str
    output: Place
    output_format: str
    escape_formulas: bool
    num_shards: int
    tables: TableSettings
    window_seconds: int
    allowed_lateness_seconds: int
    dead_letter: Place
    ordering_key_attribute: str | None
    include_text: bool
    aggregation_strategy: AggregationStrategy
    ignore_labels: frozenset[str]
    min_score: float
    window_join: str
    model: HandlerSettings
    hints: dict[str, str]

    @classmethod
    def from_options(cls, options: NerOptions) -> NerConfig:
        """Checks the flags.

        Raises:
            ValueError: in one sentence with the flag, its value and what would be right.
        """
        with _arguments_as_flags():
            strategy = AggregationStrategy.parse(options.aggregation_strategy)
            _check_numbers(options)
            check_runner(options)
            output, output_format = check_output(options)
            dead_letter = check_dead_letter(options, output, output_format)
            source, input_format = check_input(options, output, output_format, dead_letter)
            streaming = is_stream(source)
            tables = check_tables(options, output, streaming=streaming)
            hints = accelerator_hint(options, streaming=streaming)
            model = _model_settings(options, strategy, streaming=streaming)
            find_prism(options)
            setup = _check_model(model, strategy)
            hints |= memory_hint(options, setup.config, streaming=streaming)
        return cls(
            input=source,
            input_format=input_format,
            balance=_balances(options, source, input_format),
            text_field=options.text_field,
            id_field=options.id_field,
            id_attribute=options.id_attribute,
            timestamp_attribute=options.timestamp_attribute,
            read_method=options.read_method,
            output=output,
            output_format=output_format,
            escape_formulas=options.csv_formulas == "escape",
            num_shards=options.num_shards,
            tables=tables,
            window_seconds=options.window_seconds,
            allowed_lateness_seconds=options.allowed_lateness_seconds,
            dead_letter=dead_letter,
            ordering_key_attribute=options.ordering_key_attribute,
            include_text=options.include_text,
            aggregation_strategy=strategy,
            ignore_labels=frozenset(filter(None, (label.strip() for label in options.ignore_labels.split(",")))),
            min_score=options.min_score,
            window_join=options.window_join,
            model=model,
            hints=hints,
        )

    @property
    def streaming(self) -> bool:
        """Whether the input has no end."""
        return is_stream(self.input)

    @property
    def result_files(self) -> tuple[str, str] | None:
        """Prefix and suffix of the result files, if there are to be any."""
        return output_files(self.output.path, self.output_format) if isinstance(self.output, Files) else None

    @property
    def failure_files(self) -> tuple[str, str] | None:
        """Prefix and suffix of the failure files, if there are to be any."""
        if isinstance(self.dead_letter, Files):
            return output_files(self.dead_letter.path, "jsonl", "--dead_letter")
        return None

    def prepare_tables(self) -> None:
        """Makes the tables that are written, or checks those that are there.

        Raises:
            ValueError: if one cannot take the rows, in one sentence with the flag and its value.
        """
        if isinstance(self.output, Table):
            layout = result_layout(
                self.aggregation_strategy.value,
                self.include_text,
                self.tables.granularity,
                partition=self.tables.partition_by_day,
                cluster=self.tables.cluster_by_id,
            )
            disposition = self.tables.write_disposition
            prepare_table(self.output, layout, create=self.tables.create, write_disposition=disposition)
        if isinstance(self.dead_letter, Table):
            layout = failure_layout(partition=self.tables.partition_by_day)
            prepare_table(self.dead_letter, layout, create=self.tables.create, flag="--dead_letter")

    def load_model(self) -> None:
        """Loads the model into this process, where a runner in the same process will find it.

        Raises:
            ValueError: if it cannot be loaded, in one sentence with the flag and its value.
        """
        with _arguments_as_flags():
            self.handler().load_model()

    def handler(self) -> TokenClassificationModelHandler:
        """The model handler of this run."""
        # Beam's RunInference loads PyTorch, for which a mistake in the flags need not wait.
        from transforms.beam.model_handler import TokenClassificationModelHandler

        return TokenClassificationModelHandler.of(self.model)


@contextmanager
def _arguments_as_flags() -> Iterator[None]:
    """Turns the argument that opens a message of the library into a flag."""
    try:
        yield
    except ArgumentError as error:
        raise ValueError(f"--{error}") from error


def _check_numbers(options: NerOptions) -> None:
    for name, least in (("num_shards", 0), ("window_seconds", 1), ("allowed_lateness_seconds", 0)):
        check_at_least(name, getattr(options, name), least)
    check_min_score(options.min_score)


def _model_settings(options: NerOptions, strategy: AggregationStrategy, *, streaming: bool) -> HandlerSettings:
    flags = options.get_all_options(current_only=True)
    settings = {field.name: flags[field.name] for field in fields(HandlerSettings) if field.name in flags}
    settings["max_batch_wait_ms"] = _max_batch_wait_ms(options) if streaming else None
    return HandlerSettings(**settings, scores=strategy.scores, processes=processes_of_a_machine(options))


def _check_model(settings: HandlerSettings, strategy: AggregationStrategy) -> ModelSetup:
    """Return the model's configuration and tokenizer, after a look at them."""
    if settings.long_text == "truncate" and settings.stride is not None:
        raise ArgumentError(f"stride={settings.stride} is for windows; it does not go with --long_text=truncate")
    if settings.model_refresh_seconds is not None:
        check_watchable(settings.model)
        settings = replace(settings, model=newest_version(settings.model).name)
    setup = ModelSetup.load(settings, weights=False)
    setup.check_strategy(strategy)
    setup.stride(settings.stride)
    return setup


def _balances(options: NerOptions, source: Source, input_format: str) -> bool:
    """Whether one worker might have to read what many could classify: a file that is read from its beginning, say.

    On one machine there are no others, and the DirectRunner would hold all documents in memory.
    """
    local = options.view_as(StandardOptions).runner in LOCAL_RUNNERS
    return not local and isinstance(source, Files) and is_coarse(source.path, input_format)


def _max_batch_wait_ms(options: NerOptions) -> int | None:
    """How long a document waits for others in streaming.

    Service runners make bundles of a few messages, which are poor batches. The DirectRunner's bundles are what has
    come while the model was busy: waiting for more would only cost time.
    """
    if options.max_batch_wait_ms is not None or options.view_as(StandardOptions).runner in STREAMING_RUNNERS:
        return options.max_batch_wait_ms
    return _STREAMING_WAIT_MS
