"""The program as a process that has loaded its libraries before it starts.

A server forks it which has loaded Beam, PyTorch and OpenVINO, as `python -m pipeline` does in its first seconds. From there on it
is that program. What is about a process's very beginning needs one that starts from nothing.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.clients import REPOSITORY

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload([
    "pipeline.run", "pipeline.graph", "pipeline.io.files.formats.parquet", "pipeline.io.pubsub.read", "pipeline.io.pubsub.write",
    "google.cloud.bigquery", "openvino", "transformers.models.auto.tokenization_auto",
])  # fmt: skip


class Program:
    """A run of a module with flags, in the manner of `subprocess.Popen`.

    Args:
        module: What `python -m` would be given: `pipeline`, or `services.run_program`.
        flags: Its flags.
        environment: All of its environment's variables.
        log: Where its output goes, at the file's end.
    """

    def __init__(self, module: str, flags: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._process = processes.Process(target=_run, args=(module, list(flags), dict(environment), str(log)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, once it has ended; raises TimeoutExpired where that takes longer."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the program", timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()


def _run(module: str, flags: list[str], environment: dict[str, str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(REPOSITORY)
    sys.argv = [module, *flags]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
