"""``python -m pipeline.worker``: a worker process for portable runners, from this environment as it is installed.

A runner starts it as the command of `--environment_type=PROCESS`, and Beam's worker pool as `--container_executable`.
It replaces the boot program of Beam's containers, and accepts the same arguments. It requests the job's options from
the runner, and becomes Beam's worker. Unlike the boot program, it installs nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc, endpoints_pb2
from google.protobuf import json_format, text_format

from pipeline.process.local_addresses import spare_local_addresses
from pipeline.process.output import guard_output, report

_TIMEOUT_SECONDS = 60.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a worker until the runner ends it.

    Args:
        argv: Arguments of Beam's container contract; None uses those of the process.

    Returns:
        0 if the runner ended the worker, 2 if the request for the job's options failed.
    """
    guard_output()
    parser = argparse.ArgumentParser(prog="beam-ner-worker", description="A worker, to be started by a Beam runner.")
    parser.add_argument("--id", required=True, help="The worker's id.")
    parser.add_argument("--provision_endpoint", required=True, metavar="HOST:PORT", help="Where the job's options are.")
    parser.add_argument("--control_endpoint", metavar="HOST:PORT", help="Where the work is.")
    parser.add_argument("--logging_endpoint", metavar="HOST:PORT", help="Where the logs go.")
    arguments, _ = parser.parse_known_args(argv)  # the contract has more arguments than these, and may grow
    spare_local_addresses()
    worker_id = unquoted(arguments.id)
    try:
        info = provision_info(arguments.provision_endpoint, worker_id)
    except grpc.RpcError as error:
        where = f"--provision_endpoint={arguments.provision_endpoint}"
        reason = f"{error.code().name}: {error.details()}"
        report(f"beam-ner-worker: error: {where}: no options for --id={worker_id}: {reason}")
        return 2
    os.environ.update(worker_environment(worker_id, info, arguments.control_endpoint, arguments.logging_endpoint))
    # Imported only now: the import reads the worker's id, and runners reject logs without one.
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main([])
    return 0


def unquoted(worker_id: str) -> str:
    """Removes the quotes around a worker's id: Prism adds them as for a shell, but starts the worker without one.

    >>> unquoted("'go-job-1'"), unquoted("1-1")
    ('go-job-1', '1-1')
    """
    return worker_id[1:-1] if len(worker_id) > 2 and worker_id[0] == worker_id[-1] == "'" else worker_id


def provision_info(endpoint: str, worker_id: str) -> Any:
    """Return the `ProvisionInfo` of this worker, requested from the runner.

    Raises:
        grpc.RpcError: if the runner does not answer within a minute.
    """
    with grpc.insecure_channel(endpoint) as channel:
        service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
        request = beam_provision_api_pb2.GetProvisionInfoRequest()
        metadata = (("worker_id", worker_id),)
        answer = service.GetProvisionInfo(request, metadata=metadata, timeout=_TIMEOUT_SECONDS, wait_for_ready=True)
    return answer.info


def worker_environment(worker_id: str, info: Any, control: str | None, logging: str | None) -> Mapping[str, str]:
    """Return the environment variables that Beam's worker reads.

    Args:
        worker_id: The worker's id at the runner.
        info: The `ProvisionInfo`; its endpoints take precedence over those below.
        control: Endpoint of the work, for an info without one.
        logging: Endpoint of the logs, for an info without one.
    """
    variables = {
        "WORKER_ID": worker_id,
        "PIPELINE_OPTIONS": json_format.MessageToJson(info.pipeline_options),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    endpoints = {
        "CONTROL": info.control_endpoint.url or control,
        "LOGGING": info.logging_endpoint.url or logging,
        "STATUS": info.status_endpoint.url,
    }
    for name, url in endpoints.items():
        if url:
            descriptor = text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))
            variables[f"{name}_API_SERVICE_DESCRIPTOR"] = descriptor
    return variables


if __name__ == "__main__":
    sys.exit(main())
