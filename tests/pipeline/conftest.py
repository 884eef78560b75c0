"""Inputs that tests of whole runs share."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import POISON


@pytest.fixture(scope="session")
def poison_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which some cannot be read and some cannot be classified."""
    path = tmp_path_factory.mktemp("poison") / "poison.jsonl"
    path.write_bytes(POISON)
    return path
