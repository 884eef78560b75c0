"""Makes the templates' metadata.json from the program's flags: ``python -m templates.metadata``, or ``make templates``.

Every flag is a parameter, unless it is listed here with a reason. Dataflow checks parameters against this metadata, and
the console shows it as a form. Its keys and types are those of Dataflow's API (`TemplateMetadata`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.beam_internals import add_flags
from pipeline.command_line import beam_parser
from pipeline.io.bigquery.read import READ_METHODS
from pipeline.io.bigquery.tables import WRITE_DISPOSITIONS
from pipeline.io.bigquery.write import WRITE_METHODS
from pipeline.io.files.formats.registry import INPUT_FORMATS
from pipeline.io.files.write import OUTPUT_FORMATS
from pipeline.io.pubsub.read import MESSAGE_FORMATS
from pipeline.options import NerOptions, boolean
from pipeline.schemas import GRANULARITIES
from transforms.aggregation.strategies import AggregationStrategy

FOLDER = Path(__file__).parent

_ABOUT = {
    "batch": {
        "name": "Named-entity recognition, batch",
        "description": "Finds the entities in the texts of files or a BigQuery table, and writes them to files,"
        " BigQuery or Pub/Sub.",
        "streaming": False,
    },
    "streaming": {
        "name": "Named-entity recognition, streaming",
        "description": "Finds the entities in the texts of Pub/Sub messages, and writes them to Pub/Sub, BigQuery or"
        " files of a window each.",
        "streaming": True,
        "supportsAtLeastOnce": True,
        "supportsExactlyOnce": True,
        "defaultStreamingMode": "EXACTLY_ONCE",
    },
}
TEMPLATES = tuple(_ABOUT)

LEFT_OUT: Mapping[str, Mapping[str, str]] = {
    "batch": {
        "id_attribute": "only messages have attributes to read ids from",
        "timestamp_attribute": "only messages have attributes to read times from",
        "window_seconds": "only in streaming are files written in windows",
        "allowed_lateness_seconds": "only in streaming are files written in windows",
        "max_batch_wait_ms": "only in streaming do documents wait for others",
    },
    "streaming": {
        "query": "a query's rows have an end",
        "read_method": "BigQuery is read in batch",
    },
}
"""The flags that are not parameters, with the reasons."""

BEAMS_OWN: Mapping[str, str] = {
    "sdk_container_image": "Image of the workers, which must be that of the template (default: what the image was"
    " built to be).",
    "number_of_worker_harness_threads": "Bundles that a worker process has in work at the same time (default:"
    " Dataflow's choice).",
    "dataflow_service_options": "Options of the service, for example"
    " worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver.",
}
"""Beam's flags that are parameters, with their help: neither gcloud nor the console has a field for them."""

_BUCKET = "gs://.+"
_TABLE = r"([A-Za-z0-9.-]+:)?[a-z][a-z0-9-]*:[A-Za-z0-9_]+\.[A-Za-z0-9_$-]+"
_TOPIC = "projects/[^/]+/topics/[^/]+"
_SUBSCRIPTION = "projects/[^/]+/subscriptions/[^/]+"

_REGEXES: Mapping[str, Mapping[str, str]] = {
    "batch": {"input": f"^({_BUCKET}|{_TABLE})$", "replay": f"^({_BUCKET}|{_TABLE})$"},
    "streaming": {"input": f"^({_SUBSCRIPTION}|{_TOPIC})$", "replay": f"^{_SUBSCRIPTION}$"},
}
_SHARED_REGEXES = {
    "output": f"^({_BUCKET}|{_TABLE}|{_TOPIC})$",
    "dead_letter": f"^({_BUCKET}|{_TABLE}|{_TOPIC})$",
}
_NUMBERS = {int: r"^[0-9]+$", float: r"^[0-9]*\.?[0-9]+$"}

_VALUES: Mapping[str, tuple[str, ...]] = {  # values of flags that argparse does not check
    "read_method": READ_METHODS,
    "output_format": ("auto", *OUTPUT_FORMATS),
    "granularity": GRANULARITIES,
    "write_method": ("auto", *WRITE_METHODS),
    "write_disposition": WRITE_DISPOSITIONS,
    "aggregation_strategy": tuple(strategy.value for strategy in AggregationStrategy),
}
_FORMATS = {"batch": ("auto", *INPUT_FORMATS, "bigquery"), "streaming": ("auto", *MESSAGE_FORMATS)}

_REQUIRED = {"output"}  # the input is named by one of several flags
_SHOWN_WITH = {"stride": ("long_text", "window"), "window_join": ("long_text", "window")}


def metadata(template: str) -> dict[str, Any]:
    """Return the metadata of a template.

    Args:
        template: One of `TEMPLATES`.
    """
    parameters = [
        _parameter(template, action, group) for group, action in own_actions() if action.dest not in LEFT_OUT[template]
    ]
    beams_own = beam_parser()._option_string_actions
    for name, text in BEAMS_OWN.items():
        action = beams_own[f"--{name}"]
        parameters.append(_described(name, text, "workers") | _kind(template, name, action) | {"isOptional": True})
    return {**_ABOUT[template], "parameters": parameters}


def own_actions() -> Iterator[tuple[str, argparse.Action]]:
    """Yield the program's flags, each with the title of its group."""
    parser = argparse.ArgumentParser(add_help=False)
    add_flags(NerOptions, parser)
    for group in parser._action_groups:
        for action in group._group_actions:
            yield group.title or "", action


def text_of(template: str) -> str:
    """Return the content of a template's metadata.json."""
    return json.dumps(metadata(template), indent=2, ensure_ascii=False) + "\n"


def path_of(template: str) -> Path:
    """Return the path of a template's metadata.json."""
    return FOLDER / template / "metadata.json"


def _parameter(template: str, action: argparse.Action, group: str) -> dict[str, Any]:
    name = action.dest
    parameter = _described(name, action.help or "", group) | _kind(template, name, action)
    parameter["isOptional"] = name not in _REQUIRED
    if action.default not in (None, False):
        parameter["defaultValue"] = str(action.default)
    return parameter


def _described(name: str, text: str, group: str) -> dict[str, Any]:
    parameter: dict[str, Any] = {"name": name, "label": name.replace("_", " ").capitalize(), "helpText": text}
    if name in _SHOWN_WITH:  # its parent's group is its own
        parent, value = _SHOWN_WITH[name]
        return {**parameter, "parentName": parent, "parentTriggerValues": [value]}
    return {**parameter, "groupName": group.capitalize()}


def _kind(template: str, name: str, action: argparse.Action) -> dict[str, Any]:
    """Return the type of a parameter, with a list or a pattern of its values.

    Places are text, since none of Dataflow's types is for files, tables and topics at the same time.
    """
    values = _FORMATS[template] if name == "input_format" else action.choices or _VALUES.get(name)
    if values:
        return {"paramType": "ENUM", "enumOptions": [{"value": value, "label": value} for value in values]}
    if action.type is boolean:
        return {"paramType": "BOOLEAN"}
    if action.type in _NUMBERS:
        return {"paramType": "NUMBER", "regexes": [_NUMBERS[action.type]]}
    regex = _REGEXES[template].get(name) or _SHARED_REGEXES.get(name)
    return {"paramType": "TEXT"} | ({"regexes": [regex]} if regex else {})


if __name__ == "__main__":
    for each in TEMPLATES:
        path_of(each).write_text(text_of(each), "utf-8")
