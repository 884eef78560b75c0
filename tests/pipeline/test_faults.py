"""What goes wrong around a batch run: kills, full disks, files that go away. All of it is there at the end, or nothing is.

The runs are processes that a server forks which has loaded Beam and PyTorch already (`services.program`), so that many
kills take seconds. `BEAM_NER_LONG=1` kills ten times, instead of three.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from apache_beam.io.filesystems import FileSystems
from poison import GOOD, MARK, record
from services.program import processes

from pipeline import run
from pipeline.run import main
from transforms.checkpoints.resolve import resolve
from transforms.engines.openvino_engine import OpenVinoEngine
from transforms.tokenization.fast import FastTokenization

PATIENCE_SECONDS = 300.0  # until what must happen has happened
KILLS = 10 if os.environ.get("BEAM_NER_LONG") else 3
NEVER = 10**9  # a change of files that never comes
DOCUMENTS = {f"{number:05}": f"Ann Smith, {number} Elm Street, {MARK}" for number in range(600)}


def _run(flags: Sequence[str], log: str, limits: dict[int, int], more_memory: int, pause_at: int = 0) -> None:
    """The program in a process of its own, below some limits."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if more_memory:
        _limit_memory_when_loaded(more_memory)
    if pause_at:
        _count_changes(Path(f"{log}.changes"), pause_at)
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    sys.exit(main(flags))


def _limit_memory_when_loaded(more: int) -> None:
    """Gives the process so many bytes more than it has when the model is loaded."""
    clear = run._clear

    def limited(config: Any) -> None:
        status = Path("/proc/self/status").read_text()
        size = int(re.findall(r"VmSize:\s+(\d+) kB", status)[0]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        clear(config)

    run._clear = limited


def _count_changes(changes: Path, pause_at: int) -> None:
    """Notes each folder or file before it is made, renamed or deleted, and waits for ever at one of them."""
    lock = threading.Lock()

    def noted(change: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            with lock:
                with changes.open("ab") as file:
                    file.write(b".")
                last = changes.stat().st_size == pause_at
            if last:
                threading.Event().wait()
            return change(*arguments, **settings)

        return call

    for name in ("mkdirs", "create", "rename", "delete"):
        setattr(FileSystems, name, staticmethod(noted(getattr(FileSystems, name))))


class Child:
    """A run of the program as a process.

    Args:
        folder: For its log, and its `changes`.
        *flags: Of the program.
        limits: Of `resource.setrlimit`.
        more_memory: Bytes that it may have more than it has when the model is loaded; 0 is no limit.
        pause_at: The change of files at which it waits for ever, from 1 on; 0 counts none.
    """

    def __init__(
        self,
        folder: Path,
        *flags: str,
        limits: dict[int, int] | None = None,
        more_memory: int = 0,
        pause_at: int = 0,
    ) -> None:
        self._log = folder / "program.log"
        self._changes = folder / "program.log.changes"
        self._changes.unlink(missing_ok=True)
        # Below a limit on the size of files it writes its log through a process that has none.
        said = f"{self._log}.pipe" if limits else str(self._log)
        self._reader = self._read(said) if limits else None
        self.process = processes.Process(target=_run, args=(flags, said, limits or {}, more_memory, pause_at))
        self.process.start()

    def _read(self, pipe: str) -> subprocess.Popen[bytes]:
        os.mkfifo(pipe)
        return subprocess.Popen(["sh", "-c", 'cat "$1" >"$2"', "sh", pipe, self._log])

    def changes(self) -> int:
        """How many folders and files it has begun to make, rename or delete."""
        return self._changes.stat().st_size if self._changes.exists() else 0

    def wait_for_change(self, number: int) -> None:
        """Waits until it has begun so many changes."""
        end = time.monotonic() + PATIENCE_SECONDS
        while self.changes() < number:
            assert self.process.exitcode is None, f"it ended at change {self.changes()}\n{self.said()}"
            assert time.monotonic() < end, f"still at change {self.changes()} of {number}\n{self.said()}"
            time.sleep(0.005)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still runs after {seconds} s\n{self.said()}"
        if self._reader is not None:
            self._reader.wait(seconds)
        return self.process.exitcode

    def said(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(record(text, id=name) for name, text in DOCUMENTS.items()))
    return tmp_path / "in.jsonl"


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Three short texts."""
    (tmp_path / "good.jsonl").write_bytes(b"\n".join(record(text, id=name) for name, text in GOOD.items()))
    return tmp_path / "good.jsonl"


def finished(folder: Path) -> list[Path]:
    """The files that look finished: all but Beam's temporary ones."""
    return sorted(path for path in folder.glob("*") if not path.name.startswith("beam-temp-"))


def rows(folder: Path) -> dict[str, bytes]:
    lines = [line for path in sorted(folder.glob("x-0*")) for line in path.read_bytes().splitlines()]
    found = {json.loads(line)["id"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def failures(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "x-failures-00000-of-00001.jsonl").read_bytes().splitlines()]


# Kills


def test_kills_at_any_moment_leave_nothing_that_looks_finished_and_is_not(source: Path, tmp_path: Path) -> None:
    def child(output: str, pause_at: int) -> Child:
        flags = [f"--input={source}", f"--output={tmp_path}/{output}/x", "--num_shards=3"]
        return Child(tmp_path, *flags, pause_at=pause_at)

    begin = time.monotonic()
    whole = child("whole", NEVER)
    assert whole.wait() == 0, whole.said()
    seconds, changes = time.monotonic() - begin, whole.changes()
    assert changes > 8  # two folders, and four files that are made and renamed
    expected = rows(tmp_path / "whole")
    assert list(expected) != []
    assert set(expected) == set(DOCUMENTS)

    chance, moments, begun = random.Random(7), [], 0
    for number in range(KILLS):
        # Every other one when the files change, which is soon done; between them at any time, if it runs so long.
        if number % 2 == 0:
            moment = chance.randint(3, changes)  # the first two make folders
            killed = child("out", moment)
            killed.wait_for_change(moment)
        else:
            killed = child("out", NEVER)
            time.sleep(chance.uniform(0, seconds))
        killed.process.kill()
        moments.append(killed.wait())
        left = finished(tmp_path / "out")
        begun += bool(left or list((tmp_path / "out").glob("beam-temp-*")))
        for path in left:
            assert re.fullmatch(r"x-0000[0-2]-of-00003\.jsonl|x-failures-00000-of-00001\.jsonl", path.name)
            if path.name.startswith("x-0"):
                data = path.read_bytes()
                assert data.endswith(b"\n")
                assert len(data.splitlines()) == len(DOCUMENTS) / 3  # the sink deals them out
                assert {json.loads(line)["id"]: line for line in data.splitlines()}.items() <= expected.items()
    print(f"\n{KILLS} kills in runs of {seconds:.1f} s: {moments.count(-signal.SIGKILL)} hit, {begun} while it wrote")
    assert moments.count(-signal.SIGKILL) >= KILLS / 2
    assert begun >= KILLS / 2

    again = child("out", NEVER)
    assert again.wait() == 0, again.said()
    assert rows(tmp_path / "out") == expected


# The disk


@pytest.mark.parametrize("ending", [".jsonl.gz", ".avro", ".parquet"])
def test_a_disk_that_is_full_ends_the_run_and_leaves_no_file(ending: str, source: Path, tmp_path: Path) -> None:
    full = Child(
        tmp_path,
        f"--input={source}",
        f"--output={tmp_path}/out/x{ending}",
        "--aggregation_strategy=first",
        limits={resource.RLIMIT_FSIZE: 10_000},
    )
    assert full.wait() == 1, full.said()
    # From Python 3.13 on, the files that could not be closed are complained of behind it.
    (line,) = [line for line in full.said().splitlines() if line.startswith("beam-ner: error: the run failed: ")]
    assert "File too large" in line  # what this kernel says where a limit stands in for the disk
    assert MARK not in full.said()
    assert finished(tmp_path / "out") == []


def test_a_folder_that_goes_away_ends_the_run(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def take_away(config: Any) -> None:
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").write_text("a file in its place")

    monkeypatch.setattr(run, "_clear", take_away)
    assert main([f"--input={good}", f"--output={tmp_path}/out/x"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1].startswith("beam-ner: error: the run failed: ")


# The input


def test_an_input_that_goes_away_is_a_failure(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Between the listing and the reading, as files do that another program tidies up."""
    from pipeline.io.files import read

    (tmp_path / "goes.jsonl").write_bytes(record(MARK))
    listed = read.match_files

    def list_and_take_away(pattern: str) -> Any:
        found = listed(pattern)
        (tmp_path / "goes.jsonl").unlink()
        return found

    monkeypatch.setattr(read, "match_files", list_and_take_away)
    # Another runner process would not see the patch; the default runner reads in this one.
    assert main([f"--input={tmp_path}/*.jsonl", f"--output={tmp_path}/out/x"]) == 0
    assert set(rows(tmp_path / "out")) == set(GOOD)
    (failure,) = failures(tmp_path / "out")
    assert failure["errorMessage"] == f"{tmp_path}/goes.jsonl: reading stopped after 0 records: FileNotFoundError"
    assert "1 failures, in " in capsys.readouterr().out


# The model


@pytest.mark.parametrize(
    ("model", "harm"),
    [
        ("rampart", "cut short"),
        ("rampart", "a byte changed"),
        ("bert_cased", "cut short"),
        ("bert_cased", "a byte changed"),
        ("bert_cased", "gone"),
    ],
)
def test_a_model_that_is_harmed_while_it_runs(
    model: str, harm: str, good: Path, tmp_path: Path, checkpoint: Callable[[str], Path]
) -> None:
    """All of it is in memory when the first document is read."""
    original = resolve("rampart").folder if model == "rampart" else checkpoint(model)
    folder = Path(shutil.copytree(original, tmp_path / "model"))
    flags = [f"--input={good}", f"--model={folder}", *(["--engine=torch"] if model != "rampart" else [])]
    assert main([*flags, f"--output={tmp_path}/expected/x"]) == 0
    harmed = processes.Process(
        target=_run_with_harm, args=([*flags, f"--output={tmp_path}/out/x"], str(tmp_path / "log"), str(folder), harm)
    )
    harmed.start()
    harmed.join(PATIENCE_SECONDS)
    assert harmed.exitcode == 0, (tmp_path / "log").read_text()
    assert rows(tmp_path / "out") == rows(tmp_path / "expected")


def _run_with_harm(flags: Sequence[str], log: str, folder: str, harm: str) -> None:
    clear = run._clear

    def harming(config: Any) -> None:
        clear(config)
        weights = [*Path(folder).glob("*.safetensors"), *Path(folder).glob("onnx/*.onnx")]
        assert weights
        for path in weights:
            if harm == "cut short":
                os.truncate(path, 4096)
            elif harm == "a byte changed":
                with path.open("r+b") as file:
                    file.seek(path.stat().st_size // 2)
                    file.write(b"\xff" * 64)
        if harm == "gone":
            shutil.rmtree(folder)

    run._clear = harming
    _run(flags, log, {}, 0)


# Memory


def test_a_document_that_memory_does_not_hold_is_a_failure(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = FastTokenization.encode

    def encode_what_fits(self: FastTokenization, texts: Sequence[str], words: bool = False) -> Any:
        if any(len(text) > 100_000 for text in texts):
            raise MemoryError
        return encode(self, texts, words)

    monkeypatch.setattr(FastTokenization, "encode", encode_what_fits)
    with good.open("ab") as file:
        file.write(b"\n" + record(MARK * 50_000, id="large"))
    assert main([f"--input={good}", f"--output={tmp_path}/out/x"]) == 0
    assert set(rows(tmp_path / "out")) == set(GOOD)
    (failure,) = failures(tmp_path / "out")
    assert failure["errorMessage"] == "classify failed with MemoryError"


def test_a_process_without_memory_ends_without_a_file(good: Path, tmp_path: Path) -> None:
    """The tokenizer, in Rust, cannot give back the memory that it did not get: the process ends, with a signal.

    The text has no spaces, and so is not read in pieces.
    """
    with good.open("ab") as file:
        file.write(b"\n" + record(f"a.b.{MARK}." * 400_000, id="large"))
    child = Child(tmp_path, f"--input={good}", f"--output={tmp_path}/out/x", more_memory=150_000_000)
    code = child.wait()
    said = child.said()
    assert MARK not in said
    if code:
        assert finished(tmp_path / "out") == []
        # MemoryError, what Rust says, or what Python does where there is none for a thread's stack.
        assert "memory" in said.lower() or "can't start new thread" in said
    else:  # an allocator that raises
        assert set(rows(tmp_path / "out")) == set(GOOD)


# The model's answers


def _answers(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray]) -> None:
    logits = OpenVinoEngine.logits
    monkeypatch.setattr(OpenVinoEngine, "logits", lambda self, *inputs: change(logits(self, *inputs)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda logits: logits[:-1], "classify failed with IndexError"),
        (lambda logits: np.full_like(logits, np.nan), "the model's scores are not finite numbers"),
        (lambda logits: logits[:, :1], "classify failed with IndexError"),
    ],
    ids=["a row too few", "no numbers", "a column too few"],
)
def test_answers_that_are_too_few_or_none_lose_nothing(
    change: Callable[[np.ndarray], np.ndarray], told: str, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answers(monkeypatch, change)
    assert main([f"--input={good}", f"--output={tmp_path}/out/x"]) == 1
    failed = failures(tmp_path / "out")
    assert rows(tmp_path / "out") == {}
    assert {next(pair["value"] for pair in each["attributes"] if pair["key"] == "id") for each in failed} == set(GOOD)
    assert {failure["errorMessage"] for failure in failed} == {told}


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    for child in multiprocessing.active_children():
        child.kill()
