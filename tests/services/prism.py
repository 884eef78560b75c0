"""Prism, Beam's runner in Go, built for the tests.

It is built once, from the Go module of the installed Beam's version, in `$BEAM_NER_TEST_CACHE` or the user's cache folder, and
takes two minutes then. Nothing that Beam has in its own cache is used or changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import apache_beam
import pytest
from filelock import FileLock

from services import process
from services.bigquery_server import cache_folder
from services.job_server import ServerProcess

_MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"
_BUILD_SECONDS = 900


def prism_program() -> Path:
    """The built program; skips the test, with the reason, where it cannot be had."""
    folder = cache_folder() / f"prism-{apache_beam.__version__}"
    program = folder / "prism"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not program.exists():
            _build(folder)
    return program


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Prism is built with Go, which is not on this machine")
    scratch = folder / "unfinished"
    environment = process.clean_environment(GOBIN=str(scratch))
    command = [go, "install", f"{_MODULE}@v{apache_beam.__version__}"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=_BUILD_SECONDS)
    if done.returncode:
        pytest.skip(f"Prism cannot be built: {(done.stderr.splitlines() or ['go says nothing'])[-1]}")
    (scratch / "prism").replace(folder / "prism")


class PrismServer(ServerProcess):
    """Prism as a job server, which has workers started in any environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "prism")

    def __enter__(self) -> PrismServer:
        self.launch(str(prism_program()), f"--job_port={self.port}", "--serve_http=false", "--log_kind=text")
        return self


def in_beams_cache(home: Path, program: str) -> Path:
    """Puts a program where Beam looks for a Prism that it has downloaded before, for a user with this home folder.

    Args:
        home: The folder.
        program: A script, with the line that names its interpreter.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability.prism_runner import PrismJobServer

    cache = home / ".apache_beam" / "cache" / "prism" / "bin"
    assert Path(PrismJobServer.BIN_CACHE).relative_to(Path.home()) == cache.relative_to(home)
    cache.mkdir(parents=True)
    path = cache / os.path.basename(PrismJobServer(PipelineOptions([])).path_to_binary())  # noqa: PTH119, of an address
    path.write_text(program)
    path.chmod(0o755)
    return path
