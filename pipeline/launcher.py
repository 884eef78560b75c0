"""The entry point for the launcher of a Dataflow Flex Template.

The launcher passes every parameter and every setting of the job as ``--name=value``. The value of a switch is ``true``
or ``false``. Depending on the client, parameters that are not set are passed with an empty value.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from pipeline.beam_internals import add_flags
from pipeline.command_line import PROGRAM, beam_parser
from pipeline.options import NerOptions, boolean
from pipeline.process.output import guard_output, report
from pipeline.run import main

IMAGE_VARIABLE = "BEAM_NER_IMAGE"
"""The environment variable with the name of the launcher's image.

Workers need the same image, since nothing is installed when they start.
"""

_logger = logging.getLogger(__name__)


def launch(arguments: Sequence[str] | None = None) -> int:
    """Builds the job from the launcher's arguments, and writes its description where the launcher expects it.

    Args:
        arguments: Arguments of the launcher; None uses those of the process.

    Returns:
        0 if the job is described, 1 if that failed, 2 for a mistake in a parameter, which is reported in one sentence.
    """
    guard_output()
    try:
        flags = command_line(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        report(f"{PROGRAM}: error: {error}")
        return 2
    return main(flags)


def command_line(arguments: Sequence[str]) -> list[str]:
    """Return the launcher's arguments as flags of the program and of Beam.

    Arguments with an empty value are left out. Flags that neither the program nor Beam defines are left out with a
    warning. Dataflow has already checked the names of parameters, and the launcher's own settings differ by version.

    Raises:
        ValueError: if a switch is neither true nor false, or the workers' image is not known.
    """
    actions = _actions()
    flags = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and not value:
            continue
        if name.startswith("--") and name not in actions:
            _logger.warning("%s is not a flag of this program or of Beam, and is ignored", name)
        elif equals and name in actions and actions[name].nargs == 0:
            flags += _switch(name, value, actions)
        else:
            flags.append(argument)
    if not any(flag.startswith("--sdk_container_image=") for flag in flags):
        flags.append(f"--sdk_container_image={_image()}")
    return flags


def _actions() -> dict[str, argparse.Action]:
    parser = beam_parser()
    add_flags(NerOptions, parser)
    return parser._option_string_actions


def _switch(name: str, value: str, actions: dict[str, argparse.Action]) -> list[str]:
    """Return the flags for one of Beam's switches: the switch itself if on, or the opposite switch, if any, if off."""
    try:
        on = boolean(value)
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"{name}={error}") from None
    action = actions[name]
    opposites = [
        other.option_strings[0]
        for other in actions.values()
        if other.dest == action.dest and other.nargs == 0 and other.const != action.const
    ]
    return [name] if on else opposites[:1]


def _image() -> str:
    image = os.environ.get(IMAGE_VARIABLE)
    if not image:
        raise ValueError(
            "--sdk_container_image: missing; expected the image of this template for the workers, as a parameter or"
            " from a build with --build-arg=IMAGE=…"
        )
    return image
