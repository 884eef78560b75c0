"""Reading the command line: the program's flags, Beam's flags, and what is neither."""

from __future__ import annotations

import argparse
import difflib
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
"""Names under which the BundleBasedDirectRunner is meant where the input has no end."""

_MISTYPED = 0.85
"""How like a flag of the program another must be to be taken for it; `--parallelism` or `--max_parallelism` is not."""


def parse(flags: Sequence[str]) -> PipelineOptions:
    """Reads the program's own flags and Beam's.

    Raises:
        ValueError: if a flag is unknown or its value cannot be read.
    """
    parser = Parser(
        prog=PROGRAM,
        description="Finds the entities in a lot of text with a Hugging Face token-classification checkpoint.",
        epilog="Flags of Beam and its runners (--runner, --direct_num_workers, --temp_location, …) are passed on.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    add_flags(NerOptions, parser)
    _, others = parser.parse_known_args(flags)
    options = PipelineOptions(list(flags))
    _name_runner(options.view_as(StandardOptions))
    _check_known(options, others, parser)
    if options.view_as(TypeOptions).runtime_type_check:
        raise ValueError(
            "--runtime_type_check takes the failures of a step for its results, and quotes documents in its errors; use"
            " --performance_runtime_type_check"
        )
    _leave_main_session(options)
    return options


def _name_runner(options: StandardOptions) -> None:
    """Gives the runner the one name that the program asks for; Beam takes it in any case, and without its ending."""
    known = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    known.update(
        zip(map(str.lower, StandardOptions.ALL_KNOWN_RUNNERS), StandardOptions.KNOWN_RUNNER_NAMES, strict=True)
    )
    given = (options.runner or "").lower()
    options.runner = known.get(given) or known.get(f"{given}runner") or options.runner


def _check_known(options: PipelineOptions, flags: list[str], own: argparse.ArgumentParser) -> None:
    """Refuses flags that neither the program nor Beam knows.

    Portable runners have flags that only their job server knows. With these all are passed on but those that look
    like one of the program's own, mistyped, which the job server would drop without a word.
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
        raise ValueError(f"{name!r} belongs to no flag; files to read are named by --input")
    choices = [*own._option_string_actions, *known._option_string_actions]
    close = difflib.get_close_matches(name, choices, n=1)
    hint = f"; did you mean {close[0]}?" if close else "; --help lists the program's flags"
    raise ValueError(f"{name} is not a flag of this program or of Beam{hint}")


def beam_parser() -> argparse.ArgumentParser:
    """A parser of Beam's own flags."""
    parser = _BeamParser(prog=PROGRAM, allow_abbrev=False, add_help=False)
    for cls in PipelineOptions.__subclasses__():
        if cls is not NerOptions:
            add_flags(cls, parser)
    return parser


def _leave_main_session(options: PipelineOptions) -> None:
    """Keeps Beam from pickling the main module for Dataflow's workers: they import the installed package."""
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        setup.save_main_session = False


def _name(flag: str) -> str:
    return flag.partition("=")[0]


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line: as `--flag=value must be …` where that is what a flag's type says of a value."""

    def error(self, message: str) -> None:  # type: ignore[override]
        sentence = message.removeprefix("argument ")
        raise ValueError(sentence.replace(": ", "=", 1) if " must be " in sentence else sentence)


class _BeamParser(Parser, BeamArgumentParser):
    """The same for Beam's own flags."""


class _HelpFormatter(argparse.HelpFormatter):
    """Shows the default of each flag that has one and does not say so itself."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        without = action.default is None or action.default is False or action.default == argparse.SUPPRESS
        shown = not without and "(default" not in text
        return f"{text} (default: %(default)s)" if shown else text
