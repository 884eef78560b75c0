"""The program's standard error, where it cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services.clients import REPOSITORY

WRITES = """
import logging, sys
from pipeline.process.standard_error import drop_what_cannot_be_written
drop_what_cannot_be_written()
print("Zoë 🙂 \\udc80", file=sys.stderr)
sys.stderr.flush()
logging.warning("said")
print("the end")
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
def test_a_full_disk_raises_nothing() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        command = [sys.executable, "-c", WRITES]
        ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=full, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, b"the end\n")


def test_a_reader_who_has_gone_raises_nothing() -> None:
    with subprocess.Popen(["true"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        command = [sys.executable, "-c", WRITES]
        ended = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=reader.stdin, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, b"the end\n")


def test_what_can_be_written_is() -> None:
    command = [sys.executable, "-X", "utf8", "-c", WRITES]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=300)
    assert ended.stderr.decode().splitlines() == ["Zoë 🙂 \\udc80", "WARNING:root:said"]


def test_help_and_the_summary_in_any_encoding(tmp_path: Path) -> None:
    variables = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "pipeline"]
    shown = subprocess.run(
        [*command, "--help"], cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=300
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "\\u2026" in shown.stdout
    (tmp_path / "in.txt").write_text("Ann Smith\n")
    flags = [f"--input={tmp_path}/in.txt", f"--output={tmp_path}/Zo\u00eb/x"]
    ran = subprocess.run([*command, *flags], cwd=REPOSITORY, env=variables, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert "Zo\\xeb/x" in ran.stdout
