"""The servers as fixtures: started when a test first asks, ended with the session, and known to Beam for that test only.

`BEAM_NER_TEST_PUBSUB=host:port` makes tests that use nothing but the wire (`pubsub_address`) use a Pub/Sub emulator that
runs already, Google's for example: `gcloud beta emulators pubsub start --host-port=host:port`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.bigquery_server import BigQueryServer
    from services.pubsub_broker import Broker
    from services.storage_server import StorageServer


@pytest.fixture
def pubsub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A fresh broker, that this process's clients and Beam find."""
    from services.clients import point_beam_at
    from services.pubsub_broker import Broker

    with Broker() as broker:
        point_beam_at(broker, patch=monkeypatch)
        yield broker


@pytest.fixture
def pubsub_address(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """`host:port` of some Pub/Sub server, in PUBSUB_EMULATOR_HOST too; its topics may be of earlier tests."""
    if running := os.environ.get("BEAM_NER_TEST_PUBSUB"):
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running)
        return running
    return request.getfixturevalue("pubsub").address


@pytest.fixture(scope="session")
def _storage() -> Iterator[StorageServer]:
    from services.storage_server import StorageServer

    with StorageServer() as server:
        yield server


@pytest.fixture(scope="session")
def _bigquery(_storage: StorageServer) -> Iterator[BigQueryServer]:
    from services.bigquery_server import BigQueryServer

    with BigQueryServer(_storage) as server:
        yield server


@pytest.fixture
def storage_server(_storage: StorageServer, monkeypatch: pytest.MonkeyPatch) -> StorageServer:
    """Cloud Storage, that this process's clients and Beam find."""
    from services.clients import point_beam_at

    point_beam_at(_storage, patch=monkeypatch)
    return _storage


@pytest.fixture
def bucket(storage_server: StorageServer) -> str:
    """A new bucket, `gs://…` without a slash at the end."""
    return storage_server.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def bigquery_server(
    _bigquery: BigQueryServer, storage_server: StorageServer, monkeypatch: pytest.MonkeyPatch
) -> BigQueryServer:
    """BigQuery, that this process's clients and Beam find; it loads and extracts files of `storage_server`."""
    from services.clients import point_beam_at

    point_beam_at(_bigquery, patch=monkeypatch)
    return _bigquery


@pytest.fixture
def dataset(bigquery_server: BigQueryServer) -> str:
    """A new data set, `project.dataset`."""
    from google.cloud import bigquery

    name = f"{bigquery_server.environment['GOOGLE_CLOUD_PROJECT']}.set_{uuid.uuid4().hex[:12]}"
    bigquery.Client().create_dataset(name)
    return name
