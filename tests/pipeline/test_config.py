from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.command_line import parse
from pipeline.config import NerConfig
from pipeline.options import NerOptions


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
def test_processes_of_a_machine(flags: list[str], processes: int, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann\n")
    options = parse([f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x", "--threads=5", *flags])
    model = NerConfig.from_options(options.view_as(NerOptions)).model
    assert (model["processes"], model["threads"]) == (processes, 5)
