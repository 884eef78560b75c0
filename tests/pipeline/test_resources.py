"""What Dataflow is asked for, as it stands in the job that it would get."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from runs import over

from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.graph import build
from pipeline.options import NerOptions
from pipeline.runners import dataflow as resources


@pytest.fixture(autouse=True)
def _files_stand_in_for_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this machine are rejected for Dataflow, and so are buckets without credentials; see test_flags."""
    monkeypatch.setattr("pipeline.config._check_reachable", lambda *_: None)
    monkeypatch.setattr("pipeline.config.check_bucket_credentials", lambda _: None)


CLOUD = ["--runner=DataflowRunner", "--project=p-test", "--region=r", "--temp_location=gs://bucket/temp"]
L4 = "type:nvidia-l4;count:1;install-nvidia-driver"
TWO = "type:nvidia-tesla-t4;count:2;machine_type:n1-standard-8;install-nvidia-driver"
ONE_PROCESS = "no_use_multiple_sdk_containers"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that takes ten gigabytes."""
    monkeypatch.setattr(resources, "count_parameters", lambda config: 671_000_000)


def job(tmp_path: Path, *flags: str) -> tuple[beam.Pipeline, dict[str, dict[str, str]]]:
    """The pipeline, and the hints of the environments of its steps, by their labels; those without hints left out."""
    (tmp_path / "in.txt").write_text("Ann\n")
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", *over(CLOUD, flags)])
    config = NerConfig.from_options(options.view_as(NerOptions))
    pipeline = beam.Pipeline(FnApiRunner(), options=options)  # Dataflow's would look whether the bucket is there
    build(pipeline, config)
    components = pipeline.to_runner_api().components
    found = {}
    for transform in components.transforms.values():
        hints = components.environments[transform.environment_id].resource_hints if transform.environment_id else {}
        if hints:
            found[transform.unique_name] = {urn.split(":")[-2]: value.decode() for urn, value in hints.items()}
    return pipeline, found


def assert_on_the_models_step(found: dict[str, dict[str, str]], hints: dict[str, str]) -> None:
    assert {label.split("/")[0] for label in found} == {"ClassifyTokens"}
    assert any("RunInference" in label for label in found)
    assert all(of_step == hints for of_step in found.values())


@pytest.mark.parametrize(("flag", "hint"), [("nvidia-l4", L4), (TWO, TWO)])
def test_a_gpu_is_a_hint_on_the_models_step(flag: str, hint: str, tmp_path: Path) -> None:
    pipeline, found = job(tmp_path, f"--accelerator={flag}", "--device=auto")
    assert_on_the_models_step(found, {"accelerator": hint})
    assert ONE_PROCESS in pipeline.options.view_as(DebugOptions).experiments


def test_a_gpu_for_all_workers_where_hints_are_not_taken(tmp_path: Path) -> None:
    pipeline, found = job(tmp_path, "--accelerator=nvidia-l4", "--flexrs_goal=COST_OPTIMIZED")
    assert found == {}
    assert pipeline.options.view_as(GoogleCloudOptions).dataflow_service_options == [f"worker_accelerator={L4}"]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(
    "flag",
    [
        f"--resource_hint=accelerator={L4}",
        f"--dataflow_service_options=worker_accelerator={L4}",
        f"--experiments=worker_accelerator={L4}",  # as templates/README.md has it
    ],
)
def test_a_gpu_in_beams_own_way(flag: str, several: bool, tmp_path: Path) -> None:
    """One process has the GPU, unless several are asked for."""
    pipeline, found = job(tmp_path, flag, *["--experiments=use_multiple_sdk_containers"][: int(several)])
    assert {hints["accelerator"] for hints in found.values()} == ({L4} if "hint" in flag else set())
    assert (ONE_PROCESS in pipeline.options.view_as(DebugOptions).experiments) is not several


def test_a_small_model_asks_for_nothing(tmp_path: Path) -> None:
    assert job(tmp_path)[1] == {}


@pytest.mark.usefixtures("large")
def test_a_large_model_asks_for_memory(tmp_path: Path) -> None:
    assert_on_the_models_step(job(tmp_path)[1], {"min_ram_bytes": "11000000000"})


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize(
    ("flag", "memory"),
    [
        ("--resource_hint=min_ram=4GB", {"4000000000"}),  # of an outer and an inner one Beam would take the larger
        ("--worker_machine_type=n2-highmem-4", set()),  # hints would go before it
        ("--flexrs_goal=COST_OPTIMIZED", set()),
        ("--accelerator=nvidia-l4", set()),
    ],
)
def test_what_the_user_says_of_memory_goes_before(flag: str, memory: set[str], tmp_path: Path) -> None:
    found = job(tmp_path, flag)[1]
    assert {hints["min_ram_bytes"] for hints in found.values() if "min_ram_bytes" in hints} == memory


MILLION = 1_000_000
SEVERAL = "--experiments=use_multiple_sdk_containers"


@pytest.mark.parametrize(
    ("parameters", "flags", "one"),
    [
        (22, [], False),
        (671, [], True),  # min_ram names a worker's memory, which may come with several cores
        (335, ["--worker_machine_type=n2-standard-4"], False),
        (1500, ["--worker_machine_type=n2-standard-4"], True),
        (560, ["--worker_machine_type=n2-standard-4", "--engine=torch"], False),
        (600, ["--worker_machine_type=n2-standard-4", "--engine=torch"], True),  # PyTorch's processes share nothing
        (1500, ["--worker_machine_type=n2-highmem-96"], False),
        (22, ["--worker_machine_type=n2-highcpu-16"], False),
        (335, ["--worker_machine_type=n2-highcpu-16"], True),
        (1500, ["--worker_machine_type=x9-standard-4"], False),  # which nobody knows
        (1500, ["--worker_machine_type=n2-standard-4", SEVERAL], False),
        (671, [SEVERAL], False),
    ],
)
def test_a_process_a_core_only_where_the_memory_is_for_it(
    parameters: int, flags: list[str], one: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "count_parameters", lambda config: parameters * MILLION)
    pipeline, _ = job(tmp_path, *flags)
    assert (ONE_PROCESS in (pipeline.options.view_as(DebugOptions).experiments or [])) is one


@pytest.mark.usefixtures("large")
def test_other_runners_are_asked_for_nothing(tmp_path: Path) -> None:
    assert job(tmp_path, "--runner=DirectRunner")[1] == {}
