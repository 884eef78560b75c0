"""Checks of Google's credentials, before any other check uses them."""

from __future__ import annotations

import json
from contextlib import suppress

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions, StandardOptions
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request

from pipeline.io.credentials import impersonated_credentials

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
