"""Which runner runs the program, and that the default is nowhere Prism."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from runs import REPOSITORY, SAMPLES
from services.prism import in_beams_cache

from pipeline.command_line import parse
from pipeline.run import main
from pipeline.runners.selection import batch_runner, runs_in_this_process


@pytest.mark.parametrize(
    ("flags", "chosen", "here"),
    [
        ([], True, True),
        (["--runner=DirectRunner"], True, True),
        (["--runner=SwitchingDirectRunner"], True, True),
        (["--runner=FnApiRunner"], True, True),
        (["--direct_running_mode=in_memory"], True, True),
        (["--direct_running_mode=multi_threading"], True, True),
        (["--direct_running_mode=multi_processing"], True, False),
        (["--runner=direct", "--direct_running_mode=multi_processing"], True, False),
        (["--runner=BundleBasedDirectRunner"], False, True),
        (["--runner=PrismRunner"], False, True),
        (["--runner=PrismRunner", "--direct_running_mode=multi_processing"], False, False),
        (["--runner=FlinkRunner"], False, False),
        (["--runner=DataflowRunner"], False, False),
    ],
)
def test_which_runner_runs_where(flags: list[str], chosen: bool, here: bool) -> None:
    options = parse(flags)
    assert isinstance(batch_runner(options), FnApiRunner) == chosen
    assert runs_in_this_process(options) == here


README_EXAMPLE = re.search(
    r"## In your own Beam pipeline.*?```python\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL
)
RUNS = {
    "default": "run()",
    "DirectRunner": "run('--runner=DirectRunner')",
    "README": README_EXAMPLE.group(1) if README_EXAMPLE else "",
}
PROGRAM = """
import sys
from pipeline.run import main
input, output = sys.argv[1:]
def run(*flags):
    assert main([f"--input={input}", f"--output={output}", *flags]) == 0
"""
LEAVES_A_MARK = """#!/bin/sh
touch "$HOME/started"
exit 1
"""


def runs_with_a_prism_in_the_cache(code: str, home: Path) -> tuple[int, bool]:
    """Runs some code where Beam finds a Prism that it has downloaded before.

    Returns:
        The exit code, and whether the Prism was started.
    """
    in_beams_cache(home, LEAVES_A_MARK)
    command = [sys.executable, "-c", PROGRAM + code, str(SAMPLES), str(home / "x")]
    ended = subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "HOME": str(home)}, timeout=600)
    return ended.returncode, (home / "started").exists()


@pytest.mark.parametrize("name", RUNS)
def test_nobody_gets_prism_who_has_not_asked(name: str, tmp_path: Path) -> None:
    assert RUNS[name]
    assert runs_with_a_prism_in_the_cache(RUNS[name], tmp_path) == (0, False)


@pytest.mark.parametrize("runner", ["PrismRunner", None])
def test_who_asks_gets_prism(runner: str | None, tmp_path: Path) -> None:
    """By its name; and by none, in a pipeline of somebody's own: else the test above would hold nothing."""
    code = (
        "run('--runner=PrismRunner')"
        if runner
        else "import apache_beam as beam; (beam.Pipeline() | beam.Create([1])).pipeline.run()"
    )
    code, started = runs_with_a_prism_in_the_cache(code, tmp_path)
    assert started
    assert (code == 0) == (runner is None)  # Beam falls back on another runner, and the program on none


@pytest.fixture
def job_server() -> Iterator[str]:
    """The address of a server that only listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(("flags", "sentence"), [
    (["--direct_num_workers=-1"], "--direct_num_workers=-1: too small; expected at least 0"),
    (["--runner=PrismRunner", "--prism_location={folder}"], "--prism_location={folder}: is a folder; expected Prism's program"),
    (["--runner=PrismRunner", "--prism_location={file}"], "--prism_location={file}: neither a program nor a zip with one"),
    (["--runner=PrismRunner", "--prism_location={folder}/x"], "--prism_location={folder}/x: Prism cannot be found"),
    (["--environment_type=EXTERNAL", "--environment_config=localhost:1"], "--environment_config=localhost:1: no pool of workers answers there"),
    (["--environment_type=PROCESS", '--environment_config={{"command": "{folder}/x"}}'], "{folder}/x is not a program on this machine"),
    (["--environment_type=PROCESS", '--environment_config={{"command": "{file}"}}'], "{file} is not a program on this machine"),
])  # fmt: skip
def test_mistakes_are_told_before_earlier_results_are_deleted(
    flags: list[str], sentence: str, job_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("pipeline.checks.runners._SERVER_SECONDS", 0.1)
    file, kept = tmp_path / "data", tmp_path / "x-00000-of-00001.jsonl"
    file.write_text("Ann Smith")
    kept.write_text("{}")
    places = {"folder": tmp_path, "file": file}
    given = [flag.format(**places) for flag in flags]
    if flags[0].startswith("--environment_type"):
        given += ["--runner=PortableRunner", f"--job_endpoint={job_server}"]
    assert main([f"--input={SAMPLES}", f"--output={tmp_path}/x", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence.format(**places) in err
    assert len(err.splitlines()) == 1
    assert kept.exists()
    assert not os.access(file, os.X_OK)
