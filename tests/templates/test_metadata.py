"""Templates' metadata: what the program's flags are, and what Dataflow knows."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3.types import TemplateMetadata
from google.protobuf import json_format

from pipeline.command_line import beam_parser
from pipeline.places import Files, Subscription, Table, Topic, place_of
from templates import metadata
from transforms.aggregation.strategies import AggregationStrategy


def parameters(template: str) -> dict[str, dict[str, Any]]:
    return {parameter["name"]: parameter for parameter in metadata.metadata(template)["parameters"]}


@pytest.mark.parametrize("template", metadata.TEMPLATES)
def test_the_files_are_up_to_date(template: str) -> None:
    assert metadata.path_of(template).read_text("utf-8") == metadata.text_of(template), "run: make templates"


@pytest.mark.parametrize("template", metadata.TEMPLATES)
def test_dataflow_knows_every_key_and_type(template: str) -> None:
    given = json.loads(metadata.path_of(template).read_text("utf-8"))
    read = json_format.ParseDict(given, TemplateMetadata.pb(TemplateMetadata()))  # refuses what it does not know
    assert len(read.parameters) == len(given["parameters"])


@pytest.mark.parametrize("template", metadata.TEMPLATES)
def test_flags_and_parameters_are_the_same(template: str) -> None:
    assert not [action for _, action in metadata.own_actions() if action.nargs == 0], "a switch must take true or false"
    flags = {action.dest for _, action in metadata.own_actions()}
    left_out = metadata.LEFT_OUT[template].keys()
    assert left_out <= flags
    assert parameters(template).keys() - metadata.BEAMS_OWN.keys() == flags - left_out
    beams_own = {f"--{name}" for name in metadata.BEAMS_OWN}
    assert beams_own <= beam_parser()._option_string_actions.keys()


def test_every_flag_is_a_parameter_of_some_template() -> None:
    batch, streaming = (metadata.LEFT_OUT[template].keys() for template in metadata.TEMPLATES)
    assert not batch & streaming


@pytest.mark.parametrize("template", metadata.TEMPLATES)
def test_defaults_are_values_that_are_allowed(template: str) -> None:
    for name, parameter in parameters(template).items():
        default = parameter.get("defaultValue")
        if default is None:
            continue
        if "enumOptions" in parameter:
            assert default in [option["value"] for option in parameter["enumOptions"]], name
        for regex in parameter.get("regexes", ()):
            assert re.fullmatch(regex, default), name


@pytest.mark.parametrize("template", metadata.TEMPLATES)
def test_a_parameter_shows_with_a_value_of_another(template: str) -> None:
    known = parameters(template)
    for parameter in known.values():
        if "parentName" in parameter:
            options = [option["value"] for option in known[parameter["parentName"]]["enumOptions"]]
            assert set(parameter["parentTriggerValues"]) <= set(options)


PLACES = {
    "gs://bucket/in-*.jsonl.gz": Files,
    "my-project:set.table": Table,
    "example.com:my-project:set.table$20260101": Table,
    "projects/p/subscriptions/s": Subscription,
    "projects/p/topics/t": Topic,
}
TAKEN = {
    ("batch", "input"): {Files, Table},
    ("batch", "replay"): {Files, Table},
    ("batch", "output"): {Files, Table, Topic},
    ("batch", "dead_letter"): {Files, Table, Topic},
    ("streaming", "input"): {Subscription, Topic},
    ("streaming", "replay"): {Subscription},
    ("streaming", "output"): {Files, Table, Topic},
    ("streaming", "dead_letter"): {Files, Table, Topic},
}


@pytest.mark.parametrize(("template", "name"), TAKEN)
def test_places_are_taken_as_the_program_takes_them(template: str, name: str) -> None:
    (regex,) = parameters(template)[name]["regexes"]
    for place, kind in PLACES.items():
        assert isinstance(place_of(place), kind)
        assert bool(re.fullmatch(regex, place)) is (kind in TAKEN[template, name]), place
    assert not re.fullmatch(regex, "local/file.jsonl")  # nobody finds it on a worker


def test_enumerations_are_the_programs() -> None:
    options = parameters("batch")["aggregation_strategy"]["enumOptions"]
    assert [AggregationStrategy.parse(option["value"]).value for option in options] == [
        option["value"] for option in options
    ]
