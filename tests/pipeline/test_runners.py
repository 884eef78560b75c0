"""Which runner runs the program, and that the default is nowhere Prism."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from runs import REPOSITORY, SAMPLES
from services.prism import in_beams_cache

from pipeline.command_line import parse
from pipeline.runners import batch_runner, runs_in_this_process


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
