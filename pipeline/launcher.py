"""The program as the launcher of a Dataflow Flex Template starts it.

The launcher gives every parameter and every setting of the job as ``--name=value``: switches with ``true`` or
``false``, and those that nobody has set, depending on who launches, with an empty value.
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
from pipeline.run import main

IMAGE_VARIABLE = "BEAM_NER_IMAGE"
"""Names the image that the launcher runs in; workers need the same, since nothing is installed when they start."""

_logger = logging.getLogger(__name__)


def launch(arguments: Sequence[str] | None = None) -> int:
    """Builds the job that the launcher asks for, and writes it where the launcher expects it.

    Args:
        arguments: Those of the launcher; None takes those of the process.

    Returns:
        0 when the job is described, 1 when that failed, 2 for a mistake in a parameter, told in one sentence.
    """
    try:
        flags = command_line(sys.argv[1:] if arguments is None else arguments)
    except ValueError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return 2
    return main(flags)


def command_line(arguments: Sequence[str]) -> list[str]:
    """The launcher's arguments as the program and Beam read them.

    What is empty is left out. So is, with a warning, what neither the program nor Beam knows: Dataflow has checked the
    names of parameters, and the launcher's own settings differ from one version of it to the next.

    Raises:
        ValueError: if a switch is neither true nor false, or it is not known which image the workers need.
    """
    actions = _actions()
    flags = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and not value:
            continue
        if name.startswith("--") and name not in actions:
            _logger.warning("%s is no flag of this program or of Beam, and is left out", name)
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
    """A switch of Beam's, which stands alone where it is on; the one that says the opposite where it is off."""
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
            "--sdk_container_image is missing: the workers need the image of this template; give it as a parameter, or"
            " build the image with --build-arg=IMAGE=…"
        )
    return image
