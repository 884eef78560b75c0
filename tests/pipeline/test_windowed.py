"""Files of a window each: what goes in comes out, in the file of its time, whatever the watermark does."""

from __future__ import annotations

import bz2
import csv
import errno
import gzip
import io
import itertools
import json
import lzma
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import fastavro
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.localfilesystem import LocalFileSystem
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from outputs import window_files

from pipeline import preview
from pipeline.io.files import whole_files
from pipeline.io.files.whole_files import UnwritableError, atomic_write
from pipeline.io.files.window_names import EARLY, LATE, ON_TIME, WindowShard, event_time, window_start
from pipeline.io.files.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.io.files.write import result_format
from pipeline.schemas import csv_columns, streamed_row
from transforms.documents import Document, DocumentEntities, Entity, Failure

NOON = 1764072000  # 2025-11-25 12:00:00 UTC
FIRST = "20251125T120000Z-20251125T120100Z"
SECOND = "20251125T120100Z-20251125T120200Z"


def result(name: str, timestamp: float | None, text: str = "Zoë 🙂") -> DocumentEntities:
    entities = (Entity("PER", 0.123456789012345, "zoë ##🙂", 0, 5, text, None), Entity("ORG", 1.0, "=a,b", None, None))
    document = Document(name, text, {"key": name, "🙂": ""}, timestamp, receipt=f"receipt-{name}")
    return DocumentEntities(document, entities, 7, 1, False, "m", "rev", "first")


def stream(*events: Any) -> test_stream.TestStream:
    """A stream of results, `("watermark", seconds after noon)` and `("clock", seconds)`."""
    made = test_stream.TestStream().advance_watermark_to(NOON)
    for event in events:
        if isinstance(event, DocumentEntities):
            made.add_elements([TimestampedValue(event, NOON)])
        elif event[0] == "watermark":
            made.advance_watermark_to(NOON + event[1])
        else:
            made.advance_processing_time(event[1])
    return made.advance_watermark_to_infinity()


_times = itertools.count(0, 2000)


def clock() -> float:
    return next(_times)


class Sink(WriteWindowedResults):
    """By TestStream's clock, which begins at 0; what comes to a window first waits until 1000, then until 3000 …"""

    def __init__(self, output: Path, output_format: str = "jsonl", **settings: Any) -> None:
        settings = {"max_wait_seconds": 1000, **settings}
        super().__init__(str(output), output_format, "first", output_format != "csv", 60, **settings)
        global _times
        _times = itertools.count(0, 2000)
        self._windows._write._clock = clock


def noted(receipt: str, path: str) -> None:
    with open(path, "a") as file:  # noqa: PTH123
        file.write(f"{receipt}\n")


def run(source: Any, sink: beam.PTransform, runner: Any = None) -> list[str]:
    """The receipts. Not by `assert_that`: the runner drops what timers give at a stream's end before its grouping."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/receipts"
        with beam.Pipeline(runner or BundleBasedDirectRunner(), PipelineOptions(streaming=runner is None)) as pipeline:
            written = pipeline | source | sink
            _ = written.receipts | beam.Map(noted, path)
            assert_that(written.failures, equal_to([]))
        return sorted(Path(path).read_text().split())


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def contents(folder: Path) -> dict[str, list[str]]:
    """The ids in each file, by the files' names."""
    return {path.name: [row["id"] for row in lines(path)] for path in sorted(folder.iterdir())}


# Names


@pytest.mark.parametrize(
    ("timestamp", "seconds", "expected"),
    [(0, 60, 0), (59.999, 60, 0), (60, 60, 60), (-1, 60, -60), (1e9, 3600, 999997200)],
)
def test_window_of_a_time(timestamp: float, seconds: int, expected: int) -> None:
    assert window_start(timestamp, seconds) == expected


@pytest.mark.parametrize("seconds", [60, 7 * 86400])
@pytest.mark.parametrize("timestamp", [-62135510400, 0, NOON, 253402214340, 253402214399])
def test_names_are_those_of_their_years(timestamp: int, seconds: int) -> None:
    first, last = WindowShard(window_start(timestamp, seconds), seconds, 0, 1).window.split("-")
    assert len(first) == len(last) == len("20251125T120000Z")


@pytest.mark.parametrize("timestamp", [None, float("nan"), float("inf"), -float("inf"), 1e20, -1e20, 9.3e12])
def test_times_that_no_name_can_be_made_of(timestamp: float | None) -> None:
    assert event_time(timestamp, 5.0) == 5.0
    assert WindowShard(window_start(event_time(timestamp), 60), 60, 0, 1).window.startswith("2")


def test_panes_have_names_of_their_own() -> None:
    shard = WindowShard(NOON, 60, 1, 2)
    firsts = [shard.name("x", ".csv", pane, 0) for pane in (ON_TIME, EARLY, LATE)]
    assert firsts == [f"x-{FIRST}{pane}-00001-of-00002.csv" for pane in ("", "-early1", "-late1")]


# Windows


def test_results_are_in_the_files_of_their_windows(tmp_path: Path) -> None:
    source = stream(result("a", NOON + 59.9), result("c", NOON + 60), result("b", NOON), ("watermark", 61), ("watermark", 300))  # fmt: skip
    assert run(source, Sink(tmp_path / "x")) == ["receipt-a", "receipt-b", "receipt-c"]
    assert contents(tmp_path) == {f"x-{FIRST}-00000-of-00001.jsonl": ["a", "b"], f"x-{SECOND}-00000-of-00001.jsonl": ["c"]}  # fmt: skip
    (row, _) = lines(tmp_path / f"x-{FIRST}-00000-of-00001.jsonl")
    assert row == json.loads(json.dumps(streamed_row(result("a", 0), True)))
    assert row["attributes"] == [{"key": "key", "value": "a"}, {"key": "🙂", "value": ""}]


def test_late_results_are_in_files_of_their_own(tmp_path: Path) -> None:
    source = stream(
        result("a", NOON), ("watermark", 61), result("b", NOON), result("c", NOON), ("clock", 3001), result("d", NOON),
        ("watermark", 662), result("e", NOON), ("watermark", 5000), result("f", NOON + 1),
    )  # fmt: skip
    receipts = run(source, Sink(tmp_path / "x", allowed_lateness_seconds=600))
    assert receipts == [f"receipt-{name}" for name in "abcdef"]
    found = contents(tmp_path)
    assert found.pop(f"x-{FIRST}-00000-of-00001.jsonl") == ["a"]
    assert found.pop(f"x-{FIRST}-late1-00000-of-00001.jsonl") == ["b", "c"]  # gathered while they may be late
    assert found.pop(f"x-{FIRST}-late2-00000-of-00001.jsonl") == ["d"]  # their time was over
    assert sorted(name for names in found.values() for name in names) == list("ef")
    assert all("-late" in name for name in found)


@pytest.mark.parametrize("lateness", [0, 3600])
def test_nothing_is_dropped_however_late(tmp_path: Path, lateness: float) -> None:
    late = [result(f"late-{number}", NOON + number * 7) for number in range(50)]
    source = stream(("watermark", 7200), *late, ("watermark", 10**6), *(result(f"later-{number}", NOON) for number in range(5)))  # fmt: skip
    run(source, Sink(tmp_path / "x", allowed_lateness_seconds=lateness))
    ids = Counter(name for names in contents(tmp_path).values() for name in names)
    assert ids == Counter([*(f"late-{number}" for number in range(50)), *(f"later-{number}" for number in range(5))])


def test_a_backlog_of_an_hour(tmp_path: Path) -> None:
    made = test_stream.TestStream().advance_watermark_to(NOON)
    for minute in range(60):  # each batch lies around the watermark, some of it behind
        made.add_elements([TimestampedValue(result(f"{minute}-{number}", NOON + minute * 60 + number * 0.9 - 70), NOON) for number in range(167)])  # fmt: skip
        made.advance_watermark_to(NOON + minute * 60 + 1)
    run(made.advance_watermark_to_infinity(), Sink(tmp_path / "x", num_shards=2))
    ids = Counter(name for names in contents(tmp_path).values() for name in names)
    assert len(ids) == 60 * 167 > 10_000
    assert set(ids.values()) == {1}
    for path in tmp_path.iterdir():
        start = path.name.split("-")[1]
        for row in lines(path):
            minute, number = map(float, row["id"].split("-"))
            shard = WindowShard(window_start(NOON + minute * 60 + number * 0.9 - 70, 60), 60, 0, 2)
            assert shard.window.startswith(start)


def test_what_waits_is_written_while_its_window_is_open(tmp_path: Path) -> None:
    source = stream(result("a", NOON), ("clock", 1001), result("b", NOON), ("watermark", 61))
    assert run(source, Sink(tmp_path / "x")) == ["receipt-a", "receipt-b"]
    assert contents(tmp_path) == {f"x-{FIRST}-early1-00000-of-00001.jsonl": ["a"], f"x-{FIRST}-00000-of-00001.jsonl": ["b"]}  # fmt: skip


def test_what_waits_is_written_when_it_is_much(tmp_path: Path) -> None:
    """Three records and a part of a fourth have room; what comes later begins to wait anew."""
    source = stream(*(result(name, NOON) for name in "abcde"), ("clock", 500), result("f", NOON), ("watermark", 61))
    assert run(source, Sink(tmp_path / "x", max_waiting_bytes=16_000)) == [f"receipt-{name}" for name in "abcdef"]
    early, on_time = f"x-{FIRST}-early1-00000-of-00001.jsonl", f"x-{FIRST}-00000-of-00001.jsonl"
    assert contents(tmp_path) == {early: ["a", "b", "c", "d"], on_time: ["e", "f"]}


def test_shards_go_by_id(tmp_path: Path) -> None:
    results = [result(f"{number}", NOON) for number in range(40)]
    run(stream(*results), Sink(tmp_path / "x", num_shards=3))
    run(stream(*results), Sink(tmp_path / "y", num_shards=3))
    found = contents(tmp_path)
    assert [len(found[f"x-{FIRST}-{shard:05d}-of-00003.jsonl"]) > 5 for shard in range(3)] == [True] * 3
    assert sorted(name for names in found.values() for name in names) == sorted(
        [str(number) for number in range(40)] * 2
    )
    for shard in range(3):
        assert found[f"x-{FIRST}-{shard:05d}-of-00003.jsonl"] == found[f"y-{FIRST}-{shard:05d}-of-00003.jsonl"]


def test_times_that_cannot_be(tmp_path: Path) -> None:
    times = [None, float("nan"), 1e300, -5.0, 4e9]
    run(stream(*(result(f"{number}", when) for number, when in enumerate(times))), Sink(tmp_path / "x"))
    names = {name: row for row, names in contents(tmp_path).items() for name in names}
    assert len(names) == 5
    assert FIRST in names["0"]  # the element's own time
    assert "-19691231T235900Z-" in f"-{names['3']}"
    assert "-20961002T" in names["4"]


@pytest.mark.parametrize("runner", [FnApiRunner, BundleBasedDirectRunner])
def test_other_runners_and_batch(tmp_path: Path, runner: Callable[[], Any]) -> None:
    documents = [result(f"{number}", NOON + number) for number in range(100)]
    sink = WriteWindowedResults(str(tmp_path / "x"), "jsonl", "first", True, 60)
    assert run(beam.Create(documents), sink, runner()) == sorted(f"receipt-{number}" for number in range(100))
    found = contents(tmp_path)
    assert sorted(name for names in found.values() for name in names) == sorted(str(number) for number in range(100))


# Formats


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zst": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


@pytest.mark.parametrize("ending", UNPACK)
def test_compressed_lines(tmp_path: Path, ending: str) -> None:
    run(stream(result("a", NOON)), Sink(tmp_path / f"x.jsonl{ending}"))
    (file,) = tmp_path.iterdir()
    assert file.name == f"x-{FIRST}-00000-of-00001.jsonl{ending}"
    assert [json.loads(line)["id"] for line in UNPACK[ending](file.read_bytes()).splitlines()] == ["a"]


def test_csv_has_a_header_in_each_file(tmp_path: Path) -> None:
    empty = DocumentEntities(
        Document("nothing", "", {}, NOON, receipt="receipt-nothing"), (), 0, 1, False, "m", "rev", "first"
    )
    source = stream(result("a", NOON), result("b", NOON + 60), empty)
    assert run(source, Sink(tmp_path / "x.csv.gz", "csv")) == ["receipt-a", "receipt-b", "receipt-nothing"]
    for window, name in ((FIRST, "a"), (SECOND, "b")):
        text = gzip.decompress((tmp_path / f"x-{window}-00000-of-00001.csv.gz").read_bytes()).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        assert tuple(rows[0]) == csv_columns("first")
        assert [(row["id"], row["entity_group"], row["word"]) for row in rows] == [(name, "ORG", "'=a,b"), (name, "PER", "zoë ##🙂")] or \
            [(row["id"], row["entity_group"], row["word"]) for row in rows] == [(name, "PER", "zoë ##🙂"), (name, "ORG", "'=a,b")]  # fmt: skip


@pytest.mark.parametrize("output_format", ["avro", "parquet"])
def test_binary_formats(tmp_path: Path, output_format: str) -> None:
    run(stream(result("b", NOON), result("a", NOON)), Sink(tmp_path / "x", output_format))
    (file,) = tmp_path.iterdir()
    if output_format == "avro":
        with file.open("rb") as opened:
            rows: list[Any] = list(fastavro.reader(opened))
    else:
        rows = pq.read_table(file).to_pylist()
    assert rows == [streamed_row(result(name, 0), True) for name in "ab"]


@pytest.mark.parametrize("name", ["jsonl", "csv", "avro", "parquet"])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_same_records_make_the_same_file(name: str, ending: str) -> None:
    made = result_format(name)(ending, "first", name != "csv")
    records = [made.record(result("a", 0)), made.record(result("b", 0))]
    assert made.file(records) == made.file(records)


def test_what_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    bad = [result("surrogate", NOON, "a\ud800"), result("fine", NOON)]
    infinite = DocumentEntities(Document("inf", "secret", {"k": "v"}, NOON, receipt="receipt-inf"), (Entity("PER", float("inf"), "x", 0, 1),), 1, 1, False, "m", "r", "first")  # fmt: skip

    def told(failure: Failure) -> tuple[Any, ...]:
        assert "secret" not in failure.error + failure.stacktrace
        return failure.attributes["id"], failure.stage, failure.receipt, failure.payload

    with beam.Pipeline(BundleBasedDirectRunner(), PipelineOptions(streaming=True)) as pipeline:
        written = pipeline | stream(*bad, infinite) | Sink(tmp_path / "x")
        _ = written.receipts | beam.Map(noted, f"{tmp_path}/receipts")
        assert_that(
            written.failures | beam.Map(told),
            equal_to([
                ("surrogate", "write", "receipt-surrogate", "a\ud800".encode("utf-8", "surrogatepass")),
                ("inf", "write", "receipt-inf", b"secret"),
            ]),
        )  # fmt: skip
    assert (tmp_path / "receipts").read_text() == "receipt-fine\n"
    assert [row["id"] for row in lines(tmp_path / f"x-{FIRST}-00000-of-00001.jsonl")] == ["fine"]


def test_failures_have_windows_too(tmp_path: Path) -> None:
    failures = [
        Failure(bytes(range(256)), "bad", "parse", {"id": "1"}, timestamp=NOON + 1, receipt="r1"),
        Failure(b"", "worse", "read", timestamp=NOON + 61),
        Failure("\ud800".encode("utf-8", "surrogatepass"), "\ud800", "parse", timestamp=NOON + 2, receipt="r3"),
    ]
    source = test_stream.TestStream().add_elements(failures).advance_watermark_to_infinity()
    assert run(source, WriteWindowedFailures(str(tmp_path / "x-failures"), 60)) == ["r1", "r3"]
    files = window_files(f"{tmp_path}/x-failures", ".jsonl")
    assert [[row["errorMessage"] for row in lines(file)] for file in files] == [["bad", "?"], ["worse"]]


def test_preview_reads_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(stream(result("a", NOON), ("watermark", 61), result("b", NOON), result("c", NOON + 61)), Sink(tmp_path / "x"))
    assert preview.main([f"{tmp_path}/x-*Z-*-of-*.jsonl"]) == 0
    assert "6 entities in 3 documents" in capsys.readouterr().out
    assert preview.main([f"{tmp_path}/x-{FIRST}-*.jsonl"]) == 0
    assert "4 entities in 2 documents" in capsys.readouterr().out


# Files


class Flaky(LocalFileSystem):
    """Fails as often as it is told to: `("create" | "write" | "rename", how often)`."""

    broken: tuple[str, int] = ("", 0)
    calls: ClassVar[Counter[str]] = Counter()

    @classmethod
    def scheme(cls) -> str:
        return "flaky"

    @classmethod
    def _fails(cls, call: str) -> None:
        cls.calls[call] += 1
        if cls.broken[0] == call and cls.calls[call] <= cls.broken[1]:
            raise OSError(errno.ENOSPC, "No space left on device")

    def create(self, path: str, *arguments: Any, **settings: Any) -> Any:
        self._fails("create")
        file = super().create(path, *arguments, **settings)
        if self.broken[0] == "write":
            file.write(b"half of it")
            try:
                self._fails("write")
            except OSError:
                file.close()
                raise
            file.seek(0)
            file.truncate()
        return file

    def rename(self, *arguments: Any) -> None:
        self._fails("rename")
        super().rename(*arguments)


def no_links(source: str, target: str) -> None:
    """As on a file system that has none."""
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Flaky]]:
    monkeypatch.setattr(FileSystems, "get_filesystem", staticmethod(lambda path: Flaky(PipelineOptions())))
    monkeypatch.setattr(whole_files.os, "link", no_links)
    monkeypatch.setattr(whole_files._put.retry, "sleep", lambda seconds: None)
    monkeypatch.setattr(Flaky, "calls", Counter())
    yield Flaky
    Flaky.broken = ("", 0)


@pytest.mark.parametrize("call", ["create", "write", "rename"])
def test_a_disk_that_is_full_for_a_while(tmp_path: Path, flaky: type[Flaky], call: str) -> None:
    flaky.broken = (call, 2)
    assert atomic_write(f"{tmp_path}/new/{{}}".format, b"data") == f"{tmp_path}/new/0"
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"0": b"data"}


@pytest.mark.parametrize("call", ["create", "write", "rename"])
def test_a_disk_that_stays_full(tmp_path: Path, flaky: type[Flaky], call: str) -> None:
    flaky.broken = (call, 100)
    with pytest.raises(UnwritableError, match="0 cannot be written: No space left on device"):
        atomic_write(f"{tmp_path}/{{}}".format, b"data")
    assert flaky.calls[call] == 4
    assert list(tmp_path.iterdir()) == []


def test_no_file_overwrites_another(tmp_path: Path) -> None:
    name_of = f"{tmp_path}/{{}}".format
    for number in range(40):
        data = b"%d" % number
        assert atomic_write(name_of, data) == name_of(number)
        assert atomic_write(name_of, data) == name_of(number)  # the same again, as by a bundle that is tried again
        assert atomic_write(name_of, b"0") == name_of(0)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        str(number): str(number) for number in range(40)
    }
    (tmp_path / "17").unlink()  # by its reader, for example
    assert not Path(atomic_write(name_of, b"new")).samefile(tmp_path / "39")
    assert sorted(path.read_text() for path in tmp_path.iterdir()) == sorted([*(str(number) for number in range(40) if number != 17), "new"])  # fmt: skip


@pytest.mark.parametrize("where", ["here", "a bucket"])
def test_processes_that_write_at_once_take_names_of_their_own(
    where: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As two programs do that read one subscription, and whose windows close in the same moment."""
    folder = str(tmp_path) if where == "here" else request.getfixturevalue("bucket")
    together, rounds = threading.Barrier(4), 5

    def writes(number: int) -> list[str]:
        names = []
        for each in range(rounds):
            together.wait(300)
            names.append(atomic_write(f"{folder}/{each}-{{}}".format, b"%d" % number))
        return names

    with ThreadPoolExecutor(4) as pool:
        names = dict(enumerate(pool.map(writes, range(4))))
    found = FileSystems.match([f"{folder}/*"])[0].metadata_list
    assert len(found) == 4 * rounds
    for number, own in names.items():
        for name in own:
            assert FileSystems.open(name).read() == b"%d" % number


def test_a_bundle_that_is_tried_again_makes_no_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([True, True])

    def fails_once_written(*arguments: Any) -> str:
        name = atomic_write(*arguments)
        if next(failures, False):
            raise ConnectionError
        return name

    monkeypatch.setattr("pipeline.io.files.windowed.atomic_write", fails_once_written)
    source = stream(result("a", NOON), result("b", NOON), ("watermark", 61), result("c", NOON + 60))
    assert run(source, Sink(tmp_path / "x")) == ["receipt-a", "receipt-b", "receipt-c"]
    assert contents(tmp_path) == {f"x-{FIRST}-00000-of-00001.jsonl": ["a", "b"], f"x-{SECOND}-00000-of-00001.jsonl": ["c"]}  # fmt: skip


def test_nothing_is_receipted_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(whole_files._put.retry, "sleep", lambda seconds: None)
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), PipelineOptions(streaming=True))
    written = pipeline | stream(result("a", NOON)) | Sink(tmp_path / "file" / "x")
    _ = written.receipts | beam.Map(noted, f"{tmp_path}/receipts")
    with pytest.raises(Exception, match="cannot be written: "):
        pipeline.run().wait_until_finish()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_second_run_adds_to_the_first(tmp_path: Path) -> None:
    run(stream(result("a", NOON), result("b", NOON)), Sink(tmp_path / "x"))
    run(stream(result("b", NOON)), Sink(tmp_path / "x"))  # what was not acknowledged comes again
    assert contents(tmp_path) == {f"x-{FIRST}-00000-of-00001.jsonl": ["a", "b"], f"x-{FIRST}-late1-00000-of-00001.jsonl": ["b"]}  # fmt: skip


# Arguments


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"window_seconds": 0}, "window_seconds=0: out of range; expected at least 1"),
        ({"window_seconds": 1.5}, "window_seconds=1.5: not a whole number; expected whole seconds"),
        ({"allowed_lateness_seconds": -1}, "allowed_lateness_seconds=-1: out of range; expected at least 0"),
        ({"allowed_lateness_seconds": float("nan")}, "allowed_lateness_seconds=nan: out of range; expected at least 0"),
        ({"num_shards": -1}, "num_shards=-1: out of range; expected at least 1"),
        ({"max_waiting_bytes": 0}, "max_waiting_bytes=0: out of range; expected at least 1"),
        ({"max_wait_seconds": -1}, "max_wait_seconds=-1: out of range; expected at least 0"),
        ({"output_format": "xml"}, "^output_format=xml: unknown; expected one of"),
        ({"output_format": "csv"}, "^include_text: not for csv"),
        ({"output": "out/"}, "no name of a file; expected one at the end"),
    ],
)
def test_arguments(changes: dict[str, Any], sentence: str) -> None:
    arguments = {"output": "x", "output_format": "jsonl", "strategy": "first", "include_text": True, "window_seconds": 60}  # fmt: skip
    with pytest.raises(ValueError, match=sentence):
        WriteWindowedResults(**{**arguments, **changes})
