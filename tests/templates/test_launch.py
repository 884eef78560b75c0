"""The image's launch, with the arguments that the template's launcher gives, and the jobs that it stages."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import graphs
import pytest
from apache_beam.io.filesystems import FileSystems
from services.bigquery_server import BigQueryServer
from services.clients import PROJECT, point_beam_at
from services.pubsub_broker import Broker
from services.storage_server import StorageServer
from staged import StagedJob
from templates.conftest import IMAGE
from templates.dockerfile import Build

TOKEN = "hf_secretOfTheLauncher"
TOPIC = f"projects/{PROJECT}/topics/letters"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/letters"


def arguments(job_path: str, bucket: str, **parameters: str) -> list[str]:
    """What the launcher gives: the job's settings and the parameters, sorted, each with a value."""
    settings = {
        "job_name": "ner-1",
        "project": PROJECT,
        "region": "europe-west4",
        "runner": "DataflowRunner",
        "staging_location": f"{bucket}/staging",
        "temp_location": f"{bucket}/temp",
        "template_location": job_path,
        "service_account_email": f"ner@{PROJECT}.iam.gserviceaccount.com",
        "machine_type": "n2-standard-4",
        "max_num_workers": "20",
        "labels": '{\n "goog-dataflow-provided-template-type" : "flex"\n}\n',
        "experiments": "some_experiment",
        # Of the parameters that nobody has set:
        "stride": "",
        "dead_letter": "",
        "model_revision": "",
    }
    return [f"--{name}={value}" for name, value in sorted((settings | parameters).items())]


@pytest.fixture(scope="module")
def jobs(image: Build, _storage: StorageServer, _bigquery: BigQueryServer) -> Iterator[dict[str, StagedJob]]:
    """What two launches have staged, side by side in processes of the image."""
    from google.cloud import bigquery

    with Broker() as broker:
        servers = (broker, _storage, _bigquery)
        patch = point_beam_at(*servers)
        broker.create_topic(TOPIC)
        broker.create_subscription(SUBSCRIPTION, TOPIC)
        bucket = _storage.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
        dataset = f"set_{uuid.uuid4().hex[:12]}"
        bigquery.Client().create_dataset(f"{PROJECT}.{dataset}")
        with FileSystems.create(f"{bucket}/in/a.jsonl") as file:
            file.write(b'{"id": "a", "text": "My name is Ann Smith."}\n')
        paths = {name: f"{bucket}/staging/template_launches/{name}/job_object" for name in ("batch", "streaming")}
        both = {"aggregation_strategy": "first", "include_text": "true"}
        flags = {
            "batch": {"input": f"{bucket}/in/*.jsonl", "partition_by_day": "false"},
            "streaming": {"input": SUBSCRIPTION, "id_attribute": "ticket"},
        }
        variables = image.variables | {"HF_TOKEN": TOKEN, "PYTHONPATH": str(Path(__file__).parents[1])}
        for server in servers:
            variables |= server.environment

        def launch(name: str) -> None:
            given = arguments(paths[name], bucket, output=f"{PROJECT}:{dataset}.{name}", **both, **flags[name])
            file = image.environment["FLEX_TEMPLATE_PYTHON_PY_FILE"]
            command = ["python", "-m", "services.run_file", file, *given]
            done = subprocess.run(command, env=variables, cwd=image.root, text=True, capture_output=True)
            assert done.returncode == 0, done.stderr
            assert done.stdout == f"beam-ner: the job is described in {paths[name]}\n"

        with ThreadPoolExecutor() as pool:
            list(pool.map(launch, paths))
        yield {name: StagedJob.read(path) for name, path in paths.items()}
        patch.undo()


def test_labels(jobs: dict[str, StagedJob]) -> None:
    graphs.check_list(jobs["batch"].labels, "dataflow_files_to_bigquery")
    graphs.check_list(jobs["streaming"].labels, "dataflow_pubsub_to_bigquery")


def test_the_stream_is_read_by_dataflow(jobs: dict[str, StagedJob]) -> None:
    """All steps but those that pull, and that gather batches across bundles, are those of other runners."""
    own = ("ReadMessages/Pull", "ClassifyTokens/RunInference/BatchElements/")
    known = (graphs.LISTS / "pubsub_to_bigquery.txt").read_text("utf-8").splitlines()
    staged = jobs["streaming"]
    assert [label for label in staged.labels if graphs.is_ours(label) and not label.startswith(own)] == [
        label for label in known if not label.startswith(own)
    ]
    assert "beam:transform:pubsub_read:v1" in {step.spec.urn for step in staged.pipeline.components.transforms.values()}


@pytest.mark.parametrize("name", ["batch", "streaming"])
def test_workers_run_the_image_and_install_nothing(jobs: dict[str, StagedJob], name: str) -> None:
    job = jobs[name]
    assert job.images == {IMAGE}
    (pool,) = job.job["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert pool["machineType"] == "n2-standard-4"
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 20
    # A list of what is installed where the job was built; no package, and no pickled main module.
    assert list(job.files) == ["submission_environment_dependencies.txt"]
    assert [package["name"] for package in pool["packages"]] == list(job.files)


@pytest.mark.parametrize(("name", "kind", "extra"), [
    ("batch", "FNAPI_BATCH", set()),
    ("streaming", "FNAPI_STREAMING", {"enable_streaming_engine", "enable_windmill_service"}),
])  # fmt: skip
def test_the_kind_of_job(jobs: dict[str, StagedJob], name: str, kind: str, extra: set[str]) -> None:
    environment = jobs[name].job["environment"]
    assert environment["version"]["job_type"] == kind
    experiments = set(environment["experiments"])
    assert {"use_runner_v2", "use_multiple_sdk_containers", "some_experiment"} | extra <= experiments
    assert jobs[name].job["labels"] == {"goog-dataflow-provided-template-type": "flex"}


@pytest.mark.parametrize("name", ["batch", "streaming"])
def test_what_is_staged_names_no_source_and_no_secret(
    jobs: dict[str, StagedJob], name: str, image: Build, source: Path
) -> None:
    job = jobs[name]
    staged = [str(job.job).encode(), job.pipeline.SerializeToString(), *job.files.values(), *job.pickles()]
    assert len(staged) > 50
    for secret in (TOKEN, str(source), "__main__"):
        assert not [found for found in staged if secret.encode() in found], secret
    code = [found for found in job.pickles() if b"pipeline.launcher" in found]
    assert not code
    assert job.display_data["aggregation_strategy"] == "first"
    assert job.options["include_text"] is True


@pytest.mark.parametrize("name", ["batch", "streaming"])
def test_coders_are_this_projects(jobs: dict[str, StagedJob], name: str) -> None:
    """Documents travel in coders with versions, not in pickles, between workers too."""
    components = jobs[name].pipeline.components
    found = {graphs.coder_name(components, pcollection.coder_id) for pcollection in components.pcollections.values()}
    assert {"DocumentCoder", "PreEntitiesCoder", "DocumentEntitiesCoder", "FailureCoder"} <= found
