"""`gs://` without credentials, or with a key file that is none: one sentence, and no long search."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import google.auth
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.io.filesystems import FileSystems
from google.auth.exceptions import DefaultCredentialsError
from runs import SAMPLES
from tries import Tries

from pipeline.checks import buckets, credentials
from pipeline.run import main

FLAGS = {
    "input": ["--input=gs://b/x-*.txt", "--output={folder}/x"],
    "replay": ["--replay=gs://b/x-*.jsonl", "--output={folder}/x"],
    "output": [f"--input={SAMPLES}", "--output=gs://b/x"],
    "dead_letter": [f"--input={SAMPLES}", "--output={folder}/x", "--dead_letter=gs://b/x"],
    "temp_location": [f"--input={SAMPLES}", "--output={folder}/x", "--temp_location=gs://b/x"],
    "model": [f"--input={SAMPLES}", "--output={folder}/x", "--model=gs://b/x"],
}


@pytest.fixture
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not asked for credentials yet, on a machine that is not Google's."""
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    monkeypatch.setattr(auth._Credentials, "_credentials_init", False)
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    for name in ("STORAGE_EMULATOR_HOST", credentials.KEY_FILE, *credentials._SERVERS):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _no_credentials(_nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*_: Any, **__: Any) -> Any:
        raise DefaultCredentialsError("Your default credentials were not found.")

    monkeypatch.setattr(google.auth, "default", find)


def told(flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a mistake."""
    assert main([flag.format(folder=folder) for flag in flags]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


@pytest.mark.usefixtures("_nobody")
@pytest.mark.parametrize("flag", FLAGS)
def test_a_key_file_that_is_not_there(
    flag: str, tries: Tries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(credentials.KEY_FILE, "/nope")
    sentence = told(FLAGS[flag], tmp_path, capsys)
    assert re.search(
        rf"error: --{flag}='gs://b/x\S*': requires Google credentials; {credentials.KEY_FILE}=/nope: ", sentence
    )
    assert "File /nope was not found.; expected a key file in JSON" in sentence
    assert tries.sleeps == []  # as between the attempts of Beam's search


@pytest.mark.usefixtures("_nobody")
@pytest.mark.parametrize(("content", "reason"), [
    ("no json", "is not a valid json file"), ("[]", "'list' object has no attribute 'get'"), ("{}", "type"), (None, "Is a directory"),
])  # fmt: skip
def test_a_key_file_that_is_none(
    content: str | None, reason: str, tries: Tries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    key = tmp_path / "key.json"
    _ = key.mkdir() if content is None else key.write_text(content)
    monkeypatch.setenv(credentials.KEY_FILE, str(key))
    sentence = told(FLAGS["input"], tmp_path, capsys)
    assert f"{credentials.KEY_FILE}={key}: " in sentence
    assert reason in sentence
    assert tries.sleeps == []  # as between the attempts of Beam's search


@pytest.mark.usefixtures("_no_credentials")
@pytest.mark.parametrize("flag", ["output", "dead_letter", "temp_location"])
def test_nobody_writes_without_credentials(
    flag: str, tries: Tries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = told(FLAGS[flag], tmp_path, capsys)
    assert f"--{flag}='gs://b/x': requires Google credentials; there are none here; expected those of" in sentence
    assert tries.sleeps == []  # as between the attempts of Beam's search


@pytest.mark.usefixtures("_no_credentials")
@pytest.mark.parametrize("flag", ["input", "replay", "model"])
def test_without_credentials_and_network_nobody_waits(
    flag: str, tries: Tries, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(buckets, "_SECONDS", 0.1)
    sentence = told(FLAGS[flag], tmp_path, capsys)
    assert sentence.endswith(
        "cannot be read without Google credentials: Cloud Storage does not answer (ConnectionError)\n"
    )
    assert "storage.googleapis.com" in tries.hosts


@pytest.fixture
def _searchless(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> Any:
        raise AssertionError("Beam searches for credentials")

    monkeypatch.setattr(auth._Credentials, "_get_credentials_with_retrys", search)


@pytest.mark.usefixtures("_searchless")
def test_a_public_bucket_is_read_by_anybody(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with FileSystems.create(f"{bucket}/a.txt") as file:
        file.write(b"My name is Ann Smith.")
    server = os.environ["STORAGE_EMULATOR_HOST"]
    request.getfixturevalue("_no_credentials")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
    assert main([f"--input={bucket}/*.txt", f"--output={tmp_path}/x"]) == 0
    assert auth._Credentials._credentials is None
    buckets._check_public("input", f"{bucket}/a.txt")
    buckets._check_public("input", "gs://not-there/a.txt")  # which Beam tells


@pytest.mark.usefixtures("_no_credentials")
@pytest.mark.parametrize("name", credentials._SERVERS)
def test_on_a_server_of_google_beam_searches(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its metadata may be late."""
    monkeypatch.setenv(name, "x")
    assert credentials.credentials_problem() is None


@pytest.mark.usefixtures("_searchless")
def test_local_files_need_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(credentials.KEY_FILE, "/nope")
    assert main([f"--input={SAMPLES}", f"--output={tmp_path}/x"]) == 0
