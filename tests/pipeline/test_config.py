from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from pipeline import places
from pipeline.checks.table_output import check_tables
from pipeline.command_line import parse
from pipeline.config import NerConfig, arguments_as_flags
from pipeline.options import NerOptions
from pipeline.places import place_of
from transforms.errors import ArgumentError


@pytest.mark.parametrize(
    ("flags", "processes"),
    [
        ([], 1),
        (["--direct_num_workers=2"], 1),  # no more than one is used
        (["--direct_num_workers=2", "--direct_running_mode=multi_threading"], 1),
        (["--direct_num_workers=2", "--direct_running_mode=multi_processing"], 2),
        (["--direct_num_workers=0", "--direct_running_mode=multi_processing"], 0),  # as many as there are cores
        (["--runner=DataflowRunner"], 0),  # a process a core
        (["--runner=dataflow"], 0),
        (["--runner=DataflowRunner", "--experiments=no_use_multiple_sdk_containers"], 1),
        (["--runner=PortableRunner", "--job_endpoint=embed"], 1),
        (["--runner=FlinkRunner", "--sdk_worker_parallelism=4"], 4),
        (["--runner=SparkRunner", "--sdk_worker_parallelism=0"], 0),  # chosen by the runner
    ],
)
def test_processes_of_a_machine(
    flags: list[str], processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.txt").write_text("Ann\n")
    monkeypatch.setattr("pipeline.config._check_reachable", lambda *_: None)  # files stand in for a bucket's
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", "--threads=5", *flags])
    model = NerConfig.from_options(options.view_as(NerOptions)).model
    assert (model.processes, model.threads) == (processes, 5)


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_scores_are_kept_as_far_as_they_are_needed(strategy: str, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann\n")
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", f"--aggregation_strategy={strategy}"])
    assert NerConfig.from_options(options.view_as(NerOptions)).model.scores == (
        "all" if strategy == "average" else "best"
    )


@pytest.mark.parametrize(
    ("flags", "methods"),
    [
        (["--output=p-x:d.t", "--temp_location=gs://b/t"], ("FILE_LOADS", "FILE_LOADS")),
        (["--output=p-x:d.t", "--write_method=STREAMING_INSERTS"], ("STREAMING_INSERTS", "STREAMING_INSERTS")),
        (
            ["--output=out/x", "--dead_letter=p-x:d.dead", "--write_method=FILE_LOADS"],
            ("FILE_LOADS", "STREAMING_INSERTS"),
        ),
        (["--output=out/x", "--dead_letter=p-x:d.dead"], ("auto", "STREAMING_INSERTS")),
    ],
)
def test_failures_are_loaded_only_where_results_are(flags: list[str], methods: tuple[str, str]) -> None:
    """There only it was checked that there is a place for the files."""
    options = parse(["--input=in.txt", *flags]).view_as(NerOptions)
    settings = check_tables(options, is_table=isinstance(place_of(options.output), places.Table), streaming=False)
    assert (settings.write_method, settings.failure_method) == methods


def test_the_argument_in_an_error_becomes_a_flag() -> None:
    with pytest.raises(ValueError, match=r"^--stride=1: too large; expected below 1$"), arguments_as_flags():
        raise ArgumentError("stride=1: too large; expected below 1")


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(places).failed == 0
