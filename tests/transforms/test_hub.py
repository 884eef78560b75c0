"""Models of the hub: downloaded once, and found again under their names where the hub is not asked."""

from __future__ import annotations

import email.utils
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from services.hub_server import HubServer, commit

from transforms.checkpoints.files import check_weights
from transforms.checkpoints.resolve import resolve
from transforms.errors import ArgumentError


@pytest.fixture
def hub(checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("bert_cased"), folder)
    (folder / "README.md").write_text("not a part of the checkpoint")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    with HubServer({"acme/ner": folder}) as server:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.mark.parametrize("revision", [None, "main"])
def test_a_model_is_found_again_without_the_hub(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revision: str | None
) -> None:
    found = resolve("acme/ner", revision)
    assert found.revision == commit(tmp_path / "model")
    names = {path.name for path in found.folder.iterdir()}
    assert "model.safetensors" in names
    assert not names & {"README.md", "pytorch_model.bin"}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    assert resolve("acme/ner", revision) == found
    assert resolve("acme/ner", revision, weights=False) == found
    check_weights(found)
    assert hub.asked == []


def test_a_model_without_its_weights_is_not_taken_for_whole(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = resolve("acme/ner", weights=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert resolve("acme/ner", weights=False) == configuration
    with pytest.raises(ValueError, match="not in the local cache of the Hugging Face hub, and HF_HUB_OFFLINE is set"):
        resolve("acme/ner")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited for."""
    seconds: list[float] = []
    monkeypatch.setattr("transforms.checkpoints.hub.time.sleep", seconds.append)
    return seconds


def test_a_busy_hub_is_asked_again_when_it_says(
    hub: HubServer, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    in_a_minute = email.utils.formatdate(time.time() + 40, usegmt=True)
    hub.faults += [(429, {"Retry-After": "7"}), (503, {}), (429, {"Retry-After": in_a_minute})]
    assert resolve("acme/ner").folder.is_dir()
    first, second, third = slept
    assert 7 <= first <= 10.5
    assert 2 <= second <= 3
    assert 30 <= third <= 60
    assert "model='acme/ner': the hub answered 429; next try in" in caplog.text


def test_waits_differ_and_are_bounded(hub: HubServer, slept: list[float]) -> None:
    for _ in range(3):
        hub.faults += [(429, {"Retry-After": "100000"})] * 3
        resolve("acme/ner")
    assert len(slept) == len(set(slept)) == 9
    assert max(slept) <= 90


@pytest.mark.parametrize(("status", "headers", "sentence", "waits"), [
    (429, {}, "the hub answered 429, too many requests; expected HF_TOKEN set, or a copy", 3),
    (500, {}, "the hub answered 500, an error of its own; expected another try later", 3),
    (502, {}, "the hub answered 502, an error of its own", 3),
    (401, {"X-Error-Message": "Invalid credentials in Authorization header"}, "the hub answered 401, since HF_TOKEN is not valid", 0),
    (403, {}, "the hub answered 403, since HF_TOKEN gives no access", 0),
    (418, {}, "the hub answered 418", 0),
])  # fmt: skip
def test_each_answer_has_its_sentence(
    hub: HubServer, slept: list[float], status: int, headers: dict[str, str], sentence: str, waits: int
) -> None:
    hub.faults += [(status, headers)] * 100
    with pytest.raises(ArgumentError) as raised:
        resolve("acme/ner")
    assert str(raised.value).startswith(
        f"model='acme/ner': not a folder here, not in the local cache of the Hugging Face hub, and {sentence}"
    )
    assert len(slept) == waits


def test_the_cache_stands_in_with_a_line_in_the_log(
    hub: HubServer, slept: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    found = resolve("acme/ner")
    hub.faults += [(500, {})] * 100
    assert resolve("acme/ner") == found
    assert f"model='acme/ner': revision {found.revision} of the local cache, since the hub answered 500" in caplog.text


def test_an_unknown_model_is_asked_for_once(hub: HubServer, slept: list[float]) -> None:
    with pytest.raises(ArgumentError, match="neither a folder here nor a model on the Hugging Face hub"):
        resolve("acme/other")
    assert slept == []
