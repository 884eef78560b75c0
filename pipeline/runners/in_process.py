"""Beam's FnApiRunner, with worker processes that ignore Ctrl-C and a full disk."""

from __future__ import annotations

from typing import Any

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

_DEAF = b"trap '' INT; exec "
"""A prefix for a shell command, which makes the command ignore SIGINT."""

_WORKER, _OWN_WORKER = b"-m apache_beam.runners.worker.sdk_worker_main", b"-m pipeline.runners.worker_process"


class InProcessRunner(FnApiRunner):
    """Runs the steps in this process, or in worker processes with `--direct_running_mode=multi_processing`.

    A terminal sends Ctrl-C to the workers too, and each would print its stack. They end with this process instead.
    A worker that cannot print the stack of a failed step would never report the failure; see `guard_output`.
    """

    def run_via_runner_api(self, pipeline_proto: Any, options: Any) -> Any:
        """Runs a pipeline; see `FnApiRunner.run_via_runner_api`."""
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = _DEAF + environment.payload.replace(_WORKER, _OWN_WORKER)
        return super().run_via_runner_api(pipeline_proto, options)
