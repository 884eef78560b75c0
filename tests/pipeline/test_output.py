"""What is shown never changes how the program ends: a reader who has gone, a full disk, a closed stream, any encoding."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from services.clients import REPOSITORY, environment_of
from services.pubsub_broker import Broker
from streams import RESULTS, SOURCE, SUBSCRIPTION

from pipeline.process.output import report, show

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")

KINDS = ["gone", "closed", "full"]

WRITES = """
import logging, sys
from pipeline.process.output import guard_output, report, show
guard_output()
with open(sys.argv[1], "w") as file:
    print("Zoë 🙂 \\udc80" * 10_000)
    print("Zoë 🙂 \\udc80", file=sys.stderr)
    show("shown")
    report("reported")
    logging.warning("logged")
    file.write("the end")
"""


def ended(command: list[str], stdout: str, stderr: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a command with streams of these kinds; `kept` is one that is read."""
    redirections = {"closed": "&-", "full": " /dev/full", "kept": ""}
    shell = 'exec "$@"'
    for number, kind in ((1, stdout), (2, stderr)):
        if redirections.get(kind):
            shell += f" {number}>{redirections[kind]}"
    reader, gone = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            ["sh", "-c", shell, "sh", *command],
            cwd=REPOSITORY,
            env={**os.environ, **variables},
            stdout=gone if stdout == "gone" else subprocess.PIPE,
            stderr=gone if stderr == "gone" else subprocess.PIPE,
            timeout=300,
        )
    finally:
        os.close(gone)


def python(module: str, *flags: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, flags)]


# The guard


@pytest.mark.parametrize("option", ["-X", "-u"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_raised(kind: str, option: str, tmp_path: Path) -> None:
    options = ["-X", "utf8"] if option == "-X" else ["-u"]
    command = [sys.executable, *options, "-c", WRITES, str(tmp_path / "file")]
    assert ended(command, kind, kind).returncode == 0
    assert (tmp_path / "file").read_text() == "the end"


def test_a_closed_stream_is_not_the_next_file(tmp_path: Path) -> None:
    code = """
import os, sys
from pipeline.process.output import guard_output
guard_output()
with open(sys.argv[1], "wb", buffering=0) as file:
    for stream in (1, 2):
        os.write(stream, b"what a library says")
    os.system("echo what a child says")
"""
    assert ended([sys.executable, "-c", code, str(tmp_path / "file")], "closed", "closed").returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_what_can_be_written_is(tmp_path: Path) -> None:
    said = ended([sys.executable, "-X", "utf8", "-c", WRITES, str(tmp_path / "file")], "kept", "kept")
    assert said.stdout.decode().splitlines() == ["Zoë 🙂 \\udc80" * 10_000, "shown"]
    assert said.stderr.decode().splitlines() == ["Zoë 🙂 \\udc80", "reported", "WARNING:root:logged"]


def test_a_full_disk_is_reported_once(tmp_path: Path) -> None:
    said = ended([sys.executable, "-X", "utf8", "-c", WRITES, str(tmp_path / "file")], "full", "kept")
    problem = "beam-ner: standard output cannot be written: No space left on device"
    assert said.stderr.decode().splitlines().count(problem) == 1


def test_a_pipe_that_does_not_block_is_waited_for() -> None:
    code = """
import os
from pipeline.process.output import guard_output, show
os.set_blocking(1, False)
guard_output()
show("x" * 1_000_000)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        time.sleep(0.5)  # the pipe is full meanwhile
        assert process.stdout.read() == b"x" * 999_999 + b"\n"
    assert process.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_host_without_the_guard(kind: str) -> None:
    """`pipeline.run.main` may be called by another program, whose streams are its own."""
    code = "from pipeline.process.output import report, show\nshow('Zo\\u00eb' * 10_000)\nreport('Zo\\u00eb')"
    assert ended([sys.executable, "-c", code], kind, kind, PYTHONIOENCODING="ascii").returncode == 0


def test_streams_that_are_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook, and as in a program without a terminal."""
    shown, reported = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", reported)
    show("Zoë")
    report("Zoë")
    assert shown.getvalue() == "Zoë\n"
    assert reported.buffer.getvalue() == b"Zo\\xeb\n"  # type: ignore[attr-defined]
    shown.close()
    monkeypatch.setattr(sys, "stderr", None)
    show("closed")
    report("nowhere")


# The program and its commands


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output")
    (folder / "in.txt").write_text("Ann Smith\n")
    row = {"id": "a", "text": "Zoë", "entities": [{"entity_group": "PER", "start": 0, "end": 3}]}
    (folder / "results.jsonl").write_text(json.dumps(row) + "\n")
    return folder


@pytest.mark.parametrize("kind", [*KINDS, "ascii"])
def test_a_finished_run_has_succeeded(kind: str, folder: Path) -> None:
    output = folder / kind / "Zoë" / "x"
    variables = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"} if kind == "ascii" else {}
    stream = "kept" if kind == "ascii" else kind
    command = python("pipeline", f"--input={folder}/in.txt", f"--output={output}")
    done = ended(command, stream, stream, **variables)
    assert done.returncode == 0
    (row,) = [json.loads(line) for path in output.parent.glob("x-0*") for line in path.open()]
    assert row["id"]
    if kind == "ascii":
        assert b"Zo\\xeb/x" in done.stdout
        assert b"Traceback" not in done.stderr


COMMANDS = {
    "help": (python("pipeline", "--help"), 0),
    "a mistake": (python("pipeline", "--inptu=x"), 2),
    "a preview": (python("pipeline.preview", "{folder}/results.jsonl"), 0),
    "a preview of nothing": (python("pipeline.preview", "{folder}/nothing"), 2),
    "a plan": (python("pipeline.plan", "--input={folder}/in.txt", "--sample_seconds=0"), 0),
    "a plan's help": (python("pipeline.plan", "--help"), 0),
    "a plan's mistake": (python("pipeline.plan", "--hours=never"), 2),
    "a worker's help": (python("pipeline.worker", "--help"), 0),
    "a worker's mistake": (python("pipeline.worker"), 2),
    "a launcher's mistake": (["env", "PYTHONPATH=.", sys.executable, "templates/main.py", "--update=maybe"], 2),
}


@pytest.mark.parametrize("kind", ["full", "ascii"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_ends_as_it_should(name: str, kind: str, folder: Path) -> None:
    command, code = COMMANDS[name]
    stream = "kept" if kind == "ascii" else kind
    variables = {"PYTHONIOENCODING": "ascii"} if kind == "ascii" else {}
    done = ended([part.format(folder=folder) for part in command], stream, stream, **variables)
    assert done.returncode == code
    if kind == "ascii":
        assert b"Traceback" not in done.stderr
        assert done.stdout or done.stderr


def test_a_failed_step_of_a_worker_process_ends_the_run(folder: Path) -> None:
    """Its stack is written to the same full disk as its results."""
    code = """
import resource, sys
from pipeline.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sys.exit(main())
"""
    (folder / "wide.txt").write_text("Ann Smith, 7 Elm Street. " * 10 + "\n" + "Ann Smith\n" * 300)
    flags = [f"--input={folder}/wide.txt", f"--output={folder}/wide/x", "--direct_running_mode=multi_processing"]
    command = [sys.executable, "-c", code, *flags, "--direct_num_workers=2"]
    assert ended(command, "full", "full").returncode == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_nobody_listens_to_is_drained(kind: str) -> None:
    with Broker() as broker:
        for topic in (SOURCE, RESULTS, f"{RESULTS}-failures"):
            broker.create_topic(topic)
        broker.create_subscription(SUBSCRIPTION, SOURCE)
        broker.publish(SOURCE, ["Ann Smith"])
        redirection = {"gone": "", "closed": ">&- 2>&-", "full": ">/dev/full 2>/dev/full"}[kind]
        command = python("pipeline", f"--input={SUBSCRIPTION}", f"--output={RESULTS}")
        with subprocess.Popen(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *command],
            cwd=REPOSITORY, env=environment_of(broker), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            process.stderr.close()
            while not broker.messages(RESULTS) or broker.unacknowledged(SUBSCRIPTION):
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
