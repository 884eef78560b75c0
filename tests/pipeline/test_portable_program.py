"""Whole runs on other runners: their rows are the DirectRunner's, wherever the workers are."""

from __future__ import annotations

import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import DEAD_PROXY, POISON_COUNTS, REPOSITORY, SAMPLES, counts, program, rows
from services.job_server import JobServer, WorkerPool

from pipeline.run import main

SUBPROCESS = [
    "--environment_type=beam:env:harness_subprocess_python:v1",
    f"--environment_config={sys.executable} -m apache_beam.runners.worker.sdk_worker_main",
]


@pytest.fixture(scope="module")
def job_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobServer]:
    with JobServer(tmp_path_factory.mktemp("job-server")) as server:
        yield server


@pytest.fixture(scope="module")
def external(job_server: JobServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Flags for the job server, with workers from a pool."""
    with WorkerPool(tmp_path_factory.mktemp("worker-pool")) as pool:
        yield [*portable(job_server), "--environment_type=EXTERNAL", f"--environment_config={pool.address}"]


def portable(server: JobServer) -> list[str]:
    return ["--runner=PortableRunner", f"--job_endpoint={server.address}"]


# A job server


def test_samples_on_a_job_server_with_a_worker_pool(
    external: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [f"--input={SAMPLES}", "--aggregation_strategy=first", "--include_text"]
    remote = program(*flags, f"--output={tmp_path}/remote/x", *external)
    assert remote.returncode == 0, remote.stderr
    assert main([*flags, f"--output={tmp_path}/local/x"]) == 0
    assert rows(tmp_path / "remote") == rows(tmp_path / "local")
    assert len(rows(tmp_path / "local")) == 42
    assert counts(remote.stdout) == counts(capsys.readouterr().out)
    assert remote.stderr == ""


def test_failures_on_a_job_server(
    external: list[str], poison_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"--input={poison_file}", f"--output={tmp_path}/local/x.avro"]) == 0
    local = capsys.readouterr()
    assert main([f"--input={poison_file}", f"--output={tmp_path}/remote/x.avro", *external]) == 0
    remote = capsys.readouterr()
    assert rows(tmp_path / "remote") == rows(tmp_path / "local")
    assert counts(remote.out) == counts(local.out)
    assert counts(remote.out)[:3] == POISON_COUNTS
    assert "SECRET" not in remote.out + remote.err


def test_workers_as_processes_of_a_job_server(job_server: JobServer, poison_file: Path, tmp_path: Path) -> None:
    (tmp_path / "x-00000-of-00099.jsonl").write_text("of an earlier run")
    assert main([f"--input={poison_file}", f"--output={tmp_path}/x", *portable(job_server), *SUBPROCESS]) == 0
    assert len(rows(tmp_path)) == 7


def test_an_interrupted_job_is_cancelled(job_server: JobServer, poison_file: Path, tmp_path: Path) -> None:
    flags = [f"--input={poison_file}", f"--output={tmp_path}/x", *portable(job_server), "--environment_type=LOOPBACK"]
    before = job_server.log().count("Running job")
    command = [sys.executable, "-m", "pipeline", *flags]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as process:
        job_server.wait(lambda: job_server.log().count("Running job") > before, "a job")
        job_server.wait(lambda: bool(list(tmp_path.glob("beam-temp-x-*"))), "work")  # the program knows its job by now
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "beam-ner: interrupted; the job is cancelled\n")


def test_a_model_that_no_worker_can_load(
    job_server: JobServer,
    poison_file: Path,
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(checkpoint("bert_cased"), tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    flags = [f"--input={poison_file}", f"--output={tmp_path}/out/x", f"--model={tmp_path}/model"]
    assert main([*flags, *portable(job_server), "--environment_type=LOOPBACK"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(r"^beam-ner: error: the run failed: .*model=.*: cannot be loaded", err, re.MULTILINE)
    assert rows(tmp_path / "out") == []


# Workers of the DirectRunner


SEVERAL = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def test_several_processes(poison_file: Path, tmp_path: Path) -> None:
    flags = [f"--input={poison_file}", "--aggregation_strategy=first"]
    done = program(*flags, f"--output={tmp_path}/several/x", *SEVERAL)
    assert done.returncode == 0, done.stderr
    assert main([*flags, f"--output={tmp_path}/one/x"]) == 0
    assert rows(tmp_path / "several") == rows(tmp_path / "one")
    assert counts(done.stdout)[:3] == POISON_COUNTS
    assert done.stderr == ""


def test_a_dead_proxy_is_not_asked_for_workers(poison_file: Path, tmp_path: Path) -> None:
    done = program(f"--input={poison_file}", f"--output={tmp_path}/x", *SEVERAL, environment=DEAD_PROXY)
    assert done.returncode == 0, done.stderr
    assert counts(done.stdout)[:3] == POISON_COUNTS


def test_a_model_is_loaded_once_a_process(
    poison_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "apache_beam.runners.portability.local_job_service")  # where workers' logs come
    for number in range(8):
        shutil.copy(poison_file, tmp_path / f"in-{number}.jsonl")
    assert main([f"--input={tmp_path}/in-*.jsonl", f"--output={tmp_path}/x", *SEVERAL]) == 0
    assert counts(capsys.readouterr().out)[0] == "56 documents"
    assert len([record for record in caplog.records if "loaded model" in record.getMessage()]) == 2
