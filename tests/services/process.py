"""Servers that run as processes of their own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def free_port() -> int:
    """A port on this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment for a program that has nothing to do with this repository's code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables


def start(command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts a server that writes to a file: a pipe that nobody reads would fill up and stop it."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )


def stop(process: subprocess.Popen[bytes] | None, seconds: float = 5) -> None:
    """Ends a server, by force where it does not end in time."""
    if process is None:
        return
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.kill()
    process.wait()
