"""Processes that share a machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transforms import TokenClassificationModelHandler
from transforms.beam.model_handler import threads_of_a_process

REPOSITORY = Path(__file__).parents[2]
# What the engine and the tokenizer start by themselves, for any number of cores, and the thread whose batches are
# watched; the second thread of engine or tokenizer is one more.
FEWEST = 4
COUNT = """
import os, sys
sys.addaudithook(lambda event, _: print("forked") if event == "os.fork" else None)
from transforms import Document, TokenClassificationModelHandler
before = len(os.listdir("/proc/self/task"))
model = TokenClassificationModelHandler(processes=0).load_model()
model.classify([Document(str(number), "Ann Smith lives in London. " * number) for number in range(50)])
print(len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.parametrize(
    ("threads", "processes", "given"),
    [(None, 1, None), (5, 1, 5), (5, 4, 5), (None, 2, 3), (None, 4, 1), (None, 9, 1), (None, 0, 1)],
)
def test_a_process_has_its_part_of_the_cores(
    threads: int | None, processes: int, given: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert threads_of_a_process(threads, processes) == given


def test_a_number_of_processes_is_none_below_zero() -> None:
    with pytest.raises(ValueError, match="processes=-1: too small; expected at least 0"):
        TokenClassificationModelHandler(processes=-1)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_process_that_has_a_core_has_few_threads_and_no_child() -> None:
    # By the latter three OpenVINO knows a CI job, in which it would fork nothing anyway.
    hidden = ("TOKENIZERS_PARALLELISM", "CI", "TF_BUILD", "JENKINS_URL")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", COUNT]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) <= FEWEST
