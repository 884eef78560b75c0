"""Beam's own job server in Python, and its pool of workers, as processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from services.process import free_port, start, stop

_SECONDS = 180.0


class ServerProcess:
    """A server that is there from the beginning of a `with` to its end.

    Attributes:
        port: Where it listens.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.port = free_port()
        self._log = folder / f"{name}.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Its `host:port`."""
        return f"localhost:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text("utf-8", "replace")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until a condition holds."""
        end = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < end, f"waited for {what}:\n{self.log()[-3000:]}"
            time.sleep(0.1)

    def launch(self, *command: str) -> None:
        """Starts the server, and waits until it listens."""
        # Not from the repository's folder: what the workers import is what is installed.
        self._process = start(["env", "-C", str(self._folder), *command], os.environ, self._log)
        self.wait(self._listens, "it to listen")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-3000:]
        try:
            socket.create_connection(("localhost", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        stop(self._process)


class JobServer(ServerProcess):
    """Runs jobs one stage after the other, with one worker for each environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "job-server")

    def __enter__(self) -> JobServer:
        self.launch(
            sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={self.port}"
        )
        return self


class WorkerPool(ServerProcess):
    """Starts a `pipeline.worker` for each worker that a runner asks for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "worker-pool")
        self._worker = folder / "worker"
        self._worker.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.worker "$@"\n')
        self._worker.chmod(0o755)

    def __enter__(self) -> WorkerPool:
        self.launch(
            sys.executable,
            "-m",
            "apache_beam.runners.worker.worker_pool_main",
            f"--service_port={self.port}",
            f"--container_executable={self._worker}",
        )
        return self
