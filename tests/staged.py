"""What the DataflowRunner has staged: the job as Dataflow's API gets it, and the pipeline that it names."""

from __future__ import annotations

import base64
import bz2
import json
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.portability.api import beam_runner_api_pb2 as protos


@dataclass(frozen=True)
class StagedJob:
    """A job and its pipeline.

    Attributes:
        job: The job, as JSON.
        pipeline: The pipeline's proto.
        files: Everything else beside the pipeline, by name.
    """

    job: dict[str, Any]
    pipeline: protos.Pipeline
    files: dict[str, bytes]

    @classmethod
    def read(cls, job_path: str) -> StagedJob:
        """Reads a job's description, and from where it says the rest."""
        job = json.loads(_content(job_path))
        pipeline_path = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
        folder, name = FileSystems.split(pipeline_path)
        found = FileSystems.match([f"{folder}/*"])[0].metadata_list
        files = {FileSystems.split(file.path)[1]: _content(file.path) for file in found}
        return cls(job, protos.Pipeline.FromString(files.pop(name)), files)

    @property
    def options(self) -> dict[str, Any]:
        """The options that workers get."""
        return self.job["environment"]["sdkPipelineOptions"]["options"]

    @property
    def display_data(self) -> dict[str, Any]:
        """What the console shows of the options."""
        shown = self.job["environment"]["sdkPipelineOptions"]["display_data"]
        return {item["key"]: item["value"] for item in shown}

    @property
    def labels(self) -> list[str]:
        """The full labels of all steps, composite ones too, sorted."""
        steps = self.pipeline.components.transforms.items()
        return sorted(step.unique_name for name, step in steps if step.unique_name not in ("", name))  # not the root

    def step(self, label: str) -> protos.PTransform:
        """The step of this label."""
        (found,) = (step for step in self.pipeline.components.transforms.values() if step.unique_name == label)
        return found

    def environment_of(self, label: str) -> protos.Environment:
        """The environment, with its resource hints, that a step runs in."""
        return self.pipeline.components.environments[self.step(label).environment_id]

    @property
    def images(self) -> set[str]:
        """The images of all environments."""
        environments = self.pipeline.components.environments.values()
        return {protos.DockerPayload.FromString(each.payload).container_image for each in environments}

    def pickles(self) -> Iterator[bytes]:
        """All that is pickled in steps and coders, unpacked."""
        components = self.pipeline.components
        specs = [step.spec for step in components.transforms.values()]
        specs += [coder.spec for coder in components.coders.values()]
        for spec in specs:
            payloads = [spec.payload]
            if spec.urn.startswith("beam:transform:pardo"):
                payloads.append(protos.ParDoPayload.FromString(spec.payload).do_fn.payload)
            for payload in payloads:
                yield payload
                with suppress(ValueError, OSError, zlib.error):
                    packed = base64.b64decode(payload, validate=True)
                    yield bz2.decompress(packed) if packed.startswith(b"BZh") else zlib.decompress(packed)


def _content(path: str) -> bytes:
    with FileSystems.open(path, compression_type="uncompressed") as file:
        return file.read()
