"""Checkpoints and texts that many tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from apache_beam.options.pipeline_options import StandardOptions
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
from tries import Tries

from pipeline.process.local_addresses import spare_local_addresses

# A child that starts in another folder would take tests/pipeline for the program; those that need a path set their own.
os.environ.pop("PYTHONPATH", None)
spare_local_addresses()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Beam's own default would download Prism where there is internet, and run the tests there.
StandardOptions.DEFAULT_RUNNER = "FnApiRunner"
# PyTorch's threads spin while they wait for each other; where another process has a core, for most of their time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

hypothesis.settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keeps converted models out of the user's cache."""
    os.environ["BEAM_NER_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    """Takes the network and all sleeps away, so that "at once" is held by what was tried, not by the time it took."""
    return Tries.instead_of_waiting(monkeypatch)


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
