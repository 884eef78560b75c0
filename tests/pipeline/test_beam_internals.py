"""The private names of Beam that the program uses: there, and with the effect that is claimed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.internal.gcp import auth
from apache_beam.io.avroio import WriteToAvro
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.gcsio import create_storage_client
from apache_beam.io.parquetio import WriteToParquet
from apache_beam.io.textio import WriteToText
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.direct.util import TransformResult
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.timestamp import MAX_TIMESTAMP

from pipeline.beam_internals import (
    BeamArgumentParser,
    TransformEvaluator,
    add_flags,
    go_without_credentials,
    limit_cleanup_glob,
    metrics_containers,
    process_options,
    register_evaluator,
    storage_client,
)

AVRO = {"type": "record", "name": "R", "fields": [{"name": "text", "type": "string"}]}


@pytest.mark.parametrize(("name", "row"), [("text", "Ann"), ("avro", {"text": "Ann"}), ("parquet", {"text": "Ann"})])
def test_a_sink_deletes_its_own_files_alone(name: str, row: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    prefix = str(tmp_path / "x")
    make = {
        "text": lambda: WriteToText(prefix, num_shards=1),
        "avro": lambda: WriteToAvro(prefix, AVRO, num_shards=1),
        "parquet": lambda: WriteToParquet(prefix, pa.schema([("text", pa.string())]), num_shards=1),
    }[name]
    other = tmp_path / "x-failures-00000-of-00001"
    other.write_text("of another sink")
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([row]) | limit_cleanup_glob(make())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-00000-of-00001", other.name]
    with beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([row]) | make()
    assert not other.exists(), "Beam has mended its sinks: limit_cleanup_glob can go"


def test_flags_of_beam_are_added_to_its_parser() -> None:
    parser = BeamArgumentParser()
    for options in PipelineOptions.__subclasses__():
        if options.__module__.startswith("apache_beam"):
            add_flags(options, parser)
    known, _ = parser.parse_known_args(["--direct_num_workers=3", "--job_endpoint=here:1"])
    assert (known.direct_num_workers, known.job_endpoint) == (3, "here:1")


class Numbers(beam.PTransform):
    def expand(self, pbegin: PBegin) -> Any:
        return PCollection(pbegin.pipeline, is_bounded=False)

    def get_windowing(self, inputs: Any) -> beam.Windowing:
        return beam.Windowing(beam.transforms.window.GlobalWindows())


class NumbersEvaluator(TransformEvaluator):  # type: ignore[misc]
    def finish_bundle(self) -> TransformResult:
        bundle = self._evaluation_context.create_bundle(next(iter(self._outputs)))
        for number in (1, 2):
            bundle.output(beam.transforms.window.GlobalWindows.windowed_value(number))
        return TransformResult(self, [bundle], [], None, {None: MAX_TIMESTAMP})


def test_an_evaluator_of_ours_runs_a_transform() -> None:
    register_evaluator(Numbers, NumbersEvaluator)
    with beam.Pipeline(BundleBasedDirectRunner()) as pipeline:
        assert_that(pipeline | Numbers(), equal_to([1, 2]))


def test_the_containers_of_a_sampler() -> None:
    from apache_beam.metrics.execution import MetricsContainer
    from apache_beam.runners.worker.statesampler import StateSampler
    from apache_beam.utils.counters import CounterFactory

    sampler = StateSampler("s", CounterFactory())
    containers = [MetricsContainer(name) for name in ("a", "b")]
    for name, container in zip(("a", "a", "b"), (containers[0], containers[0], containers[1]), strict=True):
        for state in ("process", "finish"):
            sampler.scoped_state(name, state, metrics_container=container)
    assert metrics_containers(sampler) == containers


def test_nobody_searches_for_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: Any) -> Any:
        raise AssertionError("Beam searches for credentials")

    for name in ("_credentials", "_credentials_init"):
        monkeypatch.setattr(auth._Credentials, name, None)
    monkeypatch.setattr(auth._Credentials, "_get_credentials_with_retrys", search)
    go_without_credentials()
    assert auth.get_service_credentials(PipelineOptions([])) is None
    assert create_storage_client(PipelineOptions([]))._credentials.token is None


def test_the_options_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FileSystems, "_pipeline_options", None)
    assert process_options() is None
    pipeline = beam.Pipeline(options=PipelineOptions(["--project=p"]))
    assert process_options() is pipeline.options


def test_the_client_of_storage(bucket: str) -> None:
    client = storage_client(FileSystems.get_filesystem(bucket))
    blob = client.bucket(bucket.removeprefix("gs://")).blob("a")
    blob.upload_from_string(b"Ann", if_generation_match=0)
    assert blob.download_as_bytes() == b"Ann"
