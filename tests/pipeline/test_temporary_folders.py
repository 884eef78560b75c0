"""The folders in which Beam gathers files before they get their names, on a disk and on Cloud Storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from apache_beam.io.filesystems import FileSystems

from pipeline.io.files.names import delete_folder, temporary_folders

A, B = "0123456789abcdef" * 2, "f" * 32


@pytest.fixture(params=["disk", "bucket", "here"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder, with the slash behind it; none where it is the current one."""
    if request.param == "bucket":
        return f"{request.getfixturevalue('bucket')}/out/"
    monkeypatch.chdir(tmp_path)
    return f"{tmp_path}/" if request.param == "disk" else ""


@pytest.fixture
def write(place: str) -> Callable[[str], str]:
    """Writes a file in a folder of the place; returns the folder."""

    def in_folder(folder: str) -> str:
        if "://" not in place:
            Path(place + folder).mkdir(exist_ok=True)
        with FileSystems.create(f"{place}{folder}/file") as file:
            file.write(b"Ann Smith")
        return f"{place}{folder}" if "://" in place else str(Path(place + folder).absolute())

    return in_folder


def test_those_of_a_prefix_and_no_longer_one_are_found_and_deleted(place: str, write: Callable[[str], str]) -> None:
    assert temporary_folders(f"{place}x") == []
    others = [write(name) for name in (f"beam-temp-x-failures-{A}", f"beam-temp-xx-{A}", f"beam-temp-x-{A[1:]}", "x")]
    own = [write(f"beam-temp-x-{name}") for name in (A, B)]
    assert temporary_folders(f"{place}x") == own
    for folder in own:
        delete_folder(folder)
    assert temporary_folders(f"{place}x") == []
    assert all(FileSystems.exists(f"{folder}/file") for folder in others)
    assert temporary_folders(f"{place}x-failures") == others[:1]


def test_what_is_gone_is_no_error(place: str) -> None:
    delete_folder(f"{place}beam-temp-x-{A}")
