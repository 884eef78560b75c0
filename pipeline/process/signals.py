"""Ends the process with one line on SIGTERM, SIGINT or SIGHUP, while the program starts or runs a batch."""

from __future__ import annotations

import argparse
import os
import select
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from pipeline import PROGRAM
from pipeline.places import is_stream, place_of
from pipeline.process.children import end_children
from pipeline.process.output import STDERR, STDOUT, write_now

OUTCOMES: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
"""The word for the outcome of a run, by the signal that ended it."""

# Signals within this time count as one: a terminal and a shell may each send it, and a key may be pressed twice.
_ONE_SIGNAL_SECONDS = 0.5
_STOP_SECONDS = 8.0  # for cancelling a job and deleting remote files; Docker kills a container after 10

Stop = Callable[[int], str]
"""A function that cleans up after a run; its argument is the signal, and it returns the line to print."""


@dataclass
class _State:
    """The state of this process's run, which the main thread sets and the thread of signals reads.

    Attributes:
        clean_up: The function to call if a signal comes before the run begins.
        stop: The function to call if a signal comes during the run; None before the run.
        code_of_ended_run: The exit code after the end of the run; None before its end.
        owns_process: True if this process is that of the program.
        handed_over: Set if signals are left to other handlers.
        ended_by_signal: Set if a signal is ending the run.
    """

    clean_up: Callable[[], None] | None = None
    stop: Stop | None = None
    code_of_ended_run: int | None = None
    owns_process: bool = False
    handed_over: threading.Event = field(default_factory=threading.Event)
    ended_by_signal: threading.Event = field(default_factory=threading.Event)


_state = _State()


def end_on_signals(flags: Sequence[str]) -> None:
    """Ends the process with one line on SIGTERM, SIGINT or SIGHUP, until a run begins.

    The exit code is 0 if the input is a stream: it ends only by a signal, and nothing is lost. Any other run has not
    produced its results. Its exit code is 128 plus the signal's number, as in shells.

    Call this in the main thread, before the libraries are loaded, which takes seconds. A model is loaded and run in
    native code, where Python calls no signal handler. Therefore a thread waits for the signals.

    Args:
        flags: Flags of the program.
    """
    _state.owns_process = True
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in OUTCOMES:
        if signal.getsignal(number) is not signal.SIG_IGN or number != signal.SIGHUP:  # nohup ignores SIGHUP
            signal.signal(number, _wait_for_the_end)
    arguments = (reader, 0 if _names_a_stream(flags) else None)
    threading.Thread(target=_watch, args=arguments, name="signals", daemon=True).start()


def owns_process() -> bool:
    """Return whether `end_on_signals` was called; a notebook, for example, calls only `pipeline.run.main`."""
    return _state.owns_process


def clean_up_by(clean_up: Callable[[], None]) -> None:
    """Sets the function that is called if a signal ends the process before its run begins."""
    _state.clean_up = clean_up


def run_begins(stop: Stop | None = None) -> None:
    """Changes the handling of signals for a run.

    Args:
        stop: Function that the first signal calls in its own thread, before the process ends; a second signal ends the
            process at once. None leaves the signals to handlers that are set elsewhere.
    """
    _state.stop = stop
    if stop is None:
        _state.handed_over.set()


def run_ended(code: int) -> None:
    """Sets the exit code for signals after the end of a run: all results are written, so it is the run's own."""
    _state.code_of_ended_run = code


def wait_if_ending() -> None:
    """Waits for ever if a signal is ending the process, since an error at that time is caused by the signal."""
    if _state.ended_by_signal.is_set():
        threading.Event().wait()


def end_at_once(number: int, frame: FrameType | None = None) -> NoReturn:
    """Ends the process by a signal; can be set as the handler of that signal.

    Signals have no default action for the first process of a container. There the exit code is set as in shells.
    """
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)


def _names_a_stream(flags: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--input", "--replay"):
        # The parser of all flags reports a missing value later.
        parser.add_argument(name, nargs="*", action="extend", default=[])
    known, _ = parser.parse_known_args(flags)
    return any(is_stream(place_of(place)) for place in (*known.input, *known.replay))


def _wait_for_the_end(number: int, frame: FrameType | None) -> None:
    """Stops the main thread until `_watch` ends the process, so that it neither continues nor raises an error."""
    if _state.handed_over.is_set():  # the run's own handlers have been removed again
        end_at_once(number)
    threading.Event().wait()


def _watch(reader: int, code_before_run: int | None) -> None:
    """Reads signals, as bytes of a pipe, until they are left to other handlers."""
    while not _state.handed_over.is_set():
        number = os.read(reader, 1)[0]
        if number not in OUTCOMES or _state.handed_over.is_set():
            continue
        if _state.code_of_ended_run is not None:
            end_children()
            os._exit(_state.code_of_ended_run)
        if _state.stop is None:
            if _state.clean_up is not None:
                _state.clean_up()
            write_now(f"{PROGRAM}: {signal.Signals(number).name}: stopped before anything was read\n")
            os._exit(128 + number if code_before_run is None else code_before_run)
        _state.ended_by_signal.set()
        threading.Thread(target=_end, args=(number, _state.stop), name="stop", daemon=True).start()
        threading.Event().wait(_ONE_SIGNAL_SECONDS)
        while select.select([reader], [], [], 0)[0]:
            os.read(reader, 64)
        select.select([reader], [], [], _STOP_SECONDS)  # until a second signal or the time limit
        os._exit(128 + number)


def _end(number: int, stop: Stop) -> None:
    """Stops a run and ends the process; other output is dropped meanwhile, since the stop itself causes it."""
    stderr = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (STDOUT, STDERR):
        os.dup2(nowhere, stream)
    try:
        line = stop(number)
        write_now(f"{line}\n", stderr)
    finally:
        os._exit(128 + number)
