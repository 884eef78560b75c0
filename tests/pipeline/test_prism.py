"""Whole runs on Prism, Beam's runner in Go: built once with Go, for it cannot be downloaded everywhere."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from runs import DEAD_PROXY, POISON_COUNTS, REPOSITORY, SAMPLES, Run, counts, program, rows, write_documents
from services.job_server import WorkerPool
from services.prism import PrismServer, prism_program
from streams import SUBSCRIPTION, Stream, letter, seconds_for

from pipeline.process.children import is_running
from pipeline.run import main

WORKER = f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.worker "$@"\n'

# A limit on the size of files stands in for a full disk. The log has it too, as it has where it lies on the same disk.
ON_A_FULL_DISK = """
import resource, sys
from pipeline.__main__ import main
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
sys.exit(main())
"""

WITHOUT_PATIENCE = """
import sys
import pipeline.lifecycle.waiting
from pipeline.__main__ import main
pipeline.lifecycle.waiting.WAIT_SECONDS = 1.0
sys.exit(main())
"""


@pytest.fixture(scope="module")
def prism() -> list[str]:
    """Flags for a Prism that the run starts by itself."""
    return ["--runner=PrismRunner", f"--prism_location={prism_program()}"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrismServer]:
    with PrismServer(tmp_path_factory.mktemp("prism")) as server:
        yield server


@pytest.fixture(scope="module")
def portable(server: PrismServer) -> list[str]:
    """Flags for a Prism that runs already."""
    return ["--runner=PortableRunner", f"--job_endpoint={server.address}"]


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """The command that starts a worker, as the console script `beam-ner-worker` does."""
    path = tmp_path / "beam-ner-worker"
    path.write_text(WORKER)
    path.chmod(0o755)
    return path


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """Documents that take longer to read than any test waits."""
    return write_documents(tmp_path / "long.jsonl", 20_000)


@pytest.fixture
def wide_file(tmp_path: Path) -> Path:
    """Documents whose results take more than 10,000 bytes, in any format."""
    return write_documents(tmp_path / "wide.jsonl", 300)


# A Prism of the run's own


def test_rows_are_the_default_runners(prism: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--input={SAMPLES}", "--aggregation_strategy=first", "--include_text"]
    assert main([*flags, f"--output={tmp_path}/prism/x", *prism]) == 0
    on_prism = capsys.readouterr().out
    assert main([*flags, f"--output={tmp_path}/local/x"]) == 0
    assert rows(tmp_path / "prism") == rows(tmp_path / "local")
    assert len(rows(tmp_path / "local")) == 42
    assert counts(on_prism) == counts(capsys.readouterr().out)


def test_failures_go_to_the_dead_letter(
    prism: Sequence[str], poison_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--input={poison_file}", f"--output={tmp_path}/prism/x.avro", *prism]) == 0
    said = capsys.readouterr()
    assert main([f"--input={poison_file}", f"--output={tmp_path}/local/x.avro"]) == 0
    assert rows(tmp_path / "prism") == rows(tmp_path / "local")
    assert counts(said.out)[:3] == POISON_COUNTS
    assert "SECRET" not in said.out + said.err


def test_a_full_disk_ends_the_run_in_one_line(prism: Sequence[str], wide_file: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_A_FULL_DISK, f"--input={wide_file}", f"--output={tmp_path}/out/x", *prism]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("beam-ner: error: ")]
    assert "File too large" in line
    assert list((tmp_path / "out").glob("*")) == []


def test_a_full_disk_with_the_log_on_it_ends_the_run(prism: Sequence[str], wide_file: Path, tmp_path: Path) -> None:
    """Beam's worker prints the stack of a failure before it reports it."""
    flags = [f"--input={wide_file}", f"--output={tmp_path}/out/x.jsonl.gz", *prism]
    run = Run(tmp_path, sys.executable, "-c", ON_A_FULL_DISK, *flags)
    assert run.process.wait(600) == 1
    assert len(run.said()) == 10_000
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize(("number", "code", "outcome"), [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, "terminated"),
])  # fmt: skip
def test_signals_end_the_run_and_prism(
    prism: Sequence[str], long_file: Path, tmp_path: Path, number: int, code: int, outcome: str
) -> None:
    flags = [f"--input={long_file}", f"--output={tmp_path}/out/x", *prism]
    run = Run(tmp_path, sys.executable, "-m", "pipeline", *flags)
    run.wait_for(tmp_path / "out", "beam-temp-x-*")
    children = run.children()
    assert children != []
    run.process.send_signal(number)
    assert run.process.wait(60) == code
    assert run.said().splitlines()[-1] == f"beam-ner: {outcome}"
    assert list((tmp_path / "out").glob("*")) == []
    assert not any(map(is_running, children))


def test_a_dead_proxy_is_not_asked_for_prism(prism: Sequence[str], poison_file: Path, tmp_path: Path) -> None:
    done = program(f"--input={poison_file}", f"--output={tmp_path}/x", *prism, environment=DEAD_PROXY)
    assert done.returncode == 0, done.stderr
    assert counts(done.stdout)[:3] == POISON_COUNTS


# Prism as a job server


def test_workers_in_this_process(portable: Sequence[str], poison_file: Path, tmp_path: Path) -> None:
    assert main([f"--input={poison_file}", f"--output={tmp_path}/x", *portable, "--environment_type=LOOPBACK"]) == 0
    assert len(rows(tmp_path)) == 7


def test_workers_of_a_pool(portable: Sequence[str], poison_file: Path, tmp_path: Path) -> None:
    with WorkerPool(tmp_path) as pool:
        flags = [*portable, "--environment_type=EXTERNAL", f"--environment_config={pool.address}"]
        assert main([f"--input={poison_file}", f"--output={tmp_path}/x", *flags]) == 0
    assert len(rows(tmp_path)) == 7


def test_workers_that_prism_starts(
    server: PrismServer, portable: Sequence[str], worker: Path, poison_file: Path, tmp_path: Path
) -> None:
    flags = [*portable, "--environment_type=PROCESS", f"--environment_config={json.dumps({'command': str(worker)})}"]
    assert main([f"--input={poison_file}", f"--output={tmp_path}/x", *flags]) == 0
    assert len(rows(tmp_path)) == 7
    assert "loaded model" in server.log()  # said by the worker
    assert "Logging client failed" not in server.log()
    assert "SECRET" not in server.log()


def test_a_worker_that_the_runner_does_not_know(server: PrismServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline.worker", "--id=nobody", f"--provision_endpoint={server.address}"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (2, "")
    where = f"--provision_endpoint={server.address}"
    assert ended.stderr.startswith(f"beam-ner-worker: error: {where}: no options for --id=nobody: ")
    assert len(ended.stderr.splitlines()) == 1


def test_a_job_without_workers_says_so(portable: Sequence[str], poison_file: Path, tmp_path: Path) -> None:
    """A worker that lives and never appears; of one that has ended, Prism sometimes notices."""
    idle = tmp_path / "idle"
    idle.write_text("#!/bin/sh\nexec sleep 600\n")
    idle.chmod(0o755)
    flags = [*portable, "--environment_type=PROCESS", f"--environment_config={json.dumps({'command': str(idle)})}"]
    flags += [f"--input={poison_file}", f"--output={tmp_path}/out/x"]
    run = Run(tmp_path, sys.executable, "-c", WITHOUT_PATIENCE, *flags)
    run.wait(lambda: "the job server has reported no work for" in run.said())
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(60) == 130
    assert run.said().splitlines()[-1] == "beam-ner: interrupted; the job is cancelled"


# A stream


def test_a_killed_stream_loses_no_message(prism: Sequence[str], tmp_path: Path) -> None:
    with Stream(tmp_path, *prism, deadline_scale=0.5) as stream:
        letters = 300
        stream.publish(map(letter, range(letters)))
        stream.start()
        stream.wait_for_results(1)
        stream.kill()
        stream.publish(map(letter, range(letters, 2 * letters)))
        stream.start()
        stream.wait_for_results(2 * letters, seconds_for(2 * letters))
        stream.wait_for_acknowledgements()
        assert set(stream.ids()) == {f"letter-{number}" for number in range(2 * letters)}
        assert stream.dead() == []
        assert stream.broker.counts(SUBSCRIPTION).acknowledged == 2 * letters
