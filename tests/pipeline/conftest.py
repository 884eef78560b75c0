"""Inputs that tests of whole runs share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import POISON, Run


@pytest.fixture(scope="session")
def poison_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which some cannot be read and some cannot be classified."""
    path = tmp_path_factory.mktemp("poison") / "poison.jsonl"
    path.write_bytes(POISON)
    return path


@pytest.fixture(autouse=True)
def no_run_is_left() -> Iterator[None]:
    """Ends the runs that a test has started and, failing, not ended."""
    yield
    for process in Run.started:
        process.kill()
        process.wait()
    Run.started.clear()
