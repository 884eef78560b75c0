"""Checks the flags of portable runners, which name the job server and the workers."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
)

from pipeline.command_line import LOCAL_RUNNERS

_ENVIRONMENTS = ("DOCKER", "PROCESS", "EXTERNAL", "LOOPBACK")
_SERVER_SECONDS = 10.0


def check_runner(options: PipelineOptions) -> None:
    """Checks the flags of portable runners, and that their job server listens.

    Raises:
        ValueError: if a flag is wrong, in one sentence with the flag, its value and a valid value.
    """
    runner = options.view_as(StandardOptions).runner
    direct = options.view_as(DirectOptions).direct_num_workers
    if direct < 0:
        raise ValueError(f"--direct_num_workers={direct}: too small; expected at least 0, which is one for each core")
    portable = options.view_as(PortableOptions)
    if runner == "InteractiveRunner":
        raise ValueError(
            "--runner=InteractiveRunner: runs only pipelines that a notebook builds; expected DirectRunner, for example"
        )
    _check_thread(runner, portable)
    if runner in LOCAL_RUNNERS or runner == "DataflowRunner":
        return
    if not portable.job_endpoint:
        _check_masters(options, runner)
    workers = str(portable.sdk_worker_parallelism)
    if not workers.isdecimal():
        raise ValueError(f"--sdk_worker_parallelism={workers}: not a whole number; expected a number of processes")
    _check_environment(portable)
    if runner == "PortableRunner" and not portable.job_endpoint:
        raise ValueError("--runner=PortableRunner: no job server; expected --job_endpoint=host:port")
    if portable.job_endpoint and portable.job_endpoint != "embed":
        _check_job_server(portable.job_endpoint)
        if _is_here(portable.job_endpoint):
            _check_workers_here(portable)


def _check_thread(runner: str | None, options: PortableOptions) -> None:
    """Rejects a job server of the run's own outside of the main thread, where Beam sets a handler of SIGINT for it."""
    if threading.current_thread() is threading.main_thread() or options.job_endpoint:
        return
    if runner in ("PrismRunner", "FlinkRunner", "SparkRunner"):
        raise ValueError(
            f"--runner={runner}: starts a job server, which is possible only in the main thread; expected"
            " --job_endpoint=host:port, or another runner"
        )


def _check_masters(options: PipelineOptions, runner: str | None) -> None:
    """Checks the master of Flink or Spark to which a job server of the run's own will submit the job."""
    flink, spark = options.view_as(FlinkRunnerOptions), options.view_as(SparkRunnerOptions)
    masters = {
        "FlinkRunner": {"flink_master": flink.flink_master},
        "SparkRunner": {"spark_master_url": spark.spark_master_url, "spark_rest_url": spark.spark_rest_url},
    }
    for name, address in masters.get(runner or "", {}).items():
        # Other values are local[*] or yarn, or leave the port to the master's default.
        if found := re.fullmatch(r"(?:\w+://)?([\w.-]+:\d+)/?", address or ""):
            _check_listens(f"--{name}", found[1], "no master answers there")


def _is_here(endpoint: str) -> bool:
    """Return whether the host of a `host:port` is a name or an address of localhost."""
    return endpoint.rpartition(":")[0].strip("[]") in ("localhost", "127.0.0.1", "::1")


def _check_workers_here(options: PortableOptions) -> None:
    """Checks the workers that a job server on this machine starts, or requests from a worker pool."""
    kind, config = options.environment_type, options.environment_config or ""
    if kind == "EXTERNAL" and _is_here(config):
        _check_listens("--environment_config", config, "no pool of workers answers there")
    if kind == "PROCESS" and _names_command(config):
        command = json.loads(config)["command"]
        if shutil.which(command) is None:
            raise ValueError(f"--environment_config={config!r}: {command} is not a program on this machine")


def _check_environment(options: PortableOptions) -> None:
    kind, config = options.environment_type, options.environment_config
    if not kind or kind.startswith("beam:env:"):
        return
    if kind not in _ENVIRONMENTS:
        raise ValueError(f"--environment_type={kind}: unknown; expected one of {', '.join(_ENVIRONMENTS)}")
    if kind == "PROCESS" and not options.environment_options and not _names_command(config):
        raise ValueError(
            f"--environment_config={config!r}: no command for the workers; expected one, for example"
            """ --environment_config='{"command": "/opt/venv/bin/beam-ner-worker"}'"""
        )
    if kind == "EXTERNAL" and not options.environment_options and not config:
        raise ValueError("--environment_type=EXTERNAL: no worker pool; expected --environment_config=host:port")


def _names_command(config: str | None) -> bool:
    try:
        parsed = json.loads(config or "")
    except ValueError:
        return False
    return isinstance(parsed, dict) and bool(parsed.get("command"))


def _check_job_server(endpoint: str) -> None:
    _check_listens("--job_endpoint", endpoint, "no job server answers there")


def _check_listens(flag: str, endpoint: str, problem: str) -> None:
    """Checks that a server listens; one that was just started may need some seconds, so failures are retried."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{flag}={endpoint}: not an address; expected host:port")
    deadline = time.monotonic() + _SERVER_SECONDS
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SERVER_SECONDS).close()
            return
        except (OSError, UnicodeError) as error:  # UnicodeError: not a valid host name
            if isinstance(error, (socket.gaierror, UnicodeError)) or time.monotonic() > deadline:
                raise ValueError(f"{flag}={endpoint}: {problem} ({error})") from error
        time.sleep(0.2)
