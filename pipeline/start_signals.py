"""SIGTERM and SIGINT while the program starts: before anything is read, it can end at once."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Sequence
from types import FrameType

from pipeline import PROGRAM
from pipeline.places import is_stream, place_of

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STDERR = 2  # of the process; `print` may be what is interrupted

_reads_stream = False
_begun = False
_ending = threading.Lock()


def end_on_signals(flags: Sequence[str]) -> None:
    """Until `run_begins`, SIGTERM and SIGINT end the process with one line.

    The exit code is 0 where the input is a stream: to be stopped is its way to end, and nothing is lost. Any other run
    has then not made its results, and ends with 128 and the signal's number, as shells have it.

    To be called in the main thread, before the libraries are loaded, which takes seconds. Loading a model is native
    code, during which Python calls no handler; so a thread waits for the signal too.

    Args:
        flags: The program's.
    """
    global _reads_stream
    _reads_stream = _names_a_stream(flags)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, _handle)
    threading.Thread(target=_watch, args=(reader,), name="start-signals", daemon=True).start()


def run_begins() -> None:
    """From now on the signals do what they do by themselves, or what others have set for them."""
    global _begun
    _begun = True


def _names_a_stream(flags: Sequence[str]) -> bool:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--input", "--replay"):
        parser.add_argument(name, nargs="?")  # a mistake is not told here
    known, _ = parser.parse_known_args(flags)
    return any(is_stream(place_of(place)) for place in (known.input, known.replay) if place)


def _watch(reader: int) -> None:
    while not _begun:
        number = os.read(reader, 1)[0]
        if number in _SIGNALS and not _begun:
            _end(number)


def _handle(number: int, frame: FrameType | None) -> None:
    if not _begun:
        _end(number)
    elif number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _end(number: int) -> None:
    if _ending.acquire(blocking=False):  # the thread and the handler may both come here
        sentence = f"{PROGRAM}: {signal.Signals(number).name}: stopped before anything was read\n"
        os.write(_STDERR, sentence.encode())
        os._exit(0 if _reads_stream else 128 + number)
