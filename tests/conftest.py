"""Checkpoints and texts that many tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from services.fixtures import (  # noqa: F401
    _bigquery,
    _storage,
    bigquery_server,
    bucket,
    dataset,
    pubsub,
    pubsub_address,
    storage_server,
)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# PyTorch's threads spin while they wait for each other; where another process has a core, for most of their time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps converted models out of the user's cache."""
    os.environ["BEAM_NER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a checkpoint of `checkpoint_factory` by name, once a session."""
    import checkpoint_factory

    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            maker = getattr(checkpoint_factory, name)
            made[name] = maker(tmp_path_factory.mktemp("checkpoints") / name)
        return made[name]

    return make
