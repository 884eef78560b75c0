"""The interface of a kind of place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.io.fields import Column, DocumentFields
from pipeline.io.files.settings import READ_SETTINGS, ReadSettings
from pipeline.io.kept_fields import Naming, kept_fields
from pipeline.io.pubsub.messages import ORDERING_KEY_ATTRIBUTE
from pipeline.options import NerOptions
from pipeline.places import Place, Query, Table
from pipeline.schemas import csv_columns

if TYPE_CHECKING:
    from pipeline.config import NerConfig


@dataclass(frozen=True)
class Outputs:
    """The places that a run writes, after their checks.

    Attributes:
        output: The place of results.
        output_format: The format of results.
        dead_letter: The place of failures.
        files: The prefix and suffix of each kind of output file.
    """

    output: Place
    output_format: str
    dead_letter: Place
    files: tuple[tuple[str, str], ...]

    @property
    def naming(self) -> Naming:
        """The rule for the columns of kept fields."""
        kinds: dict[str, Naming] = {"csv": "csv", "parquet": "parquet", "avro": "avro"}
        return "bigquery" if isinstance(self.output, Table) else kinds.get(self.output_format, "json")


@dataclass(frozen=True)
class CheckedInput:
    """The input of a run, after its checks.

    Attributes:
        format: The format of the files or messages.
        fields: The fields that make a document.
        reading: The settings of reading files.
        coarse: Whether one worker may read the documents for many workers.
    """

    format: str
    fields: DocumentFields
    reading: ReadSettings = READ_SETTINGS
    coarse: bool = False


class Connector:
    """A kind of place: its checks before a run, and its transforms in the graph.

    The methods that raise NotImplementedError are for uses that a kind lacks; they are not called.

    Attributes:
        is_table: True for tables that are written.
    """

    is_table = False

    def check_input(self, place: Any, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks a place that is to be read, and returns its format and its fields.

        Raises:
            ValueError: in one sentence with the flag, its value and a valid value.
        """
        raise NotImplementedError

    def check_replay(self, place: Any, options: NerOptions, outputs: Outputs) -> None:
        """Checks a place as a dead letter that is to be read again.

        Raises:
            ValueError: in one sentence with the flag, its value and a valid value.
        """
        raise NotImplementedError

    def check_output(self, place: Any, options: NerOptions) -> str:
        """Checks a place that results are written to, and returns their format.

        Raises:
            ValueError: in one sentence with the flag, its value and a valid value.
        """
        raise NotImplementedError

    def check_dead_letter(self, place: Any) -> None:
        """Checks a place that failures are written to.

        Raises:
            ValueError: in one sentence with the flag, its value and a valid value.
        """

    def default_dead_letter(self, place: Any, output_format: str) -> Place:
        """Return the place of failures if none is given, from the place of results."""
        raise NotImplementedError

    def files(self, place: Any, output_format: str, name: str = "output") -> tuple[str, str] | None:
        """Return the prefix and suffix of the files that are written; None if there are none.

        Args:
            place: The place.
            output_format: The format of the files.
            name: Name of the argument that contains the place, for error messages.
        """
        return None

    def prepare_results(self, place: Any, config: NerConfig) -> None:
        """Prepares the place for results, before a run.

        Raises:
            ValueError: if it cannot store them, in one sentence with the flag and its value.
        """

    def prepare_failures(self, place: Any, config: NerConfig) -> None:
        """Prepares the place for failures, before a run.

        Raises:
            ValueError: if it cannot store them, in one sentence with the flag and its value.
        """

    def read(self, place: Any, config: NerConfig) -> Any:
        """Return the transform that reads the place, with its label; its output is a `ReadResult`."""
        raise NotImplementedError

    def write_results(self, place: Any, config: NerConfig) -> Any:
        """Return the transform that writes results; its output is `Written`, except for files in batch."""
        raise NotImplementedError

    def write_failures(self, place: Any, config: NerConfig) -> Any:
        """Return the transform that writes failures; its output is `Written`, except for files in batch."""
        raise NotImplementedError


def check_no_attributes(options: NerOptions, problem: str) -> None:
    """Rejects the flags that are for attributes of messages.

    Raises:
        ValueError: if one is given.
    """
    for name in ("id_attribute", "timestamp_attribute"):
        if value := getattr(options, name):
            raise ValueError(f"--{name}={value!r}: {problem}")


def check_no_ordering_key(options: NerOptions) -> None:
    """Rejects the flags for an ordering key, which are for topics.

    Raises:
        ValueError: if one is given.
    """
    if options.keep_ordering_key:
        raise ValueError(f"--keep_ordering_key: only for topics; expected none with --output={options.output!r}")
    if options.ordering_key_attribute:
        raise ValueError(
            f"--ordering_key_attribute={options.ordering_key_attribute!r}: only for topics; expected none with"
            f" --output={options.output!r}"
        )


def ordering_key_attribute(options: NerOptions, *, streaming: bool) -> str | None:
    """Return the attribute of a document that contains its result's ordering key, or None for no ordering.

    Raises:
        ValueError: if the flags name two, or if the documents have no messages whose key could be kept.
    """
    if not options.keep_ordering_key:
        return options.ordering_key_attribute
    if options.ordering_key_attribute:
        raise ValueError(
            f"--keep_ordering_key and --ordering_key_attribute={options.ordering_key_attribute!r} each name an ordering"
            " key; expected one of them"
        )
    if not streaming and not options.replay:
        raise ValueError("--keep_ordering_key: only for messages; expected a subscription or a topic as --input")
    return ORDERING_KEY_ATTRIBUTE


def hold_seconds(config: NerConfig) -> float:
    """Return the seconds that a stream's results may wait for their file; 0 if no files are written."""
    return config.window_seconds if config.result_files or config.failure_files else 0


def record_fields(config: NerConfig) -> dict[str, Any]:
    """Return the fields of a record that are read, as arguments of a transform that reads."""
    return {"text_field": config.fields.text, "id_field": config.fields.id, "keep": config.fields.keep}


def fields_of(
    options: NerOptions, outputs: Outputs, columns: Sequence[Column] = (), *, complete: bool = True
) -> DocumentFields:
    """Return the fields that the flags name.

    Args:
        options: The flags.
        outputs: The places that the run writes.
        columns: The columns of the input, as far as they are known.
        complete: Whether no record has other fields than these columns.

    Raises:
        ValueError: if a field to keep cannot be kept, in one sentence with the flag and its value.
    """
    fields = DocumentFields(options.text_field, options.id_field)
    if not options.keep_fields:
        return fields
    kept = kept_fields(options.keep_fields, columns, fields, complete=complete, naming=outputs.naming)
    if outputs.output_format == "csv":
        own = csv_columns(options.aggregation_strategy)
        for field in kept:
            if field.column in own:
                problem = "also a column of the results; expected another --output_format"
                raise ValueError(f"--keep_fields={field.name!r}: {problem}")
    return replace(fields, keep=kept)


def check_no_file_flags(options: NerOptions, place: Place | Query) -> None:
    """Rejects the flags that are for files of text.

    Raises:
        ValueError: if one is given.
    """
    for name in ("encoding", "csv_delimiter", "csv_header", "csv_skip_lines"):
        if value := getattr(options, name):
            raise ValueError(f"--{name}={value!r}: only for files; expected none with {str(place)!r}")
