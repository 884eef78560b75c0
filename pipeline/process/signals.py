"""SIGTERM and SIGINT while the program starts, and while it runs a batch: the process ends with one line."""

from __future__ import annotations

import argparse
import os
import select
import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from pipeline import PROGRAM
from pipeline.places import is_stream, place_of
from pipeline.process.children import end_children

OUTCOMES: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
"""The word for a run that a signal has ended."""

_STDOUT, _STDERR = 1, 2  # of the process; `print` may be what is interrupted
_ONE_SIGNAL_SECONDS = 0.5  # what comes within is the same signal: of a terminal, of a shell and of an impatient finger
_STOP_SECONDS = 8.0  # for cancelling a job and deleting remote files; Docker kills a container after 10

Stop = Callable[[int], str]
"""Cleans up after a run that a signal ends; given the signal, returns the line that says so."""

_clean_up: Callable[[], None] | None = None
_ended_by_signal = threading.Event()
_handed_over = threading.Event()
_stop: Stop | None = None
_code_of_ended_run: int | None = None


def end_on_signals(flags: Sequence[str]) -> None:
    """Ends the process with one line on SIGTERM and SIGINT, until a run begins.

    The exit code is 0 where the input is a stream: to be stopped is its way to end, and nothing is lost. Any other run
    has then not made its results, and ends with 128 and the signal's number, as shells have it.

    To be called in the main thread, before the libraries are loaded, which takes seconds. A model is loaded and run in
    native code, during which Python calls no handler; so a thread waits for the signals.

    Args:
        flags: The program's.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in OUTCOMES:
        if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # as nohup has it
            signal.signal(number, _wait_for_the_end)
    arguments = (reader, 0 if _names_a_stream(flags) else None)
    threading.Thread(target=_watch, args=arguments, name="signals", daemon=True).start()


def clean_up_by(clean_up: Callable[[], None]) -> None:
    """Sets the function that a signal calls before it ends a process whose run has not begun."""
    global _clean_up
    _clean_up = clean_up


def run_begins(stop: Stop | None = None) -> None:
    """Sets the work of the signals from now on.

    Args:
        stop: Called by the first signal, in a thread of its own, before the process ends; a second signal ends the
            process at once. None leaves the signals to handlers that others have set.
    """
    global _stop
    _stop = stop
    if stop is None:
        _handed_over.set()


def run_ended(code: int) -> None:
    """Has a signal end the process with a run's own exit code from now on: all is written."""
    global _code_of_ended_run
    _code_of_ended_run = code


def wait_if_ending() -> None:
    """Waits for ever where a signal is ending the process: what fails meanwhile fails because of it."""
    if _ended_by_signal.is_set():
        threading.Event().wait()


def end_at_once(number: int, frame: FrameType | None = None) -> NoReturn:
    """Ends the process by a signal; a handler for the signal itself.

    The first process of a container has no default action: there the exit code is the one that shells give.
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)


def _names_a_stream(flags: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--input", "--replay"):
        parser.add_argument(name, nargs="?")  # a mistake is not told here
    known, _ = parser.parse_known_args(flags)
    return any(is_stream(place_of(place)) for place in (known.input, known.replay) if place)


def _wait_for_the_end(number: int, frame: FrameType | None) -> None:
    """Keeps the main thread from going on, and from ending the process its own way; `_watch` ends it."""
    if _handed_over.is_set():  # and handed back
        end_at_once(number)
    threading.Event().wait()


def _watch(reader: int, code_before_run: int | None) -> None:
    """Waits for signals, as bytes in a pipe, until they are handed over."""
    while not _handed_over.is_set():
        number = os.read(reader, 1)[0]
        if number not in OUTCOMES or _handed_over.is_set():
            continue
        if _code_of_ended_run is not None:
            end_children()
            os._exit(_code_of_ended_run)
        if _stop is None:
            if _clean_up is not None:
                _clean_up()
            _say(f"{PROGRAM}: {signal.Signals(number).name}: stopped before anything was read\n")
            os._exit(128 + number if code_before_run is None else code_before_run)
        _ended_by_signal.set()
        threading.Thread(target=_end, args=(number, _stop), name="stop", daemon=True).start()
        threading.Event().wait(_ONE_SIGNAL_SECONDS)
        while select.select([reader], [], [], 0)[0]:
            os.read(reader, 64)
        select.select([reader], [], [], _STOP_SECONDS)  # a second signal, or too long
        os._exit(128 + number)


def _end(number: int, stop: Stop) -> None:
    """Stops a run and ends the process; what others write meanwhile is about what was taken from them."""
    stderr = os.dup(_STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (_STDOUT, _STDERR):
        os.dup2(nowhere, stream)
    try:
        line = stop(number)
        _say(f"{line}\n", stderr)
    finally:
        os._exit(128 + number)


def _say(line: str, descriptor: int = _STDERR) -> None:
    try:
        os.write(descriptor, line.encode())
    except OSError:  # a full disk, or nobody who reads
        return
