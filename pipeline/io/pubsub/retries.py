"""The retries of calls to Pub/Sub."""

from __future__ import annotations

from typing import Any

import tenacity
from google.api_core import exceptions

_TRANSIENT = (
    exceptions.Aborted,
    exceptions.BadGateway,
    exceptions.Cancelled,
    exceptions.DeadlineExceeded,
    exceptions.InternalServerError,
    exceptions.ServiceUnavailable,
    exceptions.TooManyRequests,  # includes RESOURCE_EXHAUSTED
    exceptions.Unknown,
)
"""The errors to retry, since they pass by themselves."""

_WAIT = tenacity.wait_exponential_jitter(initial=0.1, max=5.0, jitter=0.1)


def retrying(wait: Any = _WAIT, **settings: Any) -> tenacity.Retrying:
    """Return a function that makes a call, and retries it after transient errors; the last error is raised.

    Args:
        wait: The waits between attempts.
        **settings: Other settings of `tenacity.Retrying`, such as the end of the retries (`stop`).
    """
    retry = tenacity.retry_if_exception_type(_TRANSIENT)
    return tenacity.Retrying(retry=retry, wait=wait, reraise=True, **settings)
