"""Beam's FnApiRunner, whose worker processes leave Ctrl-C to the process that started them."""

from __future__ import annotations

from typing import Any

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_DEAF = b"trap '' INT; exec "
"""Put before a command of the shell: what it becomes ignores SIGINT."""


class InProcessRunner(FnApiRunner):
    """Runs the steps in this process, or in worker processes with `--direct_running_mode=multi_processing`.

    A terminal sends Ctrl-C to the workers too, and each would print its stack. They are ended with this process.
    """

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a pipeline; see `FnApiRunner.run_via_runner_api`."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = _DEAF + environment.payload
        return super().run_via_runner_api(pipeline_proto, options)
