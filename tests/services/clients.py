"""Makes Beam's and Google's clients in this process talk to the servers of the tests.

Some clients know an environment variable for that, others have to be told. `point_beam_at` does both; a child process
gets the variables (`environment_of`) and does the rest in `run_program`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

REPOSITORY = Path(__file__).parents[2]
VARIABLES = (
    "PUBSUB_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
    "BIGQUERY_STORAGE_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
)
PROJECT = "test-project"


class Server(Protocol):
    """What the servers have in common."""

    @property
    def environment(self) -> Mapping[str, str]: ...


def environment_of(*servers: Server) -> dict[str, str]:
    """The environment for `python -m services.run_program`, started in the repository's folder."""
    path = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY)])
    variables = dict(os.environ) | {"PYTHONPATH": path, "GOOGLE_CLOUD_PROJECT": PROJECT}
    for server in servers:
        variables |= server.environment
    return variables


def point_beam_at(*servers: Server, patch: pytest.MonkeyPatch | None = None) -> pytest.MonkeyPatch:
    """Points this process at servers; without any, at those that the environment names.

    Args:
        patch: What takes it back; a fresh one where None.

    Returns:
        The patch: its `undo` ends it.
    """
    patch = patch or pytest.MonkeyPatch()
    patch.setenv("GOOGLE_CLOUD_PROJECT", os.environ.get("GOOGLE_CLOUD_PROJECT", PROJECT))
    for server in servers:
        for name, value in server.environment.items():
            patch.setenv(name, value)
    if any(name in os.environ for name in VARIABLES):
        _be_anonymous(patch)
    if "STORAGE_EMULATOR_HOST" in os.environ:
        _number_batch_parts(patch)
    if "BIGQUERY_EMULATOR_HOST" in os.environ:
        _point_bigquery(patch, os.environ["BIGQUERY_EMULATOR_HOST"])
    if "BIGQUERY_STORAGE_EMULATOR_HOST" in os.environ:
        _point_bigquery_storage(patch, os.environ["BIGQUERY_STORAGE_EMULATOR_HOST"])
    return patch


def _be_anonymous(patch: pytest.MonkeyPatch) -> None:
    """Spares Beam and the clients the search for credentials, which takes half a minute where there are none."""
    import google.auth
    from apache_beam.internal.gcp import auth
    from google.auth.credentials import AnonymousCredentials

    nobody = AnonymousCredentials()
    patch.setattr(google.auth, "default", lambda *_, **__: (nobody, PROJECT))
    patch.setattr(auth._Credentials, "_credentials", auth._ApitoolsCredentialsAdapter(nobody))
    patch.setattr(auth._Credentials, "_credentials_init", True)


def _number_batch_parts(patch: pytest.MonkeyPatch) -> None:
    """Gives every call in a batch a Content-ID: fake-gcs-server passes over those without, where the service answers.

    Beam renames and deletes ``gs://`` files in batches.
    """
    from google.cloud.storage import batch

    class Numbered(batch.MIMEApplicationHTTP):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self["Content-ID"] = f"<{uuid.uuid4()}>"

    patch.setattr(batch, "MIMEApplicationHTTP", Numbered)


def _point_bigquery(patch: pytest.MonkeyPatch, url: str) -> None:
    """Beam's client calls no server at all where a proxy is set and PySocks is missing, not even one beside the proxy."""
    from apache_beam.internal import http_client
    from apache_beam.io.gcp.internal.clients.bigquery.bigquery_v2_client import BigqueryV2

    patch.setattr(BigqueryV2, "BASE_URL", f"{url}/bigquery/v2/")
    patch.setattr(http_client, "proxy_info_from_environment_var", lambda _: None)


def _point_bigquery_storage(patch: pytest.MonkeyPatch, address: str) -> None:
    """Beam makes its Storage Read client without arguments, and that client knows no variable."""
    import grpc
    from google.cloud import bigquery_storage_v1 as storage
    from google.cloud.bigquery_storage_v1.services.big_query_read import transports as read
    from google.cloud.bigquery_storage_v1.services.big_query_write import transports as write

    pairs = [
        (storage.BigQueryReadClient, read.BigQueryReadGrpcTransport),
        (storage.BigQueryWriteClient, write.BigQueryWriteGrpcTransport),
    ]
    for client, transport in pairs:

        def init(
            self: Any,
            *,
            credentials: Any = None,
            _init: Any = client.__init__,
            _transport: Any = transport,
            **settings: Any,
        ) -> None:
            channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
            _init(self, transport=_transport(channel=channel), **settings)

        patch.setattr(client, "__init__", init)
