"""Parses the command line: the program's flags, Beam's flags, and unknown flags."""

from __future__ import annotations

import argparse
import difflib
import re
from collections import Counter
from collections.abc import Sequence

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    TypeOptions,
)

from pipeline import PROGRAM
from pipeline.beam_internals import BeamArgumentParser, add_flags
from pipeline.options import NerOptions

LOCAL_RUNNERS = (None, "DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner", "PrismRunner", "FnApiRunner")
STREAMING_RUNNERS = (None, "DirectRunner", "BundleBasedDirectRunner", "SwitchingDirectRunner")
"""Names of runners that select the BundleBasedDirectRunner if the input is a stream."""

# argparse has no other way to tell these errors apart. Since Python 3.12, it does not quote the choices.
_INVALID_CHOICE = re.compile(r"(--\w+): invalid choice: (.*) \(choose from (.*)\)", re.DOTALL)
_INVALID_VALUE = re.compile(r"(--\w+): invalid (\w+) value: (.*)", re.DOTALL)
_KINDS = {"int": "a whole number", "float": "a number"}

_MISTYPED = 0.85
"""The similarity (0 to 1) from which an unknown flag counts as a mistyped flag of the program.

Flags of job servers such as `--parallelism` and `--max_parallelism` are below it.
"""


def parse(flags: Sequence[str]) -> PipelineOptions:
    """Parses the program's own flags and Beam's flags.

    Raises:
        ValueError: if a flag is unknown or its value cannot be parsed.
    """
    parser = Parser(
        prog=PROGRAM,
        description="Finds the entities in a lot of text with a Hugging Face token-classification checkpoint.",
        epilog="Flags of Beam and its runners (--runner, --direct_num_workers, --temp_location, …) are passed on.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    add_flags(NerOptions, parser)
    _check_bytes(flags)
    _check_once(flags, parser)
    _, others = parser.parse_known_args(flags)
    options = PipelineOptions(list(flags))
    _name_runner(options.view_as(StandardOptions))
    _check_known(options, others, parser)
    if options.view_as(TypeOptions).runtime_type_check:
        raise ValueError(
            "--runtime_type_check: mistakes failures for results, and quotes documents in its errors; expected"
            " --performance_runtime_type_check"
        )
    _leave_main_session(options)
    return options


def _name_runner(options: StandardOptions) -> None:
    """Normalizes the runner's name: Beam accepts it in upper or lower case, and without the suffix "Runner"."""
    known = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    known.update(
        zip(map(str.lower, StandardOptions.ALL_KNOWN_RUNNERS), StandardOptions.KNOWN_RUNNER_NAMES, strict=True)
    )
    given = (options.runner or "").lower()
    options.runner = known.get(given) or known.get(f"{given}runner") or options.runner
    if options.runner and options.runner not in known.values() and "." not in options.runner:
        listed = ", ".join(StandardOptions.KNOWN_RUNNER_NAMES)
        raise ValueError(f"--runner={options.runner}: unknown; expected one of {listed}, or the class of a runner")


def _check_known(options: PipelineOptions, flags: list[str], own: argparse.ArgumentParser) -> None:
    """Rejects flags that neither the program nor Beam defines.

    Portable runners have flags that only their job server defines, so unknown flags are passed on to it. A flag that
    looks like a mistyped flag of the program is still rejected, because the job server would silently drop it.
    """
    known = beam_parser()
    _, unknown = known.parse_known_args(flags)
    runner = options.view_as(StandardOptions).runner
    if runner not in LOCAL_RUNNERS and runner != "DataflowRunner":
        own_flags = list(own._option_string_actions)
        unknown = [flag for flag in unknown if difflib.get_close_matches(_name(flag), own_flags, 1, _MISTYPED)]
    if not unknown:
        return
    name = _name(unknown[0])
    if not name.startswith("-"):
        kept = options.view_as(NerOptions).keep_fields
        quotes = ", or --keep_fields='*' with quotes" if kept else ""
        raise ValueError(f"{name!r}: not a flag; expected --input=FILES for files to read{quotes}")
    choices = [*own._option_string_actions, *known._option_string_actions]
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f"such as {close[0]}" if close else "that --help lists"
    raise ValueError(f"{name}: not a flag of this program or of Beam; expected one {hint}")


def _check_once(flags: Sequence[str], own: argparse.ArgumentParser) -> None:
    """Rejects a flag of one value that is given twice; argparse would use the last value, and drop the others."""
    given = Counter(name for name in map(_name, flags) if name in own._option_string_actions)
    many = {name for name, action in own._option_string_actions.items() if isinstance(action, argparse._ExtendAction)}
    for name, count in given.items():
        if count > 1 and name not in ("-h", "--help", *many):
            raise ValueError(f"{name}: given {count} times; expected once")


def _check_bytes(flags: Sequence[str]) -> None:
    """Rejects a NUL byte, which no file's name can contain; a shell cannot pass it, but a program can."""
    for flag in flags:
        if "\0" in flag:
            name, _, value = flag.partition("=")
            raise ValueError(f"{name}={value!r}: contains a NUL byte; expected none")


def beam_parser() -> argparse.ArgumentParser:
    """Return a parser of Beam's own flags."""
    parser = _BeamParser(prog=PROGRAM, allow_abbrev=False, add_help=False)
    for cls in PipelineOptions.__subclasses__():
        if cls is not NerOptions:
            add_flags(cls, parser)
    return parser


def _leave_main_session(options: PipelineOptions) -> None:
    """Keeps Beam from pickling the main module for Dataflow's workers, which import the installed package."""
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        setup.save_main_session = False


def _name(flag: str) -> str:
    return flag.partition("=")[0]


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake in one line, as a ValueError of the form `--flag=value: problem; expected X`.

    The message of a flag's own type must be `value: problem; expected X`.
    """

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise the message as a ValueError, instead of exiting the process."""
        sentence = message.removeprefix("argument ")
        if match := _INVALID_CHOICE.fullmatch(sentence):
            flag, value, choices = match.groups()
            known = choices.replace("'", "")
            sentence = f"{flag}={value}: unknown; expected one of {known}"
        elif match := _INVALID_VALUE.fullmatch(sentence):
            flag, kind, value = match.groups()
            sentence = f"{flag}={value}: invalid; expected {_KINDS.get(kind, kind)}"
        elif "; expected " in sentence:
            sentence = sentence.replace(": ", "=", 1)
        raise ValueError(sentence)


class _BeamParser(Parser, BeamArgumentParser):
    """The same parser for Beam's own flags."""


class _HelpFormatter(argparse.HelpFormatter):
    """Adds a flag's default to its help, unless there is none or the help already contains it."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        without = action.default is None or action.default is False or action.default == argparse.SUPPRESS
        shown = not without and "(default" not in text
        return f"{text} (default: %(default)s)" if shown else text
