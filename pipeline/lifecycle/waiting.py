"""Warns about a job on a job server that no worker has started."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.runner import PipelineResult

WAIT_SECONDS = 60.0
"""The time without reported work after which a warning is logged; Prism waits for workers as long."""

_CALL_SECONDS = 10.0

_logger = logging.getLogger(__name__)


@contextmanager
def work_awaited(result: PipelineResult) -> Iterator[None]:
    """Logs one line if a job server reports no work in the first `WAIT_SECONDS` of this context.

    A worker with a wrong command or image ends before it connects to the runner. Not every runner detects this: then
    the job waits for ever, and nothing is logged. Some runners (Flink) report work only when a job has ended, so the
    line may be about a healthy job. Therefore it is worded as advice.
    """
    if not isinstance(result, portable_runner.PipelineResult):
        yield
        return
    ended = threading.Event()
    arguments = (result, ended)
    threading.Thread(target=_watch, args=arguments, name="work-awaited", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(result: portable_runner.PipelineResult, ended: threading.Event) -> None:
    if not ended.wait(WAIT_SECONDS) and not _has_begun(result) and not ended.is_set():
        _logger.warning(
            "the job server has reported no work for %.0f s; if no worker has started, the job waits forever:"
            " --environment_type and --environment_config set how workers start, and the job server's log may contain"
            " the reason",
            WAIT_SECONDS,
        )


def _has_begun(result: portable_runner.PipelineResult) -> bool:
    """Return whether the job server reports work.

    The request does not go through the result's `metrics`, which caches its first answer: the summary needs the last.
    """
    request = beam_job_api_pb2.GetJobMetricsRequest(job_id=result._job_id)
    try:
        answer = result._job_service.GetJobMetrics(request, timeout=_CALL_SECONDS)
    except grpc.RpcError:  # a runner without metrics
        return True
    return bool(answer.metrics.attempted or answer.metrics.committed)
