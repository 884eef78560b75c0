"""Checks of Google's credentials, before any other check uses them."""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress

import google.auth
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, StandardOptions
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from pipeline.io.credentials import impersonated_credentials

KEY_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
"""The variable with the path of a key file."""

# Where Google's metadata server gives the credentials, but may be late at the start of a container.
_SERVERS = ("GCE_METADATA_HOST", "KUBERNETES_SERVICE_HOST", "K_SERVICE", "CLOUD_RUN_JOB")

_PLUGIN = "pipeline.io.worker_credentials"


def check_impersonation(options: PipelineOptions) -> None:
    """Checks that the account of `--impersonate_service_account` can be impersonated, and makes the workers do so.

    Raises:
        ValueError: in one sentence with the flag and its value.
    """
    FileSystems.set_options(options)  # as the pipeline does later; the checks before it need the same credentials
    account = options.view_as(GoogleCloudOptions).impersonate_service_account
    if not account:
        return
    if problem := credentials_problem():
        raise ValueError(f"--impersonate_service_account={account}: requires Google credentials; {problem}")
    try:
        credentials = impersonated_credentials()
        if credentials is not None:
            credentials.refresh(Request())
    except GoogleAuthError as error:
        raise ValueError(
            f"--impersonate_service_account={account}: cannot be impersonated: {_reason(error)}"
        ) from error
    if options.view_as(StandardOptions).runner != "DataflowRunner":
        setup = options.view_as(SetupOptions)
        setup.beam_plugins = [*(setup.beam_plugins or []), _PLUGIN]


def _reason(error: GoogleAuthError) -> str:
    """Return the service's own sentence, which is in a JSON answer behind the client's sentence, or else the latter."""
    with suppress(LookupError, TypeError, ValueError):
        return str(json.loads(error.args[1])["error"]["message"])
    return str(error.args[0]) if error.args else type(error).__name__


def credentials_problem() -> str | None:
    """Return the reason for which there are no Google credentials here; None if there are some.

    Beam searches for credentials five times, for half a minute to two, and prints a stack each time. This is one
    search. The result is None too on a server of Google whose credentials may come late, for which that search is made.
    """
    logger = logging.getLogger("google.auth")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of what the sentence is about
    try:
        google.auth.default()
        return None
    except Exception as error:  # of many classes: a key file can be a folder, or a list in JSON
        parts = error.args or (type(error).__name__,)
        reason = parts[-1] if isinstance(error, OSError) else parts[0]
        if KEY_FILE in os.environ:
            return f"{KEY_FILE}={os.environ[KEY_FILE]}: {reason}; expected a key file in JSON"
    finally:
        logger.setLevel(level)
    if any(name in os.environ for name in _SERVERS):
        return None
    return f"there are none here; expected those of `gcloud auth application-default login`, or a file in {KEY_FILE}"
