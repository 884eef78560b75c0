"""BigQuery for the tests: bqemulator (DuckDB behind BigQuery's REST and Storage APIs), in an environment of its own.

It wants an older grpcio than Beam brings, so it cannot be installed beside it. The environment is made on first use, in
`$BEAM_NER_TEST_CACHE` or the user's cache folder, and takes about half a minute then.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from filelock import FileLock

from services import process
from services.storage_server import StorageServer

REQUIREMENTS = Path(__file__).with_name("bigquery-requirements.txt")
PROGRAM = Path(__file__).with_name("bigquery_program.py")
READY_SECONDS = 180
INSTALL_SECONDS = 600
PROJECT = "test-project"

_EXTENSIONS = """
from duckdb_extensions import import_extension
import_extension("spatial")
import_extension("avro")
"""


class BigQueryServer:
    """A server for BigQuery's REST API and, over gRPC, its Storage Read and Write APIs.

    Args:
        storage: What ``gs://`` means to it, for load and extract jobs; it must run already.
        port, storage_port: 0 takes a free one.
    """

    def __init__(self, storage: StorageServer | None = None, *, port: int = 0, storage_port: int = 0) -> None:
        self._storage = storage
        self._ports = {"rest.listen": port, "grpc.listen": storage_port}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where its REST API answers."""
        return f"http://127.0.0.1:{self._ports['rest.listen']}"

    @property
    def storage_address(self) -> str:
        """Where its Storage APIs answer, `host:port`."""
        return f"127.0.0.1:{self._ports['grpc.listen']}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which `clients.point_beam_at` finds it; Google's REST client knows the first."""
        return {
            "BIGQUERY_EMULATOR_HOST": self.url,
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.storage_address,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }

    def start(self) -> BigQueryServer:
        """Serves, and returns as soon as both APIs listen."""
        home = make_environment()
        self._scratch = tempfile.TemporaryDirectory(prefix="bigquery-server-")
        log = Path(self._scratch.name) / "log"
        settings = {"HOME": str(home), "BQEMU_LOG_FORMAT": "json", "BQEMU_DEFAULT_PROJECT_ID": PROJECT}
        if self._storage is not None:
            settings |= {"BQEMU_GCS_LOCAL_ROOT": str(self._storage.root)} | self._storage.environment
        command: list[str | Path] = [home / "bin" / "python", PROGRAM, "start", "--ephemeral"]
        rest, storage = map(str, self._ports.values())
        command += ["--rest-port", rest, "--grpc-port", storage]
        self._process = process.start(command, process.clean_environment(**settings), log)
        try:
            self._await_ports(log)
        except RuntimeError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends the server; its tables are gone."""
        process.stop(self._process)
        self._process = None
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _await_ports(self, log: Path) -> None:
        assert self._process is not None
        deadline = time.monotonic() + READY_SECONDS
        seen: set[str] = set()
        while seen < set(self._ports):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"bqemulator does not listen: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
            for line in log.read_text(errors="replace").splitlines():
                if line.startswith("{") and line.endswith("}") and (entry := json.loads(line))["event"] in self._ports:
                    self._ports[entry["event"]] = entry["port"]
                    seen.add(entry["event"])

    def __enter__(self) -> BigQueryServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def make_environment() -> Path:
    """The folder of the virtual environment with bqemulator, made where there is none; others wait meanwhile."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + version.encode()).hexdigest()[:16]
    folder = cache_folder() / f"bigquery-{key}"
    done = folder / "complete"  # written last, so what an interrupted installation left is made anew
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(folder)
            done.touch()
    return folder


def _install(folder: Path) -> None:
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    environment = process.clean_environment(HOME=str(folder))  # DuckDB keeps its extensions in the home folder
    pip: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
        REQUIREMENTS,
    ]
    for command in (pip, [python, "-c", _EXTENSIONS]):
        result = subprocess.run(command, env=environment, capture_output=True, timeout=INSTALL_SECONDS)
        if result.returncode:
            raise RuntimeError(f"bqemulator cannot be installed: {result.stderr.decode(errors='replace')[-2000:]}")


def cache_folder() -> Path:
    """Where the tests keep what takes long to make: `$BEAM_NER_TEST_CACHE`, or a folder of the user's cache."""
    if chosen := os.environ.get("BEAM_NER_TEST_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "beam-ner-tests"
