"""Portable runners: whether the flags say where the job server is and where the workers are."""

from __future__ import annotations

import json
import socket
import time

from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions, StandardOptions

from pipeline.command_line import LOCAL_RUNNERS

_ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
_JOB_SERVER_SECONDS = 10.0


def check_runner(options: PipelineOptions) -> None:
    """Looks at the flags of portable runners, and whether their job server answers.

    Raises:
        ValueError: in one sentence with the flag, its value and what would be right.
    """
    runner = options.view_as(StandardOptions).runner
    if runner in LOCAL_RUNNERS or runner == "DataflowRunner":
        return
    portable = options.view_as(PortableOptions)
    workers = str(portable.sdk_worker_parallelism)
    if not workers.isdecimal():
        raise ValueError(f"--sdk_worker_parallelism={workers} is not a number of processes")
    _check_environment(portable)
    if runner == "PortableRunner" and not portable.job_endpoint:
        raise ValueError("--runner=PortableRunner needs to know its job server: --job_endpoint=host:port")
    if portable.job_endpoint and portable.job_endpoint != "embed":
        _check_job_server(portable.job_endpoint)


def _check_environment(options: PortableOptions) -> None:
    kind, config = options.environment_type, options.environment_config
    if not kind or kind.startswith("beam:env:"):
        return
    if kind not in _ENVIRONMENTS:
        raise ValueError(f"--environment_type={kind} is none of {', '.join(_ENVIRONMENTS)}")
    if kind == "PROCESS" and not options.environment_options and not _names_command(config):
        raise ValueError(
            f"--environment_config={config!r} names no command for the workers; for example"
            """ --environment_config='{"command": "/opt/venv/bin/beam-ner-worker"}'"""
        )
    if kind == "EXTERNAL" and not options.environment_options and not config:
        raise ValueError("--environment_type=EXTERNAL needs the worker pool's place: --environment_config=host:port")


def _names_command(config: str | None) -> bool:
    try:
        parsed = json.loads(config or "")
    except ValueError:
        return False
    return isinstance(parsed, dict) and bool(parsed.get("command"))


def _check_job_server(endpoint: str) -> None:
    """A job server that has just been started may take some seconds to listen."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--job_endpoint={endpoint} is not of the form host:port")
    deadline = time.monotonic() + _JOB_SERVER_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_JOB_SERVER_SECONDS).close()
            return
        except (OSError, UnicodeError) as error:  # the latter of a name that no machine can have
            if isinstance(error, (socket.gaierror, UnicodeError)) or time.monotonic() > deadline:
                raise ValueError(f"--job_endpoint={endpoint}: no job server answers there ({error})") from error
        time.sleep(0.2)
