"""Files as input, output and dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.checks.files import (
    check_apart,
    check_columns,
    check_encoding,
    check_writable,
    choose_files,
    guess_input_format,
    match_files_of,
)
from pipeline.connectors.base import Connector, Outputs, check_no_attributes, check_no_ordering_key, record_fields
from pipeline.io.files.formats.registry import INPUT_FORMATS, needs_redistribution
from pipeline.io.files.matching import is_folder
from pipeline.io.files.names import guess_output_format, output_files
from pipeline.io.files.read import ReadDocuments
from pipeline.io.files.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.io.files.write import OUTPUT_FORMATS, WriteFailures, WriteResults
from pipeline.options import NerOptions
from pipeline.places import Files
from transforms.settings import check_choice

if TYPE_CHECKING:
    from pipeline.config import NerConfig


class FilesConnector(Connector):
    """Files; see `Connector`."""

    def check_input(self, place: Files, options: NerOptions, outputs: Outputs) -> str:
        """Checks that the pattern matches files, and that the first has a column for the text."""
        check_no_attributes(options, f"only for messages; expected none with --input={options.input!r}")
        files = match_files_of("input", place.path)
        if options.input_format == "auto":
            input_format = guess_input_format(place.path, [file.path for file in files])
        else:
            check_choice("input_format", options.input_format, ("auto", *INPUT_FORMATS))
            input_format = options.input_format
        if is_folder(place.path):
            files = choose_files(files, input_format)
        check_apart("input", place.path, files, *outputs.files)
        check_encoding(options.encoding)
        check_columns("input", files, input_format, options.text_field, options.encoding)
        return input_format

    def check_replay(self, place: Files, options: NerOptions, outputs: Outputs) -> None:
        """Checks that the pattern matches files."""
        check_apart("replay", place.path, match_files_of("replay", place.path), *outputs.files)

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

    def needs_redistribution(self, place: Files, input_format: str) -> bool:
        """Return whether one worker may read the documents for many workers."""
        return needs_redistribution(place.path, input_format)

    def read(self, place: Files, config: NerConfig) -> Any:
        """Return the transform that reads the files."""
        fields = record_fields(config)
        return "ReadDocuments" >> ReadDocuments(
            place.path, config.input_format, **fields, encoding=config.encoding, balance=config.balance
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
            )
        return WriteResults(
            place.path,
            config.output_format,
            strategy,
            config.include_text,
            config.num_shards,
            escape_formulas=config.escape_formulas,
        )

    def write_failures(self, place: Files, config: NerConfig) -> Any:
        """Return the transform that writes failures, in streaming a window of time to each set of files."""
        if config.streaming:
            return WriteWindowedFailures(place.path, config.window_seconds, config.allowed_lateness_seconds)
        return WriteFailures(place.path)
