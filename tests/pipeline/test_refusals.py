"""A run that is refused leaves everything as it was: no folder is made, and no result of an earlier run is deleted."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from runs import REPOSITORY, over

from pipeline.run import main

LONG = ["n" * 250, "n" * 256, "n" * 300, "out/" + "n" * 300 + "/x", "d/" * 2500 + "x"]
ODD = ["a\0b", "a\nb\x1b[31m[", "a\udc80b", "in.jsonl/x", "~no-such-user/x", "/dev/null/x"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an input and with the results of an earlier run."""
    monkeypatch.chdir(tmp_path)
    Path("in.jsonl").write_text('{"id": "a", "text": "Ann"}\n', "utf-8")
    Path("out").mkdir()
    Path("out/x-00000-of-00001.jsonl").write_text("{}\n")
    Path("out/x-failures-00000-of-00001.jsonl").write_text("")
    return tmp_path


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """The files and folders below a folder, with the content of the files."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if os.access(path, os.R_OK)
    }


def refusal(flags: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence of a refused run, which has changed nothing."""
    before = snapshot(here)
    capsys.readouterr()
    code = main(over(["--input=in.jsonl", "--output=out/x"], flags))
    out, err = capsys.readouterr()
    assert (code, out) == (2, ""), err[-500:]
    assert re.fullmatch(r"beam-ner: error: [^\n]+\n", err), err[-500:]
    assert err[:-1].isprintable()
    assert snapshot(here) == before
    return err.removeprefix("beam-ner: error: ")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *((flag, value) for flag in ("input", "model", "tokenizer") for value in (*LONG, *ODD)),
        *((flag, value) for flag in ("output", "dead_letter") for value in (*LONG, *ODD) if value[0] != "~"),
        *((flag, value) for flag in ("encoding", "runner", "input_format", "prism_location") for value in LONG[2:]),
        *((flag, ODD[1]) for flag in ("encoding", "runner", "input_format", "prism_location")),
    ],
    ids=str,
)
def test_a_name_that_cannot_be_one(flag: str, value: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--runner=PrismRunner"] if flag == "prism_location" else []
    sentence = refusal([f"--{flag}={value}", *more], here, capsys)
    assert sentence.startswith(f"--{flag}=")


@pytest.mark.parametrize(("flag", "most"), [("output", 175), ("dead_letter", 184)])
def test_the_longest_name_is_written(flag: str, most: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refusal([f"--{flag}=out/{'n' * (most + 1)}"], here, capsys)
    assert f"a name of {most + 1} bytes; expected at most {most}" in sentence
    assert main(over(["--input=in.jsonl", "--output=out/x"], [f"--{flag}=out/{'n' * most}"])) == 0
    assert len(list(Path("out").glob("n*-00000-of-00001.jsonl"))) == 2 - (flag == "dead_letter")


MISTAKES = [
    ["--output=new/folder/x", "--input=nothing.jsonl"],
    ["--output=new/folder/x", "--dead_letter=other/folder/x", "--model=./nothing"],
    ["--output=new/folder/x", "--tokenizer=./nothing"],
    ["--output=new/folder/x", "--aggregation_strategy=best"],
    ["--output=new/folder/x", "--text_field=body"],
    ["--output=new/folder/x", "--runner=NoSuchRunner"],
    ["--output=new/folder/x", "--runner=no.such.Runner"],
    ["--output=new/folder/x", "--runner=DataflowRunner"],
    ["--runner=TestDataflowRunner"],
    ["--tokenizer=./nothing"],
    ["--model=broken"],
    ["--output=new/folder/x", "--model=broken"],
    ["--runner=FlinkRunner", "--flink_master=localhost:{port}"],
    ["--runner=SparkRunner", "--spark_master_url=spark://localhost:{port}"],
    ["--runner=PortableRunner", "--job_endpoint=localhost:{port}"],
    ["--runner=PrismRunner", "--prism_location=in.jsonl"],
]


@pytest.mark.parametrize("flags", MISTAKES, ids=" ".join)
def test_a_mistake_changes_nothing(
    flags: list[str],
    here: Path,
    checkpoint: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("pipeline.checks.runners._SERVER_SECONDS", 0.1)
    shutil.copytree(checkpoint("bert_cased"), "broken")
    os.truncate("broken/model.safetensors", 5000)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusal([flag.format(port=closed.getsockname()[1]) for flag in flags], here, capsys)


def test_a_job_server_that_does_not_answer_costs_no_results(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(here)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"--job_endpoint=127.0.0.1:{silent.getsockname()[1]}"
        flags = ["--runner=PortableRunner", endpoint, "--job_server_timeout=1", "--environment_type=LOOPBACK"]
        assert main(["--input=in.jsonl", "--output=out/x", *flags]) == 1
    assert "the run failed" in capsys.readouterr().err
    assert snapshot(here) == before


# Folders


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder for a user who is not root, since root may read and write everything."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    monkeypatch.chdir(folder)
    Path("warm.txt").write_text("a")
    assert main(["--input=warm.txt", "--output=warm/x"]) == 0  # that user may not be permitted to import the libraries
    shutil.rmtree("warm")
    if user == 0:
        folder.chmod(0o777)
        os.seteuid(65534)
    try:
        Path("in.jsonl").write_text('{"id": "a", "text": "Ann"}\n', "utf-8")
        for name, mode in (("locked", 0), ("readonly", 0o555)):
            Path(name).mkdir()
            Path(name, "in.jsonl").write_text('{"id": "b", "text": "Ben"}\n', "utf-8")
            Path(name).chmod(mode)
        yield folder
    finally:
        Path("locked").chmod(0o700)
        Path("readonly").chmod(0o700)
        os.seteuid(user)
        shutil.rmtree(folder)


@pytest.mark.parametrize("flag", [
    "--input=locked", "--input=locked/in.jsonl", "--input=locked/*.jsonl", "--input=locked/",
    "--output=locked/x", "--output=readonly/x", "--output=readonly/new/x", "--output=locked/a/b/x",
    "--dead_letter=readonly/x", "--dead_letter=locked/new/x",
    "--model=locked", "--model=locked/model", "--tokenizer=locked", "--tokenizer=locked/model",
])  # fmt: skip
def test_a_folder_without_permission(flag: str, unprivileged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = refusal([flag], unprivileged, capsys)
    name, _, value = flag.partition("=")
    assert sentence.startswith(f"{name}={value!r}: cannot be ")
    assert "Permission denied" in sentence


def test_files_in_a_folder_that_is_read_only(unprivileged: Path) -> None:
    assert main(["--input=readonly/*.jsonl", "--output=out/x"]) == 0
    assert [json.loads(line)["id"] for path in Path("out").glob("x-0*") for line in path.open()] == ["b"]


@pytest.mark.parametrize(("pattern", "lost"), [("in/*/*.jsonl", 1), ("in/**.jsonl", 2), ("in/a/*.jsonl", 0)])
def test_a_folder_of_the_input_that_cannot_be_listed_is_a_failure(pattern: str, lost: int, unprivileged: Path) -> None:
    for name in ("in/a", "in/b", "in/a/deep"):
        Path(name).mkdir(parents=True)
        Path(name, "x.jsonl").write_text('{"id": "a", "text": "Ann"}\n')
    for name in ("in/b", "in/a/deep"):
        Path(name).chmod(0)
    try:
        assert main([f"--input={pattern}", "--output=out/x"]) == 0
    finally:
        for name in ("in/b", "in/a/deep"):
            Path(name).chmod(0o700)
    (failures,) = Path("out").glob("x-failures-0*")
    messages = [json.loads(line)["errorMessage"] for line in failures.read_text().splitlines()]
    assert len(messages) == lost
    assert all(message.endswith("the folder cannot be listed: Permission denied") for message in messages)


def test_a_working_folder_that_was_deleted(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Ann")
    (tmp_path / "gone").mkdir()
    command = [sys.executable, "-m", "pipeline", f"--input={tmp_path}/in.txt", f"--output={tmp_path}/out/x"]
    ended = subprocess.run(
        ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *command],
        cwd=tmp_path / "gone",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    problem = "the working folder: No such file or directory; expected one that was not deleted"
    assert ended.stderr.splitlines()[-1] == f"beam-ner: error: {problem}"
    assert not (tmp_path / "out").exists()
