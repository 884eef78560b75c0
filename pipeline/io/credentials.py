"""The credentials of `--impersonate_service_account`, for every client of Google Cloud that the program makes."""

from __future__ import annotations

from apache_beam.internal.gcp.auth import get_service_credentials
from apache_beam.options.pipeline_options import GoogleCloudOptions
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError

from pipeline.beam_internals import process_options


def impersonated_credentials() -> Credentials | None:
    """Return Beam's credentials of the impersonated account, or None if no account is impersonated.

    With None, a client of Google finds the credentials itself. On Dataflow's workers it is always None: Beam removes
    the flag from their options, since they run as their own account.

    Raises:
        DefaultCredentialsError: If there are no credentials with which an account could be impersonated.
    """
    options = process_options()
    if options is None or not (account := options.view_as(GoogleCloudOptions).impersonate_service_account):
        return None
    found = get_service_credentials(options)
    if found is None:  # Beam would go on without credentials
        raise DefaultCredentialsError(f"no credentials to impersonate {account}")
    return found.get_google_auth_credentials()
