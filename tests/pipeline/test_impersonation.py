"""`--impersonate_service_account`: whose token each client shows, with tokens from a server."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.auth
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from google.auth import iam
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import Request
from services.token_server import SOURCE, TokenServer
from table_factory import make_table, proxy, rows_of, table_in

from pipeline.checks.credentials import check_impersonation
from pipeline.io.bigquery.client import client_of, read_client
from pipeline.io.credentials import impersonated_credentials
from pipeline.io.pubsub import clients as pubsub_clients
from pipeline.places import Table
from pipeline.run import main
from pipeline.runners.selection import batch_runner

READER = "reader@test-project.iam.gserviceaccount.com"
FLAG = f"--impersonate_service_account={READER}"


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes this process one that has asked for no credentials yet."""
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)


@pytest.fixture
def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    """A process of the source account, whose tokens come from a server."""
    with TokenServer() as server:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.write_key(tmp_path / "key.json")))
        monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
        monkeypatch.setattr(iam, "_IAM_ENDPOINT", server.impersonation)
        _forget(monkeypatch)
        pubsub_clients._kept.cache_clear()
        yield server
        pubsub_clients._kept.cache_clear()


CLIENTS: dict[str, Callable[[], Any]] = {
    "BigQuery": lambda: client_of("test-project")._credentials,
    "BigQuery Storage": lambda: read_client().transport._credentials,
    "publisher": lambda: pubsub_clients.publisher().transport._credentials,
    "subscriber": lambda: pubsub_clients.subscriber().transport._credentials,
    "reader of a subscription": lambda: pubsub_clients.new_subscriber().transport._credentials,
    "Beam's Cloud Storage": lambda: create_storage_client(PipelineOptions([]))._credentials,
}


def _token(credentials: Any) -> str:
    credentials.refresh(Request())
    return str(credentials.token)


@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_shows_the_impersonated_account(name: str, tokens: TokenServer) -> None:
    check_impersonation(PipelineOptions([FLAG]))
    assert _token(CLIENTS[name]()) == f"token-of-{READER}"
    assert set(tokens.asked) == {(READER, "Bearer token-of-source")}


@pytest.mark.parametrize("name", CLIENTS)
def test_without_the_flag_each_client_shows_its_own_account(name: str, tokens: TokenServer) -> None:
    check_impersonation(PipelineOptions([]))
    assert CLIENTS[name]().service_account_email == SOURCE
    assert impersonated_credentials() is None
    assert tokens.asked == []


def test_a_chain_of_accounts(tokens: TokenServer) -> None:
    check_impersonation(PipelineOptions([f"--impersonate_service_account=between@p.iam.gserviceaccount.com,{READER}"]))
    assert _token(client_of("test-project")._credentials) == f"token-of-{READER}"


@pytest.mark.usefixtures("tokens")
def test_an_account_that_may_not_be_impersonated_is_told_before_the_start() -> None:
    flag = "--impersonate_service_account=forbidden@p.iam.gserviceaccount.com"
    with pytest.raises(ValueError, match=f"^{flag}: cannot be impersonated: Permission denied on resource$"):
        check_impersonation(PipelineOptions([flag]))


def test_no_credentials_to_impersonate_with(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget(monkeypatch)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nope")
    with pytest.raises(ValueError, match=f"^{FLAG}: requires Google credentials; .*=/nope: File /nope was not found"):
        check_impersonation(PipelineOptions([FLAG]))
    assert not auth._Credentials._credentials_init  # nobody has searched for others


def test_a_worker_without_credentials_does_not_go_on_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget(monkeypatch)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)  # as Beam leaves it after its search
    FileSystems.set_options(PipelineOptions([FLAG]))
    with pytest.raises(DefaultCredentialsError, match=f"^no credentials to impersonate {READER}$"):
        client_of("test-project")


def test_a_worker_asks_with_its_options_first(tokens: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beam's own steps ask without the options, and whoever asks first decides for the process."""
    options = PipelineOptions([FLAG])
    check_impersonation(options)
    (plugin,) = options.view_as(SetupOptions).beam_plugins
    _forget(monkeypatch)
    sys.modules.pop(plugin, None)
    FileSystems.set_options(options)
    importlib.import_module(plugin)  # as Beam's worker does
    assert _token(create_storage_client(PipelineOptions([]))._credentials) == f"token-of-{READER}"


@pytest.mark.usefixtures("tokens")
def test_worker_processes_get_the_flag_and_the_plugin() -> None:
    options = PipelineOptions([FLAG, "--direct_running_mode=multi_processing"])
    check_impersonation(options)
    runner = batch_runner(options)
    assert isinstance(runner, FnApiRunner)
    given = dict(runner._provision_info.provision_info.pipeline_options)
    assert given["beam:option:impersonate_service_account:v1"] == READER
    assert list(given["beam:option:beam_plugins:v1"]) == ["pipeline.io.worker_credentials"]


@pytest.mark.usefixtures("tokens")
def test_dataflow_starts_the_job_as_the_account_and_its_workers_as_their_own() -> None:
    options = PipelineOptions([FLAG, "--runner=DataflowRunner"])
    check_impersonation(options)
    assert not options.view_as(SetupOptions).beam_plugins
    assert options.view_as(GoogleCloudOptions).impersonate_service_account == READER


def test_a_whole_run_shows_the_impersonated_account(
    dataset: str, bigquery_server: Any, tokens: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = make_table(table_in(dataset, "letters"), "id STRING, text STRING", [{"id": "a", "text": "Ann Smith"}])
    monkeypatch.setattr(google.auth, "default", google.auth._default.default)  # the fixture of BigQuery is anonymous
    shown: list[str | None] = []
    with proxy(bigquery_server.url, lambda *_: None, headers=lambda each: shown.append(each["Authorization"])) as (
        url,
        _,
    ):
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", url)
        output = Table(letters.project, letters.dataset, "entities")
        flags = [f"--input={letters}", f"--output={output}", "--write_method=STREAMING_INSERTS", FLAG]
        assert main(flags) == 0
    assert set(shown) == {f"Bearer token-of-{READER}"}
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", bigquery_server.url)
    assert [row["id"] for row in rows_of(output)] == ["a"]
