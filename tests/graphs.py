"""What a built pipeline consists of, for tests that hold it still."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.pipeline import PipelineVisitor
from apache_beam.portability.api import beam_runner_api_pb2
from google.protobuf.wrappers_pb2 import BytesValue

LISTS = Path(__file__).parent / "pipeline" / "labels"
BEAMS_OWN = {"Balance", "Load", "Pattern", "ReadFromPubSub", "Request", "Results", "RunInference", "Spread", "Write"}
"""Labels that we give to transforms of Beam. What these consist of is up to the release of Beam."""


def labels(pipeline: beam.Pipeline) -> list[str]:
    """The full labels of all steps, Beam's own and composite ones too, sorted."""
    found: list[str] = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, transform_node: Any) -> None:
            found.append(transform_node.full_label)

        def visit_transform(self, transform_node: Any) -> None:
            found.append(transform_node.full_label)

    pipeline.visit(Visitor())
    return sorted(filter(None, found))


def transforms_of(pipeline: beam.Pipeline, kind: type) -> list[Any]:
    """The transforms of one class."""
    found: list[Any] = []

    class Visitor(PipelineVisitor):
        def enter_composite_transform(self, transform_node: Any) -> None:
            self.visit_transform(transform_node)

        def visit_transform(self, transform_node: Any) -> None:
            if isinstance(transform_node.transform, kind):
                found.append(transform_node.transform)

    pipeline.visit(Visitor())
    return found


def check_labels(pipeline: beam.Pipeline, name: str) -> None:
    """Compares a pipeline's labels with the committed list `tests/pipeline/labels/NAME.txt`."""
    check_list(labels(pipeline), name)


def is_ours(label: str) -> bool:
    """Whether a label is one that we have given, or made of one of our classes: not one inside a transform of Beam."""
    return BEAMS_OWN.isdisjoint(label.split("/")[:-1])


def check_list(found: list[str], name: str) -> None:
    """Compares those of some labels that are ours with a committed list."""
    found = [label for label in found if is_ours(label)]
    path = LISTS / f"{name}.txt"
    if os.environ.get("UPDATE_LABELS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{label}\n" for label in found), "utf-8")
    known = path.read_text("utf-8").splitlines() if path.exists() else []
    gone, new = sorted(set(known) - set(found)), sorted(set(found) - set(known))
    assert found == known, (
        f"The steps' labels are not those of {path.name}: gone {gone}, new {new}. A streaming job can be updated in"
        " place only while they stay, so a change needs a line in CHANGELOG.md. If it is meant, write the lists anew:"
        " UPDATE_LABELS=1 python -m pytest tests/pipeline/test_graph.py tests/templates"
    )


def shuffled_coders(pipeline: beam.Pipeline) -> Iterator[tuple[str, str]]:
    """The coders of what goes into each grouping and each step with state, and of the state, by the steps' labels.

    A coder reads as its name with its components' in brackets: ``kv(varint, DocumentCoder)``.
    """
    components = pipeline.to_runner_api().components
    for transform in components.transforms.values():
        payload = beam_runner_api_pb2.ParDoPayload()
        if transform.spec.urn == "beam:transform:pardo:v1":
            payload.ParseFromString(transform.spec.payload)
        for name, spec in payload.state_specs.items():
            coder = spec.bag_spec.element_coder_id or spec.read_modify_write_spec.coder_id
            if coder:
                yield f"{transform.unique_name}[{name}]", coder_name(components, coder)
        if payload.state_specs or transform.spec.urn == "beam:transform:group_by_key:v1":
            for source in transform.inputs.values():
                yield transform.unique_name, coder_name(components, components.pcollections[source].coder_id)


def coder_name(components: Any, coder_id: str) -> str:
    """A coder's name and, in brackets, its components'."""
    coder = components.coders[coder_id]
    if coder.spec.urn == "beam:coder:pickled_python:v1":
        # What is pickled is the coder, not that which it encodes; its name comes first.
        return BytesValue.FromString(coder.spec.payload).value.split(b"$")[0].decode()
    inner = ", ".join(coder_name(components, component) for component in coder.component_coder_ids)
    name = coder.spec.urn.removeprefix("beam:coder:").removesuffix(":v1")
    return f"{name}({inner})" if inner else name
