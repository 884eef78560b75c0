from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.checks.tables import check_tables
from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.options import NerOptions
from pipeline.places import place_of


@pytest.mark.parametrize(
    ("flags", "threads"),
    [
        ([], None),
        (["--direct_num_workers=2"], None),  # threads of one process: the engine sees to that
        (["--direct_num_workers=2", "--direct_running_mode=multi_processing"], 3),
        (["--direct_num_workers=4", "--direct_running_mode=multi_processing"], 1),
        (["--direct_num_workers=0", "--direct_running_mode=multi_processing"], 1),  # as many as there are cores
        (["--direct_num_workers=9", "--direct_running_mode=multi_processing"], 1),
        (["--direct_num_workers=2", "--direct_running_mode=multi_processing", "--threads=5"], 5),
        (["--runner=DataflowRunner"], 1),  # a process a core
        (["--runner=DataflowRunner", "--experiments=no_use_multiple_sdk_containers"], None),
    ],
)
def test_processes_share_the_cores(
    flags: list[str], threads: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    (tmp_path / "in.txt").write_text("Ann\n")
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", *flags])
    assert NerConfig.from_options(options.view_as(NerOptions)).model["threads"] == threads


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
    settings = check_tables(options, place_of(options.output), streaming=False)
    assert (settings.write_method, settings.failure_method) == methods
