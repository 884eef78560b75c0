"""Whole runs of the program, and what of them must be the same on every runner."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fastavro

from pipeline.process.children import descendants

REPOSITORY = Path(__file__).parents[2]
SAMPLES = REPOSITORY / "samples" / "*.jsonl"
POISON = b"".join(
    [
        b'{"id": "fine", "text": "My name is Ann Smith and I live at 12 Baker Street, London."}\n',
        b"not json SECRET\n",
        b'{"id": "surrogate", "text": "SECRET \\ud800"}\n',
        b'{"id": "number", "text": 7}\n',
        b'\xff\xfe{"id": "bytes", "text": "SECRET"}\n',
        b'{"id": "empty", "text": ""}\n',
        b'{"id": "last", "text": "Tom Baker, 9 Elm Street"}\n',
    ]
)
DEAD_PROXY = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "example.org"),
}
"""A shell's variables behind a proxy that does not answer."""
POISON_COUNTS = ["7 documents", "3 results", "4 failures"]


def over(usual: Sequence[str], flags: Sequence[str]) -> list[str]:
    """The usual flags but for those that are given, and these."""
    given = {flag.partition("=")[0] for flag in flags}
    return [*(flag for flag in usual if flag.partition("=")[0] not in given), *flags]


def program(*flags: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The program as a user runs it, with some variables more."""
    command, variables = [sys.executable, "-m", "pipeline", *flags], {**os.environ, **(environment or {})}
    return subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=600)


def rows(folder: Path) -> list[dict[str, Any]]:
    """All rows below a folder but for the time of a failure, in an order of their own."""
    lines = [line for path in sorted(folder.glob("x-*.jsonl")) for line in path.read_text("utf-8").splitlines()]
    for path in folder.glob("x-*.avro"):
        with path.open("rb") as file:
            lines += [json.dumps(row) for row in fastavro.reader(file)]
    return sorted((without_noise(json.loads(line)) for line in lines), key=json.dumps)


def without_noise(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what may differ from run to run: the time, the stack, and a score's last digits."""
    row = {name: value for name, value in row.items() if name not in ("timestamp", "stacktrace")}
    return row | {"entities": [{**each, "score": round(each["score"], 3)} for each in row.get("entities", [])]}


def counts(out: str) -> list[str]:
    """The summary's counts."""
    return re.findall(r"^ *([\d,]+ (?:documents|results|failures|entities|tokens))\b", out, re.MULTILINE)


def write_documents(path: Path, count: int) -> Path:
    """Writes so many documents of 20 sentences each, as JSONL."""
    lines = (
        json.dumps({"id": str(number), "text": f"Ann Smith, {number} Elm Street. " * 20}) for number in range(count)
    )
    path.write_text("\n".join(lines))
    return path


@contextmanager
def _hangup_ends_children() -> Iterator[None]:
    """Gives SIGHUP its default action in processes that are started meanwhile: under nohup, they would ignore it."""
    former = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, former)


class Run:
    """A run as a process, with a folder of its own for what is temporary.

    Attributes:
        started: The processes of all runs of the test, which end with it.
    """

    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, folder: Path, *command: str, **variables: str) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self._log = folder / "log"
        with self._log.open("wb") as output, _hangup_ends_children():
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, "TMPDIR": str(self.scratch), **variables},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.started.append(self.process)

    def said(self) -> str:
        return self._log.read_text("utf-8", "replace")

    def wait_for(self, path: Path, pattern: str) -> None:
        """Waits until there is a file or folder of this name."""
        self.wait(lambda: bool(list(path.glob(pattern))))

    def wait(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition holds."""
        while not condition():
            assert self.process.poll() is None, self.said()
            time.sleep(0.02)

    def children(self) -> list[int]:
        return list(descendants(self.process.pid))

    def interrupt(self) -> None:
        """Sends SIGINT as a terminal does for Ctrl-C: to the process and to all that it has started."""
        os.killpg(self.process.pid, signal.SIGINT)
