"""The program's configuration: flags that are checked before any worker starts.

The flags are checked against each other, and against the files, tables, topics and models that they name.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.checks.buckets import check_bucket_credentials
from pipeline.checks.credentials import check_impersonation
from pipeline.checks.files import check_reachable, check_working_folder
from pipeline.checks.max_failures import check_max_failures
from pipeline.checks.prism import find_prism
from pipeline.checks.runners import check_runner
from pipeline.checks.table_output import TableSettings, check_tables
from pipeline.checks.unused import check_used
from pipeline.command_line import LOCAL_RUNNERS, STREAMING_RUNNERS
from pipeline.connectors.base import Outputs, ordering_key_attribute
from pipeline.connectors.registry import check_input, check_outputs, connector_of
from pipeline.io.fields import DocumentFields
from pipeline.io.files.settings import ReadSettings
from pipeline.max_failures import MaxFailures
from pipeline.options import NerOptions
from pipeline.places import Files, Place, Query, Replay, Source, Table, is_stream
from pipeline.runners.dataflow import accelerator_hint, memory_hint
from pipeline.runners.selection import processes_of_a_machine
from transforms.aggregation.rules import EntityRules
from transforms.aggregation.settings import EntitySettings
from transforms.aggregation.strategies import AggregationStrategy
from transforms.checkpoints.versions import check_watchable, newest_version
from transforms.errors import ArgumentError
from transforms.inference.setup import ModelSetup
from transforms.settings import HandlerSettings, check_at_least, taken_from

if TYPE_CHECKING:
    from transforms.beam.model_handler import TokenClassificationModelHandler

_STREAMING_WAIT_MS = 100

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NerConfig:
    """The checked configuration of one run.

    Attributes:
        input: The place to read from.
        input_format: The format of the files or messages.
        reading: The settings of reading files.
        coarse: Whether one worker may read the documents for many workers.
        balance: Whether to redistribute documents to all workers after reading.
        fields: Fields or columns that make a document.
        id_attribute: Attribute of a message that contains the id.
        timestamp_attribute: Attribute of a message that contains the event time.
        read_method: Method of reading from BigQuery.
        output: The place of results: a prefix of files, a table or a topic.
        output_format: The format of the result files.
        escape_formulas: Whether to escape texts in CSV that a spreadsheet would run as formulas.
        num_shards: Number of result files; 0 leaves it to the runner.
        tables: Settings for writing BigQuery tables.
        window_seconds: Seconds of event time in one set of files, in streaming.
        allowed_lateness_seconds: Seconds after a window in which late results are gathered for one file.
        dead_letter: The place of failures: a prefix of files, a table or a topic.
        ordering_key_attribute: Attribute whose value becomes the ordering key of a result's message.
        keep_ordering_key: Whether documents have the ordering keys of their messages as an attribute.
        include_text: Whether to repeat the text in the results.
        max_failures: The most records that may fail; None for any number, if at least one record does not fail.
        rules: Rules by which tokens become entities.
        model: Settings of the model handler.
        hints: Beam's resource hints for the model's step.
    """

    input: Source
    input_format: str
    reading: ReadSettings
    coarse: bool
    balance: bool
    fields: DocumentFields
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
    keep_ordering_key: bool
    include_text: bool
    max_failures: MaxFailures | None
    rules: EntityRules
    model: HandlerSettings
    hints: dict[str, str]

    @classmethod
    def from_options(cls, options: NerOptions) -> NerConfig:
        """Checks the flags, and returns the configuration.

        Raises:
            ValueError: if a flag is wrong, in one sentence with the flag, its value and a valid value.
        """
        with arguments_as_flags():
            check_working_folder()
            check_impersonation(options)
            check_bucket_credentials(options)
            rules = _entity_rules(options)
            _check_numbers(options)
            check_runner(options)
            outputs = check_outputs(options)
            source, checked = check_input(options, outputs)
            streaming = is_stream(source)
            is_table = connector_of(outputs.output).is_table
            check_used(options, _uses(source, checked.format, outputs))
            max_failures = check_max_failures(options, streaming=streaming)
            tables = check_tables(options, is_table=is_table, streaming=streaming)
            hints = accelerator_hint(options, streaming=streaming)
            model = _model_settings(options, rules, streaming=streaming)
            find_prism(options)
            setup = _check_model(model, rules)
            _check_reachable(options, source, outputs)
            hints |= memory_hint(options, setup.config, streaming=streaming)
        return cls(
            input=source,
            input_format=checked.format,
            reading=checked.reading,
            coarse=checked.coarse,
            balance=_balances(options, coarse=checked.coarse),
            fields=checked.fields,
            id_attribute=options.id_attribute,
            timestamp_attribute=options.timestamp_attribute,
            read_method=options.read_method,
            output=outputs.output,
            output_format=outputs.output_format,
            escape_formulas=options.csv_formulas == "escape",
            num_shards=options.num_shards,
            tables=tables,
            window_seconds=options.window_seconds,
            allowed_lateness_seconds=options.allowed_lateness_seconds,
            dead_letter=outputs.dead_letter,
            ordering_key_attribute=ordering_key_attribute(options, streaming=streaming),
            keep_ordering_key=options.keep_ordering_key,
            include_text=options.include_text,
            max_failures=max_failures,
            rules=rules,
            model=model,
            hints=hints,
        )

    @property
    def streaming(self) -> bool:
        """True if the input is a stream."""
        return is_stream(self.input)

    @property
    def result_files(self) -> tuple[str, str] | None:
        """The prefix and suffix of the result files; None if results go to a table or topic."""
        return connector_of(self.output).files(self.output, self.output_format)

    @property
    def failure_files(self) -> tuple[str, str] | None:
        """The prefix and suffix of the failure files; None if failures go to a table or topic."""
        return connector_of(self.dead_letter).files(self.dead_letter, "jsonl", "dead_letter")

    def prepare_outputs(self) -> None:
        """Prepares the places of results and failures: missing tables are created, others are checked.

        Raises:
            ValueError: if one cannot store the rows, in one sentence with the flag and its value.
        """
        connector_of(self.output).prepare_results(self.output, self)
        connector_of(self.dead_letter).prepare_failures(self.dead_letter, self)

    def load_model(self) -> None:
        """Loads the model into this process; a runner in the same process reuses it.

        Raises:
            ValueError: if it cannot be loaded, in one sentence with the flag and its value.
        """
        with arguments_as_flags():
            self.handler().load_model()

    def handler(self) -> TokenClassificationModelHandler:
        """Return the model handler of this run."""
        # Imported late, since Beam's RunInference loads PyTorch: a mistake in the flags is reported before that.
        from transforms.beam.model_handler import TokenClassificationModelHandler

        return TokenClassificationModelHandler.of(self.model)


@contextmanager
def arguments_as_flags() -> Iterator[None]:
    """Turns an error that starts with an argument's name into one that starts with the flag.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    try:
        yield
    except ArgumentError as error:
        raise ValueError(f"--{error}") from error


def _uses(source: Source, input_format: str, outputs: Outputs) -> dict[str, bool]:
    """Return what a run does, for the flags that only some runs use."""
    streaming = is_stream(source)
    results = isinstance(outputs.output, Table)
    files = isinstance(outputs.output, Files)
    return {
        "results in a BigQuery table": results,
        "BigQuery tables that are written": results or isinstance(outputs.dead_letter, Table),
        "results in files": files,
        "results in CSV": files and outputs.output_format == "csv",
        "streams that write files": streaming and (files or isinstance(outputs.dead_letter, Files)),
        "streams": streaming,
        "input from BigQuery": isinstance(source, Table | Query),
        "CSV": input_format == "csv",
        "records with fields, such as those of --input_format=csv": input_format not in ("text", "whole_text"),
    }


def _check_numbers(options: NerOptions) -> None:
    for name, least in (("num_shards", 0), ("window_seconds", 1), ("allowed_lateness_seconds", 0)):
        check_at_least(name, getattr(options, name), least)


def _check_reachable(options: NerOptions, source: Source, outputs: Outputs) -> None:
    """Checks that the workers of Dataflow can reach the files of a run."""
    read = source.place if isinstance(source, Replay) else source
    for name, place in (
        ("replay" if isinstance(source, Replay) else "input", read),
        ("output", outputs.output),
        ("dead_letter", outputs.dead_letter),
    ):
        if isinstance(place, Files):
            for path in place.paths:
                check_reachable(name, path, options)


def _entity_rules(options: NerOptions) -> EntityRules:
    settings = _fields_of(options, EntitySettings)
    names = (name.strip() for name in options.ignore_labels.split(","))
    settings["ignore_labels"] = [name for name in names if name]
    return EntityRules.of(**settings)


def _model_settings(options: NerOptions, rules: EntityRules, *, streaming: bool) -> HandlerSettings:
    settings = _fields_of(options, HandlerSettings)
    settings["max_batch_wait_ms"] = _max_batch_wait_ms(options) if streaming else None
    return HandlerSettings(**settings, scores=rules.scores, processes=processes_of_a_machine(options))


def _fields_of(options: NerOptions, kind: type) -> dict[str, Any]:
    """Return the flags that are fields of a class of settings."""
    return taken_from(options.get_all_options(current_only=True), kind)


def _check_model(settings: HandlerSettings, rules: EntityRules) -> ModelSetup:
    """Return the model's configuration and tokenizer, after checking them."""
    if settings.long_text == "truncate" and settings.stride is not None:
        raise ArgumentError(f"stride={settings.stride}: only for windows; expected none with --long_text=truncate")
    if settings.model_refresh_seconds is not None:
        check_watchable(settings.model)
        settings = replace(settings, model=newest_version(settings.model).name)
    setup = ModelSetup.load(settings, weights=False)
    setup.check_rules(rules)
    _check_ignored(setup, rules)
    _log_scheme(setup, rules)
    setup.stride(settings.stride)
    return setup


def _check_ignored(setup: ModelSetup, rules: EntityRules) -> None:
    """Checks that the model has the labels to leave out; ``O`` may be missing."""
    is_none = rules.strategy is AggregationStrategy.NONE
    known = setup.labels if is_none else rules.label_scheme(setup.labels).groups
    unknown = sorted(rules.settings.ignore_labels - {*known, "O"})
    if unknown:
        kind = "labels" if is_none else "entity groups"
        listed = ", ".join(dict.fromkeys(known))
        raise ArgumentError(f"ignore_labels={unknown[0]!r}: unknown; expected the model's {kind}: {listed}")


def _log_scheme(setup: ModelSetup, rules: EntityRules) -> None:
    """Logs a scheme that was read from the labels, and a calibration that is not used."""
    scheme = rules.scheme_of(setup.labels)
    if rules.settings.tagging_scheme == "auto" and scheme != "hf":
        _logger.info("--tagging_scheme=auto: the labels of the model are %s", scheme)
    if setup.calibration is not None and rules.settings.decoding == "argmax":
        _logger.info("the model has a calibration for --decoding=viterbi, which is not used by --decoding=argmax")


def _balances(options: NerOptions, *, coarse: bool) -> bool:
    """Return whether documents are redistributed to all workers after reading.

    This is useful if one worker may read the documents for many workers, for example from a file that cannot be split.
    On a single machine it is useless, and the DirectRunner would hold all documents in memory.
    """
    return coarse and options.view_as(StandardOptions).runner not in LOCAL_RUNNERS


def _max_batch_wait_ms(options: NerOptions) -> int | None:
    """Return the milliseconds that a document waits for others in streaming; None for no wait.

    Service runners make bundles of a few messages, which are too small for good batches. The DirectRunner's bundles
    contain all messages that arrived while the model was busy, and waiting for more would only add latency.
    """
    if options.max_batch_wait_ms is not None or options.view_as(StandardOptions).runner in STREAMING_RUNNERS:
        return options.max_batch_wait_ms
    return _STREAMING_WAIT_MS
