"""The places of a run: what is read, where results and failures go, and whether these go together."""

from __future__ import annotations

from apache_beam.options.pipeline_options import GoogleCloudOptions, StandardOptions

from pipeline.checks.files import check_apart, check_columns, check_writable, default_failures, match_files_of
from pipeline.checks.pubsub import check_subscription, check_topic
from pipeline.checks.replay import check_replay_table
from pipeline.command_line import STREAMING_RUNNERS
from pipeline.io.bigquery.read import check_input_table, check_query, check_read_method
from pipeline.io.bigquery.tables import failure_table_of
from pipeline.io.files.formats.registry import INPUT_FORMATS, guess_input_format
from pipeline.io.files.names import guess_output_format, output_files
from pipeline.io.files.write import OUTPUT_FORMATS
from pipeline.io.pubsub.read import MESSAGE_FORMATS
from pipeline.io.replay import check_replay_format
from pipeline.options import NerOptions
from pipeline.places import Files, Place, Query, Replay, Source, Subscription, Table, Topic, is_written, place_of
from transforms.settings import check_choice


def check_input(options: NerOptions, output: Place, output_format: str, dead_letter: Place) -> tuple[Source, str]:
    """The input and its format, after a look at it.

    Args:
        options: The flags.
        output: Where results go.
        output_format: Their format.
        dead_letter: Where failures go.
    """
    given = [name for name in ("input", "query", "replay") if getattr(options, name)]
    if not given:
        raise ValueError("--input is missing: name the files to read, for example --input='tickets/*.jsonl'")
    if len(given) > 1:
        raise ValueError(f"{' and '.join(f'--{name}' for name in given)} are inputs each; give one of them")
    if options.query:
        return Query(options.query), _check_query(options)
    if options.replay:
        return _check_replay(options, output, output_format, dead_letter)
    place = place_of(options.input)
    if isinstance(place, Subscription | Topic):
        return place, _check_messages(options, place, output, dead_letter)
    _check_no_attributes(options, f"is for messages, and --input={options.input!r} has none")
    if isinstance(place, Table):
        _check_no_format(options, "input")
        if is_written(place, output, dead_letter):
            raise ValueError(
                f"--input={options.input!r} is where this run writes; name another --output or --dead_letter"
            )
        check_read_method(options.read_method, options.view_as(GoogleCloudOptions).temp_location)
        check_input_table(place, options.text_field, options.id_field, method=options.read_method)
        return place, "auto"
    return place, _check_files(options, place.path, output, output_format, dead_letter)


def _check_query(options: NerOptions) -> str:
    _check_no_format(options, "query")
    cloud = options.view_as(GoogleCloudOptions)
    check_read_method(options.read_method, cloud.temp_location)
    check_query(options.query, cloud.project, options.text_field, options.id_field)
    return "auto"


def _check_no_format(options: NerOptions, name: str) -> None:
    if options.input_format != "auto":
        raise ValueError(f"--input_format={options.input_format!r} is for files and messages, and --{name} has columns")


def _check_no_attributes(options: NerOptions, problem: str) -> None:
    for name in ("id_attribute", "timestamp_attribute"):
        if value := getattr(options, name):
            raise ValueError(f"--{name}={value!r} {problem}")


def _check_replay(options: NerOptions, output: Place, output_format: str, dead_letter: Place) -> tuple[Source, str]:
    check_replay_format(options.input_format)
    _check_no_attributes(options, "does not go with --replay: a record that failed keeps its id")
    place = place_of(options.replay)
    if is_written(place, output, dead_letter):
        raise ValueError(f"--replay={options.replay!r} is where this run writes; name another --dead_letter")
    if isinstance(place, Table):
        check_replay_table(place)
    elif isinstance(place, Files):
        files = match_files_of("replay", place.path)
        check_apart("replay", place.path, files, *_written(output, output_format, dead_letter))
    elif isinstance(place, Subscription):
        check_subscription("replay", place, output, dead_letter)
    else:
        raise ValueError(
            f"--replay={options.replay!r} is a topic, which holds no messages; make a subscription of it and name that:"
            f" --replay=projects/{place.project}/subscriptions/…"
        )
    return Replay(place), options.input_format


def _check_files(options: NerOptions, pattern: str, output: Place, output_format: str, dead_letter: Place) -> str:
    files = match_files_of("input", pattern)
    if options.input_format == "auto":
        input_format = guess_input_format(pattern)
    else:
        check_choice("input_format", options.input_format, ("auto", *INPUT_FORMATS))
        input_format = options.input_format
    check_apart("input", pattern, files, *_written(output, output_format, dead_letter))
    check_columns(files, input_format, options.text_field)
    return input_format


def _written(output: Place, output_format: str, dead_letter: Place) -> list[tuple[str, str]]:
    """Prefix and suffix of the files that are written."""
    results = [output_files(str(output), output_format)] if isinstance(output, Files) else []
    failures = [output_files(str(dead_letter), "jsonl")] if isinstance(dead_letter, Files) else []
    return [*results, *failures]


def _check_messages(options: NerOptions, place: Subscription | Topic, *written: Place) -> str:
    check_choice("input_format", options.input_format, ("auto", *MESSAGE_FORMATS))
    if isinstance(place, Subscription):
        check_subscription("input", place, *written)
    elif options.view_as(StandardOptions).runner not in ("DataflowRunner", *STREAMING_RUNNERS):
        raise ValueError(
            f"--input={options.input!r} is a topic, which only Dataflow and the DirectRunner read; make a subscription"
            f" of it and name that: --input=projects/{place.project}/subscriptions/…"
        )
    elif is_written(place, *written):
        raise ValueError(f"--input={options.input!r} is where this run writes")
    else:
        check_topic("input", place)
    return "text" if options.input_format == "auto" else options.input_format


def check_output(options: NerOptions) -> tuple[Place, str]:
    """Where results go, and their format; that of messages is JSON, and rows of a table have none."""
    if not options.output:
        raise ValueError("--output is missing: name a prefix for the results, for example --output=out/entities")
    place = place_of(options.output)
    _check_takes_results("output", place)
    if options.ordering_key_attribute and not isinstance(place, Topic):
        raise ValueError(
            f"--ordering_key_attribute={options.ordering_key_attribute!r} is for a topic, and"
            f" --output={options.output!r} is none"
        )
    if isinstance(place, Topic | Table):
        check_choice(
            "output_format", options.output_format, ("auto", "jsonl") if isinstance(place, Topic) else ("auto",)
        )
    if isinstance(place, Topic):
        check_topic("output", place)
    if not isinstance(place, Files):
        return place, "jsonl"
    check_writable("output", place.path)
    if options.output_format == "auto":
        return place, guess_output_format(place.path)
    check_choice("output_format", options.output_format, ("auto", *OUTPUT_FORMATS))
    return place, options.output_format


def check_dead_letter(options: NerOptions, output: Place, output_format: str) -> Place:
    """Where failures go."""
    place = place_of(options.dead_letter) if options.dead_letter else _default_dead_letter(output, output_format)
    _check_takes_results("dead_letter", place)
    if is_written(place, output):
        raise ValueError(f"--dead_letter={str(place)!r} must not be the same as --output={options.output!r}")
    if isinstance(place, Topic):
        check_topic("dead_letter", place)
    if isinstance(place, Files):
        check_writable("dead_letter", str(place))
        files = output_files(str(place), "jsonl", "--dead_letter")
        if isinstance(output, Files) and files == output_files(str(output), output_format):
            raise ValueError(f"--dead_letter={str(place)!r} must not be the same as --output={options.output!r}")
    return place


def _default_dead_letter(output: Place, output_format: str) -> Place:
    if isinstance(output, Topic):
        return Topic(output.project, f"{output.name}-failures")
    if isinstance(output, Table):
        return failure_table_of(output)
    return Files(default_failures(str(output), output_format))


def _check_takes_results(name: str, place: Place) -> None:
    if isinstance(place, Subscription):
        raise ValueError(f"--{name}={str(place)!r} is a subscription, which nothing can be written to; name a topic")
