from __future__ import annotations

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from pipeline.command_line import parse
from pipeline.runners import batch_runner, runs_in_this_process


@pytest.mark.parametrize(
    ("flags", "chosen", "here"),
    [
        ([], False, True),
        (["--direct_running_mode=in_memory"], False, True),
        (["--direct_running_mode=multi_threading"], True, True),  # Prism, which Beam would try, does not know the flag
        (["--direct_running_mode=multi_processing"], True, False),
        (["--runner=direct", "--direct_running_mode=multi_processing"], True, False),
        (["--runner=PrismRunner", "--direct_running_mode=multi_processing"], False, False),
        (["--runner=FlinkRunner"], False, False),
        (["--runner=DataflowRunner"], False, False),
    ],
)
def test_which_runner_runs_where(flags: list[str], chosen: bool, here: bool) -> None:
    options = parse(flags)
    assert isinstance(batch_runner(options), FnApiRunner) == chosen
    assert runs_in_this_process(options) == here
