"""The error for an invalid argument, and the short form of any error."""

from __future__ import annotations


class ArgumentError(ValueError):
    """An invalid argument. The message starts with the argument: ``name=value …``.

    A program whose flags have the names of the arguments puts ``--`` before the message.
    """


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or the name of its type if the message is empty.

    >>> first_line(ValueError("one\ntwo")), first_line(KeyError())
    ('one', 'KeyError')
    """
    return (str(error).splitlines() or [""])[0] or type(error).__name__
