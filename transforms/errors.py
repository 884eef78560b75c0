"""The error for an invalid argument, and the short form of any error."""

from __future__ import annotations


class ArgumentError(ValueError):
    """An invalid argument. The message starts with the argument: ``name=value …``.

    A program whose flags have the names of the arguments puts ``--`` before the message.
    """


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message that is not empty, or the name of its type if there is none.

    >>> first_line(ValueError("\n one\ntwo")), first_line(KeyError())
    ('one', 'KeyError')
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)
