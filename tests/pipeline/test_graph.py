"""The graph as a runner sees it: its labels, and how what crosses a shuffle is encoded."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import graphs
import poison
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.test_stream import TestStream

from pipeline.config import NerConfig
from pipeline.graph import build
from pipeline.io.files.matching import Shard
from pipeline.io.files.windowed import WriteWindowedFailures, WriteWindowedResults
from pipeline.io.pubsub.direct_pull import PullOnDirectRunner
from pipeline.options import NerOptions
from pipeline.places import Files, Subscription, Table, Topic
from pipeline.run import main
from transforms import ClassifyTokens, Document, DocumentEntities, Failure, GroupEntities, PreEntities

TestStream.__test__ = False  # type: ignore[attr-defined]


def batch(tmp_path: Path, *flags: str, runner: Any = None) -> beam.Pipeline:
    """The program's graph for files."""
    source = tmp_path / "in.jsonl"
    source.write_text(
        '{"id": "a", "text": "Ann lives in Paris."}\n{"id": "b", "text": 1}\n{"id": "c", "text": "\\ud800"}\n'
    )
    options = PipelineOptions([f"--input={source}", f"--output={tmp_path}/out", *flags])
    pipeline = beam.Pipeline(runner, options=options)
    build(pipeline, NerConfig.from_options(options.view_as(NerOptions)))
    return pipeline


def windowed(tmp_path: Path, documents: list[Document], runner: Any = None) -> beam.Pipeline:
    """Documents that stream into files of a window each, in batches across bundles."""
    pipeline = beam.Pipeline(runner, options=PipelineOptions(streaming=True))
    stream = TestStream(beam.coders.registry.get_coder(Document)).add_elements(documents)
    source = pipeline | "Stream" >> stream.advance_watermark_to_infinity()
    typed = source | "Typed" >> beam.Map(Document.of).with_output_types(Document)
    spread = typed | "Spread" >> beam.Reshuffle()
    classified = spread | "ClassifyTokens" >> ClassifyTokens(max_batch_wait_ms=50)
    grouped = classified | "GroupEntities" >> GroupEntities("first").with_exception_handling()
    results = WriteWindowedResults(f"{tmp_path}/out", "jsonl", "first", True, 60)
    written = grouped.results | "WriteResults" >> results
    failures = (classified.failures, grouped.failures, written.failures) | "AllFailures" >> beam.Flatten()
    _ = failures | "WriteFailures" >> WriteWindowedFailures(f"{tmp_path}/failures", 60)
    return pipeline


# Labels


def test_labels_of_batch_files(tmp_path: Path) -> None:
    graphs.check_labels(batch(tmp_path), "batch_files")


@pytest.mark.parametrize(
    ("name", "content", "runner", "balanced"),
    [
        ("in.csv", b"", "FlinkRunner", True),
        ("in.jsonl.gz", b"", "FlinkRunner", True),
        ("in.parquet", b"", "FlinkRunner", True),  # of which a row group may be the whole file
        ("in.jsonl", b'{"text": "a"}\n', "FlinkRunner", False),  # is read in parts, by all workers
        ("in.jsonl", b'[{"text": "a"}]', "FlinkRunner", True),
        ("in.jsonl", '{"text": "a"}\n'.encode("utf-16"), "FlinkRunner", True),
        ("in.txt", b"Ann\n", "FlinkRunner", False),
        ("in.avro", b"", "FlinkRunner", False),
        ("in.csv", b"", "DirectRunner", False),
    ],
)
def test_documents_of_files_that_one_worker_reads_are_dealt_out(
    name: str, content: bytes, runner: str, balanced: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    options = PipelineOptions([f"--input={tmp_path}/{name}", f"--output={tmp_path}/out", f"--runner={runner}"])
    pipeline = beam.Pipeline("DirectRunner")
    build(pipeline, NerConfig.from_options(options.view_as(NerOptions)))
    found = dict(graphs.shuffled_coders(pipeline))
    coder = found.get("ReadDocuments/Balance/ReshufflePerKey/GroupByKey")
    assert (coder is not None) == balanced
    assert coder is None or coder.startswith("kv(varint, tuple(DocumentCoder, ")


ENDS = {
    "pubsub_to_pubsub": (Subscription("p", "s"), Topic("p", "t"), Topic("p", "dead")),
    "pubsub_to_bigquery": (Subscription("p", "s"), Table("p", "d", "t"), Table("p", "d", "dead")),
    "pubsub_to_files": (Subscription("p", "s"), Files("out/x"), Files("out/dead")),
    "bigquery_to_bigquery": (Table("p", "d", "in"), Table("p", "d", "t"), Table("p", "d", "dead")),
}


def between(name: str, tmp_path: Path) -> beam.Pipeline:
    """The program's graph between other ends; nothing is asked whether they are there."""
    (tmp_path / "in.jsonl").write_text("")
    options = PipelineOptions([f"--input={tmp_path}/in.jsonl", f"--output={tmp_path}/out"])
    config = NerConfig.from_options(options.view_as(NerOptions))
    source, output, dead_letter = ENDS[name]
    kind = "auto" if isinstance(source, Table) else "text"
    tables = replace(config.tables, write_method="STREAMING_INSERTS", failure_method="STREAMING_INSERTS")
    config = replace(config, input=source, input_format=kind, output=output, dead_letter=dead_letter, tables=tables)
    pipeline = beam.Pipeline(BundleBasedDirectRunner())
    build(pipeline, config)
    return pipeline


@pytest.mark.parametrize("name", ENDS)
def test_labels_of_other_ends(name: str, tmp_path: Path) -> None:
    graphs.check_labels(between(name, tmp_path), name)


@pytest.mark.parametrize("name", ENDS)
def test_coders_of_other_ends(name: str, tmp_path: Path) -> None:
    found = dict(graphs.shuffled_coders(between(name, tmp_path)))
    if name.startswith("bigquery"):
        assert found["ReadTable/Spread/ReshufflePerKey/GroupByKey"].startswith("kv(varint, tuple(string_utf8, ")
        assert found["ReadTable/Balance/ReshufflePerKey/GroupByKey"].startswith("kv(varint, tuple(DocumentCoder, ")
    else:
        assert not [
            label for label in found if not label.startswith(("WriteResults/Windows/", "WriteFailures/Windows/"))
        ]


@pytest.mark.parametrize(("name", "seconds"), [("pubsub_to_pubsub", 3600), ("pubsub_to_files", 3660)])
def test_messages_stay_leased_while_their_results_wait_for_a_file(name: str, seconds: int, tmp_path: Path) -> None:
    (pull,) = graphs.transforms_of(between(name, tmp_path), PullOnDirectRunner)
    assert pull.settings.max_lease_seconds == seconds


def test_labels_of_windowed_files(tmp_path: Path) -> None:
    pipeline = beam.Pipeline()
    results = pipeline | "Results" >> beam.Create([]) | WriteWindowedResults("x", "jsonl", "first", True, 60)
    _ = results.failures | WriteWindowedFailures("y", 60)
    graphs.check_labels(pipeline, "windowed_files")


def test_a_change_of_labels_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(graphs, "LISTS", tmp_path)
    pipeline = beam.Pipeline()
    _ = pipeline | "Old" >> beam.Impulse()
    monkeypatch.setenv("UPDATE_LABELS", "1")
    graphs.check_labels(pipeline, "x")
    monkeypatch.delenv("UPDATE_LABELS")
    graphs.check_labels(pipeline, "x")
    _ = pipeline | "New" >> beam.Impulse()
    with pytest.raises(AssertionError, match=r"gone \[\], new \['New'\].*UPDATE_LABELS=1"):
        graphs.check_labels(pipeline, "x")


# Coders


def test_coders_of_batch_files(tmp_path: Path) -> None:
    found = dict(graphs.shuffled_coders(batch(tmp_path, "--num_shards=2")))
    assert found["ReadDocuments/Spread/ReshufflePerKey/GroupByKey"].startswith("kv(varint, tuple(ShardCoder, ")
    # The files' lines; the rest of what a write groups is Beam's.
    assert {label for label in found if not label.startswith("ReadDocuments/")} == {"WriteResults/Files/Write/Write/WriteImpl/GroupByKey", "WriteFailures/Files/Write/Write/WriteImpl/GroupByKey"}  # fmt: skip
    # From 3.12 on Beam does not find out what its own lambdas return; its coder for anything writes strings without pickle.
    line_coder = "string_utf8" if sys.version_info < (3, 12) else "FastPrimitivesCoder"
    assert found["WriteResults/Files/Write/Write/WriteImpl/GroupByKey"].endswith(f", {line_coder})")


def test_coders_of_streamed_files(tmp_path: Path) -> None:
    found = dict(graphs.shuffled_coders(windowed(tmp_path, [])))
    assert found["Spread/ReshufflePerKey/GroupByKey"].startswith("kv(varint, tuple(DocumentCoder, ")
    waiting = "ClassifyTokens/RunInference/BatchElements/ParDo(_StatefulBatchElementsDoFn)"
    assert found[waiting].endswith(", bytes)")  # documents, encoded before they wait for their batch
    record = "kv(bytes, nullable(string_utf8))"
    for sink in ("WriteResults", "WriteFailures"):
        assert found[f"{sink}/Windows/WriteFiles"] == f"kv(kv(varint, varint), {record})"
        assert found[f"{sink}/Windows/WriteFiles[records]"] == record


@pytest.fixture
def unpicklable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes pickling any of the types that travel between the steps an error."""

    def refuses(self: object, protocol: int) -> Any:
        raise AssertionError(f"{type(self).__name__} is pickled")

    for kind in (Document, DocumentEntities, Failure, PreEntities, Shard):
        monkeypatch.setattr(kind, "__reduce_ex__", refuses)


@pytest.mark.usefixtures("unpicklable")
def test_nothing_is_pickled_in_batch(tmp_path: Path) -> None:
    batch(tmp_path, "--num_shards=1", runner=FnApiRunner()).run().wait_until_finish()
    (row,) = map(json.loads, (tmp_path / "out-00000-of-00001.jsonl").read_text().splitlines())
    assert row["id"] == "a"
    assert len((tmp_path / "out-failures-00000-of-00001.jsonl").read_text().splitlines()) == 2


def _input(kind: str, folder: Path) -> Path:
    """A file of one document, and of one record that is none where the kind can hold such."""
    path = folder / f"in.{kind}"
    if kind == "txt":
        path.write_bytes(b"Ann lives in Paris.\n\xff\n")
    elif kind == "csv":
        path.write_bytes(b"id,text\na,Ann lives in Paris.\nb\n")
    elif kind == "avro":
        path.write_bytes(poison.avro_file({"a": "Ann lives in Paris.", "b": None}))
    else:
        path.write_bytes(poison.parquet_file({"a": b"Ann lives in Paris.", "b": None}))
    return path


@pytest.mark.usefixtures("unpicklable")
@pytest.mark.parametrize(
    ("kind", "ending"), [("txt", ".csv"), ("csv", ".avro"), ("avro", ".parquet"), ("parquet", ".jsonl.gz")]
)
def test_nothing_is_pickled_in_the_program(kind: str, ending: str, tmp_path: Path) -> None:
    """Whatever the formats; and the dead letter is read again."""
    flags = ["--aggregation_strategy=first", "--num_shards=2"]
    assert main([f"--input={_input(kind, tmp_path)}", f"--output={tmp_path}/out/x{ending}", *flags]) == 0
    (dead,) = (tmp_path / "out").glob("x-failures-*")
    assert len(dead.read_bytes().splitlines()) == 1
    again = ["--input_format=jsonl", f"--output={tmp_path}/again/x", *flags]
    assert main([f"--replay={dead}", "--max_failures=100%", *again]) == 0
    assert len(list((tmp_path / "again").glob("x-failures-*"))) == 1


@pytest.mark.usefixtures("unpicklable")
def test_nothing_is_pickled_in_streaming(tmp_path: Path) -> None:
    documents = [Document("a", "Ann lives in Paris.", timestamp=5), Document("b", "\ud800", timestamp=65)]
    windowed(tmp_path, documents, BundleBasedDirectRunner()).run().wait_until_finish()
    assert [path.name for path in tmp_path.glob("out-*")] == [
        "out-19700101T000000Z-19700101T000100Z-00000-of-00001.jsonl"
    ]
    (failure,) = tmp_path.glob("failures-*")
    assert json.loads(failure.read_text())["stage"] == "classify"
