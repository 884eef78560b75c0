"""Checks that there are Google credentials for the `gs://` paths of a run.

Without credentials, Beam searches for them five times and prints four stacks, for half a minute to two. Then it goes on
without. These checks search once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.api_core.retry import Retry
from google.auth.exceptions import TransportError
from requests.exceptions import RequestException

from pipeline.beam_internals import go_without_credentials, storage_client
from pipeline.checks.credentials import KEY_FILE, credentials_problem
from pipeline.options import NerOptions

_SECONDS = 5.0

_logger = logging.getLogger(__name__)


def check_bucket_credentials(options: NerOptions) -> None:
    """Checks that there are credentials for the `gs://` paths; without any, buckets are read as anybody may read them.

    Raises:
        ValueError: in one sentence with the flag and its value.
    """
    read, written = dict(_read(options)), dict(_written(options))
    if not read and not written:
        return
    problem = credentials_problem()
    if problem is None:
        return
    has_emulator = "STORAGE_EMULATOR_HOST" in os.environ
    if not has_emulator and (written or KEY_FILE in os.environ):
        flag, path = next(iter((written or read).items()))
        raise ValueError(f"--{flag}={path!r}: requires Google credentials; {problem}")
    go_without_credentials()
    if not has_emulator:
        for flag, path in read.items():
            _check_public(flag, path)


def _check_public(flag: str, path: str) -> None:
    """Checks that Cloud Storage answers at all, for which Beam would wait two minutes."""
    _logger.warning("there are no Google credentials: --%s=%r can be read only if it is public", flag, path)
    client = storage_client(FileSystems.get_filesystem(path))
    bucket = path.removeprefix("gs://").partition("/")[0]
    try:
        next(iter(client.list_blobs(bucket, max_results=1, retry=Retry(timeout=_SECONDS), timeout=_SECONDS)), None)
    except (GoogleAPICallError, ValueError):
        pass  # Beam asks for the files themselves, which may be public although the list is not
    except (RequestException, RetryError, TransportError, ConnectionError) as error:
        cause = getattr(error, "cause", None) or error
        raise ValueError(
            f"--{flag}={path!r}: cannot be read without Google credentials: Cloud Storage does not answer"
            f" ({type(cause).__name__})"
        ) from error


def _read(options: NerOptions) -> Iterator[tuple[str, str]]:
    for flag in ("input", "replay", "model", "tokenizer"):
        value = getattr(options, flag) or ()
        paths = [value] if isinstance(value, str) else value
        yield from ((flag, path) for path in paths if path.startswith("gs://"))


def _written(options: NerOptions) -> Iterator[tuple[str, str]]:
    temp_location = options.view_as(GoogleCloudOptions).temp_location
    places = {"output": options.output, "dead_letter": options.dead_letter, "temp_location": temp_location}
    yield from ((flag, path) for flag, path in places.items() if path and path.startswith("gs://"))
