from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from transforms.machine import peak_mib

HOLD = "kept = bytearray(200_000_000); del kept; print(flush=True); input()"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells of other processes")
def test_what_a_process_once_held_counts_and_its_children_too() -> None:
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held = peak_mib(str(child.pid))
        both = peak_mib()
        child.communicate(b"\n")
    assert 190 < held < 400
    assert both > held + 10
    assert peak_mib(str(child.pid)) == 0.0
    assert peak_mib() > 10
