"""SIGINT and SIGTERM in the midst of a run in batch: one line, an exit code, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import Run, write_documents
from services.clients import REPOSITORY, environment_of
from services.pubsub_broker import Broker
from streams import RESULTS, SOURCE, SUBSCRIPTION

from pipeline.process.children import is_running

INTERRUPT = (signal.SIGINT, 130, "interrupted")
TERMINATION = (signal.SIGTERM, 143, "terminated")

# As native code does that hangs, in whichever thread the runner and the engine call it: Python runs no handler meanwhile.
NATIVE = """
import ctypes, os, sys
from pathlib import Path
from pipeline import run
from pipeline.__main__ import main
from transforms.engines.openvino_engine import OpenVinoEngine

def hang(*_):
    Path(os.environ["HANGS"]).touch()
    ctypes.CDLL(None).sleep(600)

def begin(config, clear=run._clear):
    OpenVinoEngine.logits = hang
    clear(config)

run._clear = begin
sys.exit(main())
"""

MODES = {
    "one worker": [],
    "threads": ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
    "processes": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """Documents that take longer to read than any test waits."""
    return write_documents(tmp_path / "in.jsonl", 20_000)


@pytest.mark.parametrize(("mode", "number", "code", "outcome"), [
    ("one worker", *INTERRUPT), ("one worker", *TERMINATION), ("one worker", signal.SIGHUP, 129, "hung up"),
    ("threads", *INTERRUPT),
    ("processes", *INTERRUPT), ("processes", *TERMINATION),
])  # fmt: skip
def test_a_run_is_ended_by_a_signal(
    documents: Path, tmp_path: Path, mode: str, number: int, code: int, outcome: str
) -> None:
    flags = [f"--input={documents}", f"--output={tmp_path}/out/x", *MODES[mode]]
    run = Run(tmp_path, sys.executable, "-m", "pipeline", *flags)
    run.wait_for(tmp_path / "out", "beam-temp-x-*")
    children = run.children()
    assert bool(children) == (mode == "processes")
    if number == signal.SIGINT:
        run.interrupt()
    else:
        run.process.send_signal(number)
    assert run.process.wait(60) == code
    last = run.said().splitlines()[-1]
    assert last == f"beam-ner: {outcome}"
    assert "Traceback" not in run.said()
    assert "severity" not in run.said()  # a worker's last words
    assert not any(map(is_running, children))
    assert list((tmp_path / "out").iterdir()) == []
    assert list(run.scratch.iterdir()) == []


@pytest.mark.parametrize(
    "timeout", ["0", "600"]
)  # the engine is called by the runner's thread, or by one that is watched
def test_native_code_that_hangs_is_ended_by_a_signal(documents: Path, tmp_path: Path, timeout: str) -> None:
    flags = [f"--input={documents}", f"--output={tmp_path}/out/x", f"--batch_timeout_seconds={timeout}"]
    run = Run(tmp_path, sys.executable, "-c", NATIVE, *flags, HANGS=str(tmp_path / "hangs"))
    run.wait_for(tmp_path, "hangs")
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 130
    assert run.said().splitlines()[-1] == "beam-ner: interrupted"


def test_two_signals_at_once_are_one(documents: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, sys.executable, "-m", "pipeline", f"--input={documents}", f"--output={tmp_path}/out/x")
    run.wait_for(tmp_path / "out", "beam-temp-x-*")
    for number in (signal.SIGTERM, signal.SIGINT):
        run.process.send_signal(number)
    assert run.process.wait(60) in (130, 143)
    assert list((tmp_path / "out").iterdir()) == []
    assert list(run.scratch.iterdir()) == []


def test_temporary_folders_of_others_stay(documents: Path, tmp_path: Path) -> None:
    """Those of a run before, and those of a run with a longer prefix."""
    kept = [f"beam-temp-x-{'0' * 32}", f"beam-temp-x-y-{'0' * 32}"]
    for name in kept:
        (tmp_path / "out" / name).mkdir(parents=True)
    run = Run(tmp_path, sys.executable, "-m", "pipeline", f"--input={documents}", f"--output={tmp_path}/out/x")
    run.wait_for(tmp_path / "out", "beam-temp-x-failures-*")
    (tmp_path / "out" / f"beam-temp-x-y-{'1' * 32}").mkdir()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 130
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*kept, f"beam-temp-x-y-{'1' * 32}"}


def test_a_plan_is_ended_by_a_signal(documents: Path, tmp_path: Path) -> None:
    flags = [f"--input={documents}", "--documents=1e6", "--sample_seconds=600"]
    run = Run(tmp_path, sys.executable, "-m", "pipeline.plan", *flags)
    run.wait(lambda: len(run.children()) > 1)  # those that measure
    children = run.children()
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 130
    assert run.said() == "beam-ner-plan: interrupted\n"
    assert not any(map(is_running, children))


# The first process of a container, for which signals have no default action.


def first_process(*command: str, proc: bool = True) -> list[str]:
    """A command that runs another as the first process of a namespace of its own; skips where that is not allowed."""
    alone = ["unshare", "--fork", "--pid", "--kill-child", *(["--mount-proc"] if proc else [])]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("a process cannot be the first of its namespace here: unshare --pid is missing or not allowed")
    return [*alone, *command]


@pytest.mark.parametrize(("number", "code", "outcome"), [INTERRUPT, TERMINATION])
def test_the_first_process_of_a_container_is_ended(
    documents: Path, tmp_path: Path, number: int, code: int, outcome: str
) -> None:
    flags = [f"--input={documents}", f"--output={tmp_path}/out/x"]
    run = Run(tmp_path, *first_process(sys.executable, "-m", "pipeline", *flags))
    run.wait_for(tmp_path / "out", "beam-temp-x-*")
    os.kill(run.children()[0], number)
    assert run.process.wait(60) == code
    assert run.said().splitlines()[-1] == f"beam-ner: {outcome}"


def test_other_processes_of_the_machine_are_not_taken_for_children() -> None:
    """In a container that sees the machine's /proc, the numbers there are not its own."""
    code = "import os; from pipeline.process.children import descendants; print(os.getpid(), *descendants(os.getpid()))"
    command = first_process(sys.executable, "-c", code, proc=False)
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60).stdout == "1\n"


def test_a_second_signal_ends_a_stream_that_is_the_first_process(tmp_path: Path) -> None:
    with Broker() as broker:
        for topic in (SOURCE, RESULTS, f"{RESULTS}-failures"):
            broker.create_topic(topic)
        broker.create_subscription(SUBSCRIPTION, SOURCE)
        broker.publish(SOURCE, ["Ann Smith"])
        flags = [f"--input={SUBSCRIPTION}", f"--output={RESULTS}"]
        command = first_process(sys.executable, "-c", NATIVE, *flags)
        run = Run(tmp_path, *command, **environment_of(broker), HANGS=str(tmp_path / "hangs"))
        run.wait_for(tmp_path, "hangs")
        os.kill(run.children()[0], signal.SIGTERM)
        run.wait(lambda: "finishing those in work" in run.said())
        os.kill(run.children()[0], signal.SIGTERM)
        assert run.process.wait(20) == 143  # less than the drain's 25 s
