"""Errors of arguments, and the short form of any error."""

from __future__ import annotations


class ArgumentError(ValueError):
    """An argument that does not fit; the message opens with the argument: ``name=value …``.

    A program whose flags have the names of the arguments puts ``--`` before it.
    """


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its type where it has none.

    >>> first_line(ValueError("one\\ntwo")), first_line(KeyError())
    ('one', 'KeyError')
    """
    return (str(error).splitlines() or [""])[0] or type(error).__name__
