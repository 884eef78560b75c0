"""The kinds of places that there are, and the checks of the places that the flags name.

A new kind is a class in `pipeline.places`, a module here, and a line in `CONNECTORS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.checks.replay import check_replay_format
from pipeline.connectors.base import (
    CheckedInput,
    Connector,
    Outputs,
    check_no_attributes,
    check_no_file_flags,
    fields_of,
)
from pipeline.connectors.bigquery import QueryConnector, TableConnector
from pipeline.connectors.files import FilesConnector
from pipeline.connectors.pubsub import SubscriptionConnector, TopicConnector
from pipeline.connectors.replay import ReplayConnector
from pipeline.options import NerOptions
from pipeline.places import (
    Files,
    Place,
    Query,
    Replay,
    Source,
    Subscription,
    Table,
    Topic,
    is_written,
    place_of,
    places_of,
)

CONNECTORS: dict[type, Connector] = {
    Files: FilesConnector(),
    Table: TableConnector(),
    Query: QueryConnector(),
    Subscription: SubscriptionConnector(),
    Topic: TopicConnector(),
    Replay: ReplayConnector(),
}


def connector_of(place: Source) -> Connector:
    """Return the connector of a place."""
    return CONNECTORS[type(place)]


def check_outputs(options: NerOptions) -> Outputs:
    """Return the places of results and failures, after checking them.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    if not options.output:
        raise ValueError("--output: missing; expected a prefix for the results, for example --output=out/entities")
    output = place_of(options.output)
    output_format = connector_of(output).check_output(output, options)
    if options.dead_letter:
        dead_letter = place_of(options.dead_letter)
    else:
        dead_letter = connector_of(output).default_dead_letter(output, output_format)
    connector_of(dead_letter).check_dead_letter(dead_letter)
    results = connector_of(output).files(output, output_format)
    failures = connector_of(dead_letter).files(dead_letter, "jsonl", "dead_letter")
    if is_written(dead_letter, output) or (failures is not None and failures == results):
        raise ValueError(
            f"--dead_letter={str(dead_letter)!r}: the same as --output={options.output!r}; expected another place"
        )
    return Outputs(output, output_format, dead_letter, tuple(filter(None, (results, failures))))


def check_input(options: NerOptions, outputs: Outputs) -> tuple[Source, CheckedInput]:
    """Return the input, with its format and its fields, after checking them.

    Raises:
        ValueError: in one sentence with the flag, its value and a valid value.
    """
    given = [name for name in ("input", "query", "replay") if any(getattr(options, name) or ())]
    if not given:
        raise ValueError("--input: missing; expected the files to read, for example --input='tickets/*.jsonl'")
    if len(given) > 1:
        raise ValueError(f"{' and '.join(f'--{name}' for name in given)} are each an input; expected one of them")
    if "replay" in given:
        return _check_replay(options, outputs)
    source: Source = Query(options.query) if options.query else _place("input", options.input or ())
    return source, connector_of(source).check_input(source, options, outputs)


def _place(name: str, paths: Sequence[str]) -> Place:
    try:
        return places_of([path for path in paths if path])
    except ValueError as error:
        raise ValueError(f"--{name}={error}") from error


def _check_replay(options: NerOptions, outputs: Outputs) -> tuple[Source, CheckedInput]:
    check_replay_format(options.input_format)
    check_no_attributes(options, "not for --replay, where a record keeps its id")
    place = _place("replay", options.replay or ())
    check_no_file_flags(options, place)
    if is_written(place, outputs.output, outputs.dead_letter):
        raise ValueError(f"--replay={str(place)!r}: is where this run writes; expected another --dead_letter")
    connector_of(place).check_replay(place, options, outputs)
    fields = fields_of(options, outputs, complete=False)
    return Replay(place), CheckedInput(options.input_format, fields)  # type: ignore[arg-type]  # a topic is rejected above
