"""The places of a run: what is read, where results and failures go, and whether these go together."""

from __future__ import annotations

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.checks.files import check_apart, check_columns, check_writable, default_failures, match_input
from pipeline.checks.pubsub import check_subscription, check_topic
from pipeline.options import NerOptions
from pipeline.places import Files, Place, Subscription, Table, Topic, place_of
from pipeline.sinks import OUTPUT_FORMATS, guess_output_format, output_files
from pipeline.sources import INPUT_FORMATS, guess_input_format
from pipeline.sources.pubsub import MESSAGE_FORMATS
from transforms.engines import check_choice


def check_input(options: NerOptions, output: Place, output_format: str, dead_letter: Place) -> tuple[Place, str]:
    """The input and its format, after a look at it.

    Args:
        options: The flags.
        output: Where results go.
        output_format: Their format.
        dead_letter: Where failures go.
    """
    if not options.input:
        raise ValueError("--input is missing: name the files to read, for example --input='tickets/*.jsonl'")
    place = place_of(options.input)
    if isinstance(place, Files):
        return place, _check_files(options, output, output_format, dead_letter)
    if isinstance(place, Subscription | Topic):
        return place, _check_messages(options, place)
    raise ValueError(f"input={options.input!r} is a BigQuery table, which cannot be read yet; name files")


def _check_files(options: NerOptions, output: Place, output_format: str, dead_letter: Place) -> str:
    files = match_input(options.input)
    for name in ("id_attribute", "timestamp_attribute"):
        if value := getattr(options, name):
            raise ValueError(f"{name}={value!r} is for messages, and --input={options.input!r} is files")
    if options.input_format == "auto":
        input_format = guess_input_format(options.input)
    else:
        check_choice("input_format", options.input_format, ("auto", *INPUT_FORMATS))
        input_format = options.input_format
    outputs = [output_files(str(output), output_format)] if isinstance(output, Files) else []
    failures = [output_files(str(dead_letter), "jsonl")] if isinstance(dead_letter, Files) else []
    check_apart(options.input, files, *outputs, *failures)
    check_columns(files, input_format, options.text_field)
    return input_format


def _check_messages(options: NerOptions, place: Subscription | Topic) -> str:
    check_choice("input_format", options.input_format, ("auto", *MESSAGE_FORMATS))
    if isinstance(place, Subscription):
        check_subscription("input", place)
    elif options.view_as(StandardOptions).runner != "DataflowRunner":
        # A subscription made for the run would lose what is published before it, after it, and when it is killed.
        raise ValueError(
            f"input={options.input!r} is a topic, which only Dataflow reads; make a subscription of it and name that:"
            f" --input=projects/{place.project}/subscriptions/…"
        )
    else:
        check_topic("input", place)
    return "text" if options.input_format == "auto" else options.input_format


def check_output(options: NerOptions) -> tuple[Place, str]:
    """Where results go, and their format; that of messages is JSON."""
    if not options.output:
        raise ValueError("--output is missing: name a prefix for the results, for example --output=out/entities")
    place = place_of(options.output)
    if isinstance(place, Topic):
        check_choice("output_format", options.output_format, ("auto", "jsonl"))
        check_topic("output", place)
        return place, "jsonl"
    _check_is_files("output", place)
    if options.ordering_key_attribute:
        raise ValueError(
            f"ordering_key_attribute={options.ordering_key_attribute!r} is for a topic, and"
            f" --output={options.output!r} is files"
        )
    check_writable("output", options.output)
    if options.output_format == "auto":
        return place, guess_output_format(options.output)
    check_choice("output_format", options.output_format, ("auto", *OUTPUT_FORMATS))
    return place, options.output_format


def check_dead_letter(options: NerOptions, output: Place, output_format: str) -> Place:
    """Where failures go."""
    if options.dead_letter:
        place = place_of(options.dead_letter)
    elif isinstance(output, Topic):
        place = Topic(output.project, f"{output.name}-failures")
    else:
        place = Files(default_failures(str(output), output_format))
    if place == output:
        raise ValueError(f"dead_letter={str(place)!r} must not be the same as --output={options.output!r}")
    if isinstance(place, Topic):
        check_topic("dead_letter", place)
        return place
    _check_is_files("dead_letter", place)
    check_writable("dead_letter", str(place))
    files = output_files(str(place), "jsonl", "--dead_letter")
    if isinstance(output, Files) and files == output_files(str(output), output_format):
        raise ValueError(f"dead_letter={str(place)!r} must not be the same as --output={options.output!r}")
    return place


def _check_is_files(name: str, place: Place) -> None:
    if isinstance(place, Subscription):
        raise ValueError(f"{name}={str(place)!r} is a subscription, which nothing can be written to; name a topic")
    if isinstance(place, Table):
        raise ValueError(f"{name}={str(place)!r} is a BigQuery table, which cannot be written yet; name a topic")


def check_streams(source: Place, *sinks: tuple[str, Place]) -> None:
    """What is read without an end cannot be written to a set of files that is complete at the end."""
    if isinstance(source, Files):
        return
    for name, place in sinks:
        if not isinstance(place, Topic):
            raise ValueError(
                f"{name}={str(place)!r} is files, and --input={str(source)!r} has no end; name a topic:"
                f" --{name}=projects/{source.project}/topics/…"
            )
