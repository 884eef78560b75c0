"""Handing a job to Dataflow: what is said of it, what it asks of its workers, and that nobody waits for its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems
from runs import over
from services.clients import PROJECT
from services.dataflow_server import DataflowServer
from services.pubsub_broker import Broker
from staged import StagedJob

from pipeline.run import main

L4 = "type:nvidia-l4;count:1;install-nvidia-driver"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/letters"
RIGHT_FITTING = "--experiments=enable_streaming_rightfitting"


def flags(bucket: str, tmp_path: Path) -> list[str]:
    with FileSystems.create(f"{bucket}/in.txt") as file:
        file.write(b"My name is Ann Smith.\n")
    return [
        f"--input={bucket}/in.txt", f"--output={bucket}/out", "--runner=DataflowRunner", f"--project={PROJECT}",
        "--region=europe-west4", f"--temp_location={bucket}/temp", "--job_name=ner-1",
    ]  # fmt: skip


def test_a_job_is_submitted_and_not_waited_for(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with DataflowServer() as dataflow:
        given = [f"--dataflow_endpoint={dataflow.endpoint}", f"--dataflow_job_file={tmp_path}/job.json"]
        assert main([*flags(bucket, tmp_path), *given]) == 0
    assert "job job-1 is submitted" in capsys.readouterr().out
    (job,) = dataflow.jobs
    assert job["path"] == f"/v1b3/projects/{PROJECT}/locations/europe-west4/jobs"
    written = json.loads((tmp_path / "job.json").read_text())
    assert written["name"] == job["name"] == "ner-1"
    assert written["environment"]["experiments"] == job["environment"]["experiments"]


@pytest.mark.parametrize(("flag", "said"), [
    ("--template_location={folder}/job.json", "the job is described in {folder}/job.json"),
    ("--dry_run=True", "the job was built, and not submitted"),
])  # fmt: skip
def test_a_job_that_is_not_submitted(
    flag: str, said: str, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(bucket, tmp_path), flag.format(folder=tmp_path)]) == 0
    assert said.format(folder=tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize(("flag", "status", "code", "left"), [
    ("--dataflow_endpoint={endpoint}", 200, 0, 0),
    ("--dataflow_endpoint={endpoint}", 403, 1, 1),
    ("--dry_run=True", 200, 0, 1),
])  # fmt: skip
def test_earlier_results_go_when_a_job_is_accepted(
    flag: str, status: int, code: int, left: int, bucket: str, tmp_path: Path
) -> None:
    with FileSystems.create(f"{bucket}/out-00000-of-00001.jsonl") as file:
        file.write(b"{}")
    with DataflowServer(status) as dataflow:
        assert main([*flags(bucket, tmp_path), flag.format(endpoint=dataflow.endpoint)]) == code
    assert len(FileSystems.match([f"{bucket}/out-*"])[0].metadata_list) == left


@pytest.fixture
def large(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model that says of itself that it has 605 million numbers: 2.4 GB of weights, 9.1 GB for a process."""
    folder = Path(shutil.copytree(checkpoint("bert_cased"), tmp_path / "large"))
    config = json.loads((folder / "config.json").read_text())
    sizes = {"hidden_size": 1024, "num_hidden_layers": 48, "intermediate_size": 4096, "num_attention_heads": 16}
    (folder / "config.json").write_text(json.dumps(config | sizes))
    return folder


def staged(bucket: str, tmp_path: Path, *more: str) -> StagedJob:
    """The job as Dataflow would find it in Cloud Storage."""
    path = f"{bucket}/templates/job"
    assert main(over([*flags(bucket, tmp_path), f"--template_location={path}"], more)) == 0
    return StagedJob.read(path)


def hints(job: StagedJob) -> dict[str, dict[str, str]]:
    """What each step asks of its worker, by the first part of its label; those that ask for nothing left out."""
    found: dict[str, dict[str, str]] = {}
    for label in job.labels:
        if job.step(label).environment_id and (asked := job.environment_of(label).resource_hints):
            of_step = {urn.split(":")[-2]: value.decode() for urn, value in asked.items()}
            assert found.setdefault(label.split("/")[0], of_step) == of_step
    return found


def worker_processes(job: StagedJob) -> set[str]:
    """Of the two experiments that say whether a worker has a process a core, those that the job has."""
    return {one for one in job.job["environment"]["experiments"] if one.endswith("use_multiple_sdk_containers")}


@pytest.mark.parametrize(("given", "asked", "processes"), [
    ([], {}, "use_multiple_sdk_containers"),
    (["--accelerator=nvidia-l4"], {"accelerator": L4}, "no_use_multiple_sdk_containers"),
    (["--accelerator=nvidia-l4", "--device=cuda"], {"accelerator": L4}, "no_use_multiple_sdk_containers"),
    (["--model={large}"], {"min_ram_bytes": "11000000000"}, "no_use_multiple_sdk_containers"),
    (["--model={large}", "--worker_machine_type=n2-highcpu-8"], {}, "no_use_multiple_sdk_containers"),
    (["--model={large}", "--worker_machine_type=n2-standard-4"], {}, "use_multiple_sdk_containers"),
    (["--model={large}", "--accelerator=nvidia-l4"], {"accelerator": L4}, "no_use_multiple_sdk_containers"),
])  # fmt: skip
@pytest.mark.parametrize("streaming", [False, True], ids=["batch", "streaming"])
def test_what_the_models_step_asks_for(
    streaming: bool,
    given: list[str],
    asked: dict[str, str],
    processes: str,
    bucket: str,
    pubsub: Broker,
    large: Path,
    tmp_path: Path,
) -> None:
    more = [flag.format(large=large) for flag in given]
    if streaming:
        pubsub.create_topic(f"projects/{PROJECT}/topics/letters")
        pubsub.create_subscription(SUBSCRIPTION, f"projects/{PROJECT}/topics/letters")
        more += [f"--input={SUBSCRIPTION}", RIGHT_FITTING]
    job = staged(bucket, tmp_path, *more)
    assert hints(job) == ({"ClassifyTokens": asked} if asked else {})
    assert worker_processes(job) == {processes}


def test_a_stream_without_right_fitting_gives_all_workers_a_gpu(bucket: str, pubsub: Broker, tmp_path: Path) -> None:
    pubsub.create_topic(f"projects/{PROJECT}/topics/letters")
    pubsub.create_subscription(SUBSCRIPTION, f"projects/{PROJECT}/topics/letters")
    job = staged(bucket, tmp_path, f"--input={SUBSCRIPTION}", "--accelerator=nvidia-l4", "--device=cuda")
    assert hints(job) == {}
    assert f"worker_accelerator={L4}" in job.job["environment"]["serviceOptions"]
    assert worker_processes(job) == {"no_use_multiple_sdk_containers"}


def test_a_gpu_that_is_needed_and_not_asked_for(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags(bucket, tmp_path), "--device=cuda"]) == 2
    assert "--device='cuda': requires workers with a GPU" in capsys.readouterr().err
