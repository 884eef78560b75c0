"""The poison corpus through every format and through Pub/Sub: each leaves once, and costs its neighbours nothing.

The files are read by one child process, a format after the other, so that its peak of memory and all that it says are
those of the corpus. Every call of the model reads one window (`--max_batch_tokens=1`), so that what a neighbour gets
does not depend on what it is padded with, and can be compared byte for byte. `BEAM_NER_LONG=1` adds 5 MB of prose.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import poison
import pytest
from outputs import failure_payload
from poison import GOOD, MARK
from services.pubsub_queue import Message
from streams import Stream

from pipeline.io.records import BOM
from transforms.machine import peak_mib

LONG = bool(os.environ.get("BEAM_NER_LONG"))
REPOSITORY = Path(__file__).parents[2]
FORMATS = ("text", "jsonl", "csv", "avro", "parquet")
FLAGS = ["--aggregation_strategy=first", "--include_text", "--max_batch_tokens=1", "--precision=bf16"]
CEILING_MIB = 1536
"""For a process that has read all of the corpus; one that has read three short documents takes half of that."""

DOCUMENTS = poison.documents()
if LONG:
    DOCUMENTS["length: 5 MB of prose"] = (
        f"{GOOD['good 1']} {MARK} It rained all week, so nobody went out. ".encode() * 45_000
    )
NEIGHBOURS = {**GOOD, "good 4": f"{GOOD['good 2']} It rained all week, so nobody went out. " * 60}  # of several windows

CHILD = """
import json, sys
from transforms.machine import peak_mib
from pipeline.run import main
codes = [main(flags) for flags in json.load(sys.stdin)]
print(json.dumps({"codes": codes, "peak_mib": peak_mib()}))
"""


def fits(input_format: str, data: bytes) -> bool:
    """Whether a format can hold these bytes as one document."""
    if input_format == "text":  # where a line is a document
        return b"\n" not in data and not data.endswith(b"\r")
    # Until Python 3.11 its csv module refuses NUL.
    return input_format != "csv" or sys.version_info >= (3, 11) or b"\0" not in data


def files(input_format: str) -> dict[str, bytes]:
    """A good file, the corpus in one file and broken files, by name; the good one comes first."""
    good = {name: text.encode() for name, text in NEIGHBOURS.items()}
    bad = {name: data for name, data in DOCUMENTS.items() if fits(input_format, data)}
    broken = {
        f"{name}{ending}": make()
        for name, (ending, make, _) in poison.FILES.items()
        if ending.split(".")[1] == input_format
    }
    several = {"a good.": good, "documents.": bad, "z good.": {"last": GOOD["good 3"].encode()}}
    return {name + SUFFIXES[input_format]: PACK[input_format](rows) for name, rows in several.items()} | broken


def _text_file(rows: Mapping[str, bytes]) -> bytes:
    return b"".join(data + b"\n" for data in rows.values())


def _jsonl_file(rows: Mapping[str, bytes]) -> bytes:
    return b"".join(poison.jsonl_line(name, data) + b"\n" for name, data in rows.items())


def _csv_file(rows: Mapping[str, bytes]) -> bytes:
    records = [poison.csv_record(name, data) for name, data in rows.items()]
    if len(records) > 50:  # the corpus, whose records that are none lie among the others
        records[10:10] = [record for record, _ in poison.CSV_RECORDS.values()]
    return b"\r\n".join([b"\xef\xbb\xbfid,text", *records, b""])


def _avro_file(rows: Mapping[str, bytes]) -> bytes:
    values: dict[str, Any] = {n: data.decode() if poison.is_utf8(data) else data for n, data in rows.items()}
    if len(rows) > 50:
        values |= {f"avro: {name}": value for name, (value, _) in poison.AVRO_VALUES.items()}
    return poison.avro_file(values, codec="deflate")


def _parquet_file(rows: Mapping[str, bytes]) -> bytes:
    return poison.parquet_file({**rows, **({"parquet: null": None} if len(rows) > 50 else {})}, row_group_size=40)


PACK: dict[str, Callable[[Mapping[str, bytes]], bytes]] = {
    "text": _text_file, "jsonl": _jsonl_file, "csv": _csv_file, "avro": _avro_file, "parquet": _parquet_file,
}  # fmt: skip
SUFFIXES = {"text": "txt"} | {name: name for name in FORMATS[1:]}


@dataclass(frozen=True)
class Run:
    """What one run has written."""

    lines: list[bytes]
    failures: list[dict[str, Any]]

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @classmethod
    def read(cls, folder: Path) -> Run:
        return cls(_lines(folder, "x-0*"), [json.loads(line) for line in _lines(folder, "x-failures-*")])


def _lines(folder: Path, pattern: str) -> list[bytes]:
    return [line for path in sorted(folder.glob(pattern)) for line in path.read_bytes().split(b"\n") if line]


@dataclass(frozen=True)
class Corpus:
    """What the child process has done."""

    runs: dict[str, Run]
    alone: Run
    said: str
    codes: list[int]
    peak_mib: float


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("poison")
    flags = []
    for name in FORMATS:
        (folder / name).mkdir()
        for file, data in files(name).items():
            (folder / name / file).write_bytes(data)
        flags.append([f"--input={folder}/{name}/*", f"--input_format={name}", f"--output={folder}/out-{name}/x"])
    for name in FORMATS[1:]:  # where the ending says that a file should be
        (folder / name / f"folder.{name}").mkdir()
        (folder / name / f"link.{name}").symlink_to(folder / "nowhere")
        (folder / name / f"zeros.{name}").symlink_to("/dev/zero")
        os.mkfifo(folder / name / f"pipe.{name}")
    (folder / "alone.jsonl").write_bytes(_jsonl_file({name: text.encode() for name, text in NEIGHBOURS.items()}))
    flags.append([f"--input={folder}/alone.jsonl", f"--output={folder}/out-alone/x"])
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        input=json.dumps([[*each, *FLAGS] for each in flags]).encode(),
        capture_output=True,
        timeout=300,
        check=False,
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    runs = {name: Run.read(folder / f"out-{name}") for name in FORMATS}
    print(f"\n{len(DOCUMENTS)} documents and {len(poison.FILES)} files of poison: {told['peak_mib']:.0f} MiB at most")
    return Corpus(runs, Run.read(folder / "out-alone"), said, told["codes"], told["peak_mib"])


def test_the_corpus_is_large_enough() -> None:
    assert len(DOCUMENTS) >= 150
    assert sum(fits("text", data) for data in DOCUMENTS.values()) >= 130
    assert sum(not poison.is_utf8(data) for data in DOCUMENTS.values()) >= 30
    # What has words has the mark in it: the search for it is a search for all texts.
    assert sum(MARK.encode() in data for data in DOCUMENTS.values()) >= 110


def test_nothing_stops_a_run(corpus: Corpus) -> None:
    assert corpus.codes == [0] * (len(FORMATS) + 1)
    assert "Traceback" not in corpus.said
    assert "do not add up" not in corpus.said


@pytest.mark.parametrize("input_format", FORMATS)
def test_each_document_leaves_once(input_format: str, corpus: Corpus) -> None:
    run = corpus.runs[input_format]
    sent = {name: data for name, data in DOCUMENTS.items() if fits(input_format, data)}
    expected = {name: data.decode() for name, data in sent.items() if poison.is_utf8(data)}
    # What comes before the break in a broken file is read; its documents are named so.
    results = [row for row in run.results if not row["id"].startswith("broken ")]
    if input_format == "text":
        assert Counter(row["text"] for row in results) == Counter(
            [*expected.values(), *NEIGHBOURS.values(), GOOD["good 3"]]
        )
    else:
        assert {row["id"]: row["text"] for row in results} == {**expected, **NEIGHBOURS, "last": GOOD["good 3"]}
        assert len(results) == len(expected) + len(NEIGHBOURS) + 1
    for row in results:
        for entity in row["entities"]:
            assert entity["text"] == row["text"][entity["start"] : entity["end"]]

    failed = [failure for failure in run.failures if failure["stage"] != "read" and not _of_a_broken_file(failure)]
    assert {failure["stage"] for failure in failed} == {"parse"}
    bad = {name: data for name, data in sent.items() if not poison.is_utf8(data)}
    if input_format in ("avro", "parquet"):
        more = [f"avro: {name}" for name in poison.AVRO_VALUES] if input_format == "avro" else ["parquet: null"]
        assert sorted(map(_id, failed)) == sorted([*bad, *more])
    else:
        packed = {"text": lambda _, data: data, "jsonl": poison.jsonl_line, "csv": poison.csv_record}[input_format]
        more = [record for record, _ in poison.CSV_RECORDS.values()] if input_format == "csv" else []
        payloads = sorted(base64.b64decode(failure["payloadBytes"]).removesuffix(b"\r\n") for failure in failed)
        assert payloads == sorted([*(packed(name, data) for name, data in bad.items()), *more])


def _of_a_broken_file(failure: dict[str, Any]) -> bool:
    """Of a file that is not that of the corpus: the line through which it is cut."""
    return not any("/documents." in pair["value"] for pair in failure["attributes"] if pair["key"] == "source")


def _id(failure: dict[str, Any], key: str = "id") -> str:
    return next(pair["value"] for pair in failure["attributes"] if pair["key"] == key)


@pytest.mark.parametrize(
    ("input_format", "cases"), [("csv", poison.CSV_RECORDS), ("avro", poison.AVRO_VALUES)], ids=["csv", "avro"]
)
def test_each_failure_has_its_own_reason(input_format: str, cases: dict[str, Any], corpus: Corpus) -> None:
    errors = " ".join(failure["errorMessage"] for failure in corpus.runs[input_format].failures)
    assert [name for name, (_, told) in cases.items() if told not in errors] == []


@pytest.mark.parametrize("input_format", FORMATS)
def test_neighbours_are_what_they_are_alone(input_format: str, corpus: Corpus) -> None:
    assert len(corpus.alone.lines) == len(NEIGHBOURS)
    if input_format == "text":  # whose ids are places
        found = {row["text"]: {**row, "id": ""} for row in corpus.runs["text"].results}
        assert [found[row["text"]] for row in corpus.alone.results] == [
            {**row, "id": ""} for row in corpus.alone.results
        ]
    else:
        assert set(corpus.alone.lines) <= set(corpus.runs[input_format].lines)


def test_a_text_gets_the_same_by_every_way(corpus: Corpus) -> None:
    known = {row["text"]: row["entities"] for row in corpus.runs["jsonl"].results}
    for run in corpus.runs.values():
        for row in run.results:
            assert row["entities"] == known.get(row["text"], row["entities"]), row["id"]


@pytest.mark.parametrize(("name", "ending", "told"), [(name, file[0], file[2]) for name, file in poison.FILES.items()])
def test_a_broken_file_is_one_failure_that_names_it(name: str, ending: str, told: str, corpus: Corpus) -> None:
    run = corpus.runs[ending.split(".")[1]]
    (failure,) = [
        failure
        for failure in run.failures
        if failure["stage"] == "read" and f"/{name}{ending}: " in failure["errorMessage"]
    ]
    assert told in failure["errorMessage"]
    assert failure["payloadBytes"] == ""


@pytest.mark.parametrize("input_format", FORMATS[1:])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("folder", "is a folder; expected the files in it"),
        ("link", "the target of the link does not exist"),
        ("zeros", "this is a pipe or a device"),
        ("pipe", "this is a pipe or a device"),
    ],
)
def test_what_is_no_file_is_a_failure(name: str, told: str, input_format: str, corpus: Corpus) -> None:
    failures = corpus.runs[input_format].failures
    (failure,) = [each for each in failures if f"/{name}.{input_format}: " in each["errorMessage"]]
    assert told in failure["errorMessage"]
    assert failure["stage"] == "read"


def test_nothing_else_fails_as_a_whole(corpus: Corpus) -> None:
    for input_format, run in corpus.runs.items():
        broken = sum(ending.split(".")[1] == input_format for ending, *_ in poison.FILES.values())
        odd = 0 if input_format == "text" else 4
        assert sum(failure["stage"] == "read" for failure in run.failures) == broken + odd, input_format


def test_nothing_is_quoted(corpus: Corpus) -> None:
    assert corpus.said.count(" documents in ") == len(FORMATS) + 1  # so all was caught
    assert MARK not in corpus.said
    failures = [failure for run in corpus.runs.values() for failure in run.failures]
    assert len(failures) > 5 * 30
    for failure in failures:
        assert MARK not in failure["errorMessage"]
        assert MARK not in failure["stacktrace"]
        assert MARK not in json.dumps(failure["attributes"])


def test_memory_is_bounded(corpus: Corpus) -> None:
    assert corpus.peak_mib < CEILING_MIB


# Pub/Sub


JSON_RECORDS = {
    **{f"json: {name}": line for name, line in poison.READ.items()},
    **{f"json: {name}": line for name, (line, _) in poison.REFUSED.items()},
}


@dataclass(frozen=True)
class Streamed:
    """What came out of a stream, by the messages' keys."""

    rows: dict[str, dict[str, Any]]
    failures: dict[str, bytes]
    told: str
    came: int
    peak_mib: float


def messages(input_format: str) -> dict[str, bytes]:
    """The corpus and its neighbours as messages' bytes, by their keys."""
    documents = {**DOCUMENTS, **{name: text.encode() for name, text in NEIGHBOURS.items()}}
    if input_format == "text":
        return documents
    return {name: poison.jsonl_line(name, data) for name, data in documents.items()} | JSON_RECORDS


@pytest.fixture(scope="module")
def streamed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Streamed]]:
    """Two processes at once, for most of their time is their start."""
    streams = {
        name: Stream(tmp_path_factory.mktemp(name), f"--input_format={name}", *FLAGS) for name in ("text", "jsonl")
    }
    try:
        for name, stream in streams.items():
            for key, data in messages(name).items():
                stream.publish([Message(data, {"key": key})])
            stream.start()
        yield {name: _outcome(stream, len(messages(name))) for name, stream in streams.items()}
    finally:
        for stream in streams.values():
            stream.close()


def _outcome(stream: Stream, count: int) -> Streamed:
    stream.wait(lambda: len(stream.results()) + len(stream.dead()) >= count, f"{count} outcomes")
    stream.wait_for_acknowledgements()
    assert stream.process is not None
    peak = peak_mib(str(stream.process.pid))
    print(f"\n{count} messages of poison: {peak:.0f} MiB at most")
    assert stream.terminate() == 0
    dead = stream.dead()
    return Streamed(
        {message.attributes["key"]: json.loads(message.data) for message in stream.results()},
        {_key(message): failure_payload(message.data, message.attributes) for message in dead},
        " ".join([stream.log(), *map(_told, dead)]),
        len(stream.results()) + len(dead),
        peak,
    )


def _key(message: Message) -> str:
    """The key of the message that a dead letter's tells of."""
    return message.attributes["key"] if "key" in message.attributes else _id(json.loads(message.data), "key")


def _told(message: Message) -> str:
    """All that a message of the dead letter says but for the payload."""
    if message.attributes["payload_encoding"] != "json":
        return json.dumps(message.attributes)
    return json.dumps({k: v for k, v in json.loads(message.data).items() if not k.startswith("payload")})


@pytest.mark.parametrize("input_format", ["text", "jsonl"])
def test_each_message_leaves_once(input_format: str, streamed: dict[str, Streamed]) -> None:
    outcome, sent = streamed[input_format], messages(input_format)
    # What is in the midst of a file is at the beginning of a message, where it may be.
    refused = {f"json: {name}" for name in poison.REFUSED if name != "a byte order mark in the midst"}
    bad = {name for name, data in sent.items() if not poison.is_utf8(data) or name in refused}
    assert outcome.came == len(sent)
    assert outcome.failures == {name: sent[name] for name in bad}
    assert set(outcome.rows) == set(sent) - bad
    for name, row in outcome.rows.items():
        if name in DOCUMENTS:
            assert row["text"] == DOCUMENTS[name].removeprefix(BOM if input_format == "text" else b"").decode()
        assert row["id"] == name


@pytest.mark.parametrize("input_format", ["text", "jsonl"])
def test_neighbours_in_a_stream_are_what_they_are_alone(
    input_format: str, streamed: dict[str, Streamed], corpus: Corpus
) -> None:
    assert {row["id"]: row for row in corpus.alone.results}.items() <= streamed[input_format].rows.items()


@pytest.mark.parametrize("input_format", ["text", "jsonl"])
def test_nothing_is_quoted_in_a_stream(input_format: str, streamed: dict[str, Streamed]) -> None:
    assert "SIGTERM" in streamed[input_format].told  # so the log was looked at
    assert MARK not in streamed[input_format].told
    assert "Traceback" not in streamed[input_format].told
    assert streamed[input_format].peak_mib < CEILING_MIB
