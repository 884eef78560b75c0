"""Files as input, output and dead letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from apache_beam.io.filesystem import FileMetadata
from apache_beam.options.pipeline_options import GoogleCloudOptions

from pipeline.checks.files import check_writable, make_folder
from pipeline.checks.input_files import (
    check_apart,
    choose_files,
    guess_input_format,
    is_coarse,
    look_into,
    match_files_of,
)
from pipeline.checks.reading import read_settings
from pipeline.checks.table_input import check_table_pattern
from pipeline.connectors.base import (
    CheckedInput,
    Connector,
    Outputs,
    check_no_attributes,
    check_no_ordering_key,
    fields_of,
    record_fields,
)
from pipeline.io.fields import DocumentFields
from pipeline.io.files.formats.registry import FORMAT_ALIASES, FORMATS, INPUT_FORMATS
from pipeline.io.files.matching import is_folder
from pipeline.io.files.names import guess_output_format, output_files
from pipeline.io.files.read import ReadDocuments
from pipeline.io.files.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.io.files.write import OUTPUT_FORMATS, WriteFailures, WriteResults
from pipeline.options import NerOptions
from pipeline.places import Files, tables_of
from transforms.settings import check_choice

if TYPE_CHECKING:
    from pipeline.config import NerConfig


class FilesConnector(Connector):
    """Files; see `Connector`."""

    def check_input(self, place: Files, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks that the paths match files, and that the first has columns for the fields."""
        check_no_attributes(options, f"only for messages; expected none with --input={str(place)!r}")
        fields = DocumentFields(options.text_field, options.id_field)
        for tables in filter(None, map(tables_of, place.paths)):
            check_table_pattern(tables, fields, options.view_as(GoogleCloudOptions).project)
        matched = {path: match_files_of("input", path) for path in place.paths}
        input_format = _input_format(options.input_format, matched)
        matched |= {path: choose_files(files, input_format) for path, files in matched.items() if is_folder(path)}
        check_apart("input", matched, outputs.files)
        settings = read_settings(options, input_format)
        kind = FORMATS[input_format]
        if options.keep_fields and not kind.has_fields:
            raise ValueError(
                f"--keep_fields={options.keep_fields!r}: texts have no fields; expected none for {input_format}"
            )
        files = list(chain.from_iterable(matched.values()))
        columns = look_into("input", files, input_format, fields, settings)
        complete = bool(columns) and not kind.open_ended
        read_fields = fields_of(options, outputs, columns, complete=complete)
        return CheckedInput(input_format, read_fields, settings, is_coarse(files, input_format, settings))

    def check_replay(self, place: Files, options: NerOptions, outputs: Outputs) -> None:
        """Checks that the paths match files."""
        check_apart("replay", {path: match_files_of("replay", path) for path in place.paths}, outputs.files)

    def check_output(self, place: Files, options: NerOptions) -> str:
        """Checks that the files can be written."""
        check_no_ordering_key(options)
        check_writable("output", place.path)
        if options.output_format == "auto":
            return guess_output_format(place.path)
        check_choice("output_format", options.output_format, ("auto", *OUTPUT_FORMATS))
        return options.output_format

    def check_dead_letter(self, place: Files) -> None:
        """Checks that the files can be written."""
        check_writable("dead_letter", place.path)

    def default_dead_letter(self, place: Files, output_format: str) -> Files:
        """Return the results' prefix with an ending of its own."""
        prefix, _ = output_files(place.path, output_format)
        return Files(f"{prefix}-failures")

    def files(self, place: Files, output_format: str, name: str = "output") -> tuple[str, str]:
        """Return the prefix and suffix of the files."""
        return output_files(place.path, output_format, name)

    def prepare_results(self, place: Files, config: NerConfig) -> None:
        """Makes the folder of the files."""
        make_folder("output", place.path)

    def prepare_failures(self, place: Files, config: NerConfig) -> None:
        """Makes the folder of the files."""
        make_folder("dead_letter", place.path)

    def read(self, place: Files, config: NerConfig) -> Any:
        """Return the transform that reads the files."""
        fields = record_fields(config)
        return "ReadDocuments" >> ReadDocuments(
            place.paths, config.input_format, **fields, settings=config.reading, balance=config.balance
        )

    def write_results(self, place: Files, config: NerConfig) -> Any:
        """Return the transform that writes results, in streaming a window of time to each set of files."""
        strategy = config.rules.strategy.value
        if config.streaming:
            return WriteWindowedResults(
                place.path,
                config.output_format,
                strategy,
                config.include_text,
                config.window_seconds,
                config.allowed_lateness_seconds,
                max(1, config.num_shards),
                escape_formulas=config.escape_formulas,
                kept=config.fields.keep,
            )
        return WriteResults(
            place.path,
            config.output_format,
            strategy,
            config.include_text,
            config.num_shards,
            escape_formulas=config.escape_formulas,
            kept=config.fields.keep,
        )

    def write_failures(self, place: Files, config: NerConfig) -> Any:
        """Return the transform that writes failures, in streaming a window of time to each set of files."""
        if config.streaming:
            return WriteWindowedFailures(place.path, config.window_seconds, config.allowed_lateness_seconds)
        return WriteFailures(place.path)


def _input_format(given: str, matched: Mapping[str, Sequence[FileMetadata]]) -> str:
    """Return the format of the input's files.

    Args:
        given: The value of the flag.
        matched: The files by the path that they match.
    """
    if given != "auto":
        check_choice("input_format", given, ("auto", *INPUT_FORMATS, *FORMAT_ALIASES))
        return FORMAT_ALIASES.get(given, given)
    formats = {path: guess_input_format(path, [file.path for file in files]) for path, files in matched.items()}
    if len(set(formats.values())) > 1:
        listed = " and ".join(f"{name} ({path})" for path, name in formats.items())
        raise ValueError(f"--input: files of several formats: {listed}; expected one, or --input_format")
    return next(iter(formats.values()))
