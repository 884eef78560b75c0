"""Models of the hub: downloaded once, and found again under their names where the hub is not asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from services.hub_server import HubServer, commit

from transforms.checkpoints.files import check_weights
from transforms.checkpoints.resolve import resolve


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
    with pytest.raises(ValueError, match="not in the local cache, and not available"):
        resolve("acme/ner")
