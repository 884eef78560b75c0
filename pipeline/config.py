"""The program's configuration: the flags, checked against each other and the world before any worker starts."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions

from pipeline.options import NerOptions
from pipeline.sinks import OUTPUT_FORMATS, guess_output_format, is_shard, output_files
from pipeline.sources import INPUT_FORMATS, UnreadableFileError, check_text_field, guess_input_format, match_files
from transforms.aggregation import AggregationStrategy
from transforms.engines import check_choice
from transforms.model_setup import ModelSetup

if TYPE_CHECKING:
    from transforms.model_handler import TokenClassificationModelHandler


@dataclass(frozen=True)
class NerConfig:
    """A run of the program, all of it known to make sense.

    Attributes:
        input: Glob of the files to read.
        input_format: Their format.
        text_field: Field of the text.
        id_field: Field of the id.
        output: Prefix of the result files.
        output_format: Their format.
        num_shards: How many there are to be; 0 leaves it to the runner.
        dead_letter: Prefix of the files for failures.
        include_text: Whether results repeat the text.
        aggregation_strategy: How tokens become entities.
        ignore_labels: Labels to leave out.
        min_score: Lowest score of an entity.
        window_join: How overlapping windows are joined.
        model: Arguments of the model handler.
    """

    input: str
    input_format: str
    text_field: str
    id_field: str
    output: str
    output_format: str
    num_shards: int
    dead_letter: str
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
            output_format = _output_format(options)
            dead_letter = _dead_letter(options, output_format)
            input_format = _check_input(options, output_format, dead_letter)
            model = _check_model(options, strategy)
        return cls(
            input=options.input,
            input_format=input_format,
            text_field=options.text_field,
            id_field=options.id_field,
            output=options.output,
            output_format=output_format,
            num_shards=options.num_shards,
            dead_letter=dead_letter,
            include_text=options.include_text,
            aggregation_strategy=strategy,
            ignore_labels=frozenset(filter(None, (label.strip() for label in options.ignore_labels.split(",")))),
            min_score=options.min_score,
            window_join=options.window_join,
            model=model,
        )

    @property
    def result_files(self) -> tuple[str, str]:
        """Prefix and suffix of the result files."""
        return output_files(self.output, self.output_format)

    @property
    def failure_files(self) -> tuple[str, str]:
        """Prefix and suffix of the failure files."""
        return output_files(self.dead_letter, "jsonl", "--dead_letter")

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
    for name, least in (("num_shards", 0), ("max_batch_tokens", 1), ("threads", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"min_score={options.min_score} must be between 0 and 1")


def _check_input(options: NerOptions, output_format: str, dead_letter: str) -> str:
    """The input's format, after a look at its files."""
    if not options.input:
        raise ValueError("--input is missing: name the files to read, for example --input='tickets/*.jsonl'")
    files = _match(options.input)
    if options.input_format == "auto":
        input_format = guess_input_format(options.input)
    else:
        check_choice("input_format", options.input_format, ("auto", *INPUT_FORMATS))
        input_format = options.input_format
    _check_apart(options, files, output_files(options.output, output_format), output_files(dead_letter, "jsonl"))
    first = next((file for file in files if file.size_in_bytes), None)
    if first is not None:
        # A broken file is a failure of its own when it is read; the others are fine.
        with suppress(UnreadableFileError):
            check_text_field(first.path, input_format, options.text_field)
    return input_format


def _match(pattern: str) -> list[FileMetadata]:
    if _is_local(pattern) and Path(pattern).is_dir():
        inside = f"{pattern.rstrip('/')}/*"
        raise ValueError(f"input={pattern!r} is a folder; name the files in it, for example {inside!r}")
    try:
        files = match_files(pattern)
    except Exception as error:
        raise ValueError(f"input={pattern!r} cannot be listed: {type(error).__name__}: {_first_line(error)}") from error
    if not files:
        raise ValueError(f"input={pattern!r} matches no file")
    return files


def _check_apart(options: NerOptions, files: list[FileMetadata], *outputs: tuple[str, str]) -> None:
    """A second run must not read what the first has written."""
    for file in files:
        for prefix, suffix in outputs:
            if _folder(file.path) == _folder(prefix) and is_shard(file.path, prefix, suffix):
                raise ValueError(f"input={options.input!r} matches {file.path}, which is a file of this run's output")


def _folder(path: str) -> str:
    """The folder of a file; of a local one, by whatever path it was named."""
    return str(Path(path).parent.resolve()) if _is_local(path) else FileSystems.split(path)[0]


def _output_format(options: NerOptions) -> str:
    if not options.output:
        raise ValueError("--output is missing: name a prefix for the results, for example --output=out/entities")
    _check_writable("output", options.output)
    if options.output_format == "auto":
        return guess_output_format(options.output)
    check_choice("output_format", options.output_format, ("auto", *OUTPUT_FORMATS))
    return options.output_format


def _dead_letter(options: NerOptions, output_format: str) -> str:
    prefix, _ = output_files(options.output, output_format)
    dead_letter = options.dead_letter or f"{prefix}-failures"
    _check_writable("dead_letter", dead_letter)
    if output_files(dead_letter, "jsonl", "--dead_letter") == output_files(options.output, output_format):
        raise ValueError(f"dead_letter={dead_letter!r} must not be the same as --output={options.output!r}")
    return dead_letter


def _check_writable(name: str, prefix: str) -> None:
    try:
        FileSystems.get_filesystem(prefix)
    except ValueError:
        raise ValueError(f"{name}={prefix!r} is on no file system that Beam knows") from None
    if not _is_local(prefix):
        return
    if prefix.endswith("/") or Path(prefix).is_dir():
        raise ValueError(
            f"{name}={prefix!r} is a folder; name a prefix in it, for example '{prefix.rstrip('/')}/entities'"
        )
    folder = Path(prefix).absolute().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"{name}={prefix!r} cannot be written: {error.strerror}: {folder}") from error


def _check_model(options: NerOptions, strategy: AggregationStrategy) -> dict[str, Any]:
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
    return {**{name: getattr(options, name) for name in names}, "threads": _threads(options)}


def _threads(options: NerOptions) -> int | None:
    """Threads of a process: those asked for, or where local worker processes share the cores, its part of them."""
    direct = options.view_as(DirectOptions)
    if options.threads is not None or direct.direct_running_mode != "multi_processing":
        return options.threads
    cores = os.cpu_count() or 1
    return max(1, cores // (direct.direct_num_workers or cores))


def _is_local(path: str) -> bool:
    return FileSystems.get_scheme(path) in (None, "file")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]
