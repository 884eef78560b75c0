"""`pipeline.run.main` in a program that is not this one: a notebook, a scheduler, a thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import REPOSITORY
from services.clients import environment_of
from services.pubsub_broker import Broker
from streams import RESULTS, SOURCE, SUBSCRIPTION

from pipeline.run import main

IN_A_THREAD = """
import sys, threading
from pipeline.lifecycle.drain import drain
from pipeline.run import main
codes = []
thread = threading.Thread(target=lambda: codes.append(main(sys.argv[1:])))
thread.start()
print("begun", flush=True)
sys.stdin.readline()
drain()
thread.join()
print("codes", *codes, threading.active_count() < 3)
"""

IN_THE_MAIN_THREAD = """
import signal, sys, threading, time
from pipeline.run import main
def mine(number, frame):
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, mine)
code = main(sys.argv[1:])
from pipeline.io.pubsub import readers
time.sleep(1)
print("codes", code, signal.getsignal(signal.SIGINT) is mine, readers._open)
"""

HANGING = """
import threading
from pipeline import run
from transforms.engines.openvino_engine import OpenVinoEngine
def hang(*_):
    print("hangs", flush=True)
    threading.Event().wait()
def begin(earlier):
    OpenVinoEngine.logits = hang
run._clear = begin
"""


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        for topic in (SOURCE, RESULTS, f"{RESULTS}-failures"):
            broker.create_topic(topic)
        broker.create_subscription(SUBSCRIPTION, SOURCE)
        broker.publish(SOURCE, ["Ann Smith"])
        yield broker


def host(code: str, broker: Broker) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, f"--input={SUBSCRIPTION}", f"--output={RESULTS}"],
        cwd=REPOSITORY, env=environment_of(broker),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def wait_for_the_result(process: subprocess.Popen[str], broker: Broker) -> None:
    while not broker.messages(RESULTS) or broker.unacknowledged(SUBSCRIPTION):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


def test_a_batch_in_a_thread(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann Smith")
    codes: list[int] = []
    flags = [f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x"]
    thread = threading.Thread(target=lambda: codes.append(main(flags)))
    thread.start()
    thread.join(300)
    assert codes == [0]
    assert len(list((tmp_path / "out").glob("x-0*"))) == 1


def test_a_stream_in_a_thread_is_ended_by_drain(broker: Broker) -> None:
    with host(IN_A_THREAD, broker) as process:
        wait_for_the_result(process, broker)
        out, err = process.communicate("end\n", timeout=120)
    assert (process.returncode, out.splitlines()[-1]) == (0, "codes 0 True"), err


def test_a_stream_in_a_host_is_ended_by_a_signal_and_the_host_goes_on(broker: Broker) -> None:
    with host(IN_THE_MAIN_THREAD, broker) as process:
        wait_for_the_result(process, broker)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert (process.returncode, out.splitlines()[-1]) == (0, "codes 0 True {}"), err
    assert "SIGINT: no more messages are read; finishing those in work" in err


def test_a_second_signal_interrupts_a_stream_that_hangs_in_a_host(broker: Broker) -> None:
    with host(HANGING + IN_THE_MAIN_THREAD, broker) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while process.stdout.readline() != "hangs\n":
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        while "finishing those in work" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        line = process.stdout.readline()
        process.kill()  # the thread that hangs would keep it
    assert line == "codes 130 True {}\n"
    assert broker.unacknowledged(SUBSCRIPTION) == 1


@pytest.mark.parametrize("runner", ["PrismRunner", "FlinkRunner", "SparkRunner"])
def test_a_job_server_of_its_own_in_a_thread(runner: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("Ann Smith")
    codes: list[int] = []
    flags = [f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", f"--runner={runner}"]
    thread = threading.Thread(target=lambda: codes.append(main(flags)))
    thread.start()
    thread.join(300)
    assert codes == [2]
    assert f"--runner={runner}: starts a job server" in capsys.readouterr().err
