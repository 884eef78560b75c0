"""Checkpoints in a bucket: downloaded once a machine, whole, and with the bytes that were stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import shelf  # noqa: F401, registers the file system
from apache_beam.io.filesystems import FileSystems
from services.clients import environment_of
from services.storage_server import StorageServer

from transforms.checkpoints import remote
from transforms.checkpoints.resolve import resolve

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "model.safetensors": bytes(range(256)) * 8192,  # 2 MiB, so that it is read in more than one block
    "onnx/model.onnx": b"onnx",
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "checkpoints"


@pytest.fixture
def model(bucket: str, cache: Path) -> str:
    for name, content in FILES.items():
        write(f"{bucket}/model/{name}", content)
    write(f"{bucket}/model/notes.md", b"not a part of the checkpoint")
    write(f"{bucket}/model/deep/config.json", b"neither this")
    return f"{bucket}/model"


def write(path: str, content: bytes) -> None:
    with FileSystems.create(path) as file:
        file.write(content)


def stored(server: StorageServer, model: str, name: str) -> Path:
    """Where the server keeps a file; writing there in place leaves the checksum that it names as it was."""
    return server.root / model.removeprefix("gs://") / name


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if not path.name.endswith(".lock")]


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are copied in this process."""
    names: list[str] = []
    copy_bytes = remote._copy_bytes

    def count(source: str, path: Path) -> tuple[int, str]:
        names.append(path.name)
        return copy_bytes(source, path)

    monkeypatch.setattr(remote, "_copy_bytes", count)
    return names


def test_the_files_come_as_they_are(model, cache):
    checkpoint = resolve(model)
    assert contents(checkpoint.folder) == FILES
    assert left(cache) == [checkpoint.folder.name]
    assert resolve(f"{model}/").folder == checkpoint.folder


def test_a_second_look_copies_nothing(model, copied):
    first = resolve(model)
    assert sorted(copied) == ["config.json", "model.onnx", "model.safetensors", "tokenizer.json"]
    assert resolve(model) == first
    assert len(copied) == 4


def test_a_new_state_is_another_folder(model, cache):
    first = resolve(model)
    write(f"{model}/config.json", b"{ }")
    second = resolve(model)
    assert second.revision != first.revision
    assert (second.folder / "config.json").read_bytes() == b"{ }"
    assert (first.folder / "config.json").read_bytes() == b"{}"


def test_threads_download_once(model, copied):
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(resolve(model).folder)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(copied) == 4
    assert len(folders) == 4
    assert len(set(folders)) == 1


CHILD = """
import os, sys, time
from pathlib import Path
from services.clients import point_beam_at
point_beam_at()
from transforms.checkpoints import remote
from transforms.checkpoints.resolve import resolve
copy_bytes = remote._copy_bytes
def watched(source, path):
    if path.name == "model.safetensors" and os.environ.get("HANG"):
        path.write_bytes(b"half")
        print("half way", flush=True)
        time.sleep(3600)
    print("copied", path.name, flush=True)
    time.sleep(0.2)  # so that the other process comes meanwhile
    return copy_bytes(source, path)
remote._copy_bytes = watched
print("ready", flush=True)
sys.stdin.readline()
print(resolve(sys.argv[1]).folder, flush=True)
"""


def child(model: str, server: StorageServer, **variables: str) -> subprocess.Popen[str]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = environment_of(server) | variables
    return subprocess.Popen([sys.executable, "-c", CHILD, model], env=environment, text=True, **pipes)


def test_processes_download_once(model, storage_server):
    children = [child(model, storage_server) for _ in range(2)]
    for process in children:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in children:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=300)[0].splitlines() for process in children]
    assert sorted(map(len, said)) == [1, 5]  # one has copied four files, the other none, and both say where they are
    assert said[0][-1] == said[1][-1]
    assert contents(Path(said[0][-1])) == FILES


def test_a_killed_download_leaves_nothing_that_looks_finished(model, storage_server, cache):
    process = child(model, storage_server, HANG="1")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    while process.stdout.readline() != "half way\n":
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    [unfinished] = left(cache)
    assert unfinished.endswith(".part")
    checkpoint = resolve(model)
    assert contents(checkpoint.folder) == FILES
    assert left(cache) == [checkpoint.folder.name]


def flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(1_500_000)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))


def cut(path: Path) -> None:
    os.truncate(path, 1_000_000)


@pytest.mark.parametrize("harm", [flip, cut])
def test_damage_is_noticed(model, storage_server, cache, harm):
    harm(stored(storage_server, model, "model.safetensors"))
    with pytest.raises(ValueError, match=rf"^model='{model}': damaged: model\.safetensors arrived with the CRC32C"):
        resolve(model)
    assert left(cache) == []


def test_what_needs_no_weights_reads_none(model, storage_server):
    flip(stored(storage_server, model, "model.safetensors"))
    assert set(contents(resolve(model, weights=False).folder)) == {"config.json", "tokenizer.json"}


def test_a_file_that_ends_early_is_noticed_where_there_are_no_checksums(tmp_path, cache, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_bytes(b"{}")

    def half(source: str, path: Path) -> tuple[int, str]:
        path.write_bytes(b"{")
        return 1, ""

    monkeypatch.setattr(remote, "_copy_bytes", half)
    with pytest.raises(ValueError, match=r"cannot be downloaded whole: config\.json has 2 bytes, and 1 arrived"):
        resolve(f"shelf://{tmp_path}/model")
    assert left(cache) == []


def test_a_folder_that_changes_meanwhile_is_refused(model, cache, monkeypatch):
    copy_bytes = remote._copy_bytes

    def change(source: str, path: Path) -> tuple[int, str]:
        if path.name == "model.onnx":
            write(f"{model}/config.json", b"{ }")
        return copy_bytes(source, path)

    monkeypatch.setattr(remote, "_copy_bytes", change)
    with pytest.raises(ValueError, match=": changed during the download"):
        resolve(model)
    assert left(cache) == []


@pytest.mark.usefixtures("storage_server")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gs://no-such-bucket/model", "cannot be listed: BeamIOError"),
        ("nosuch://bucket/model", "cannot be listed: "),
    ],
)
def test_what_cannot_be_listed(name, message, cache):
    with pytest.raises(ValueError, match=f"^model='{name}': {message}"):
        resolve(name)


def test_a_folder_of_something_else_is_not_copied(bucket, cache, copied):
    write(f"{bucket}/data/a.json", b"{}")
    with pytest.raises(ValueError, match=r": no config\.json"):
        resolve(f"{bucket}/data")
    assert copied == []
