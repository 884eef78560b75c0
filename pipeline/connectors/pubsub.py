"""Pub/Sub subscriptions as input, and topics as input, output and dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apache_beam.options.pipeline_options import StandardOptions

from pipeline.checks.pubsub import check_subscription, check_topic
from pipeline.command_line import STREAMING_RUNNERS
from pipeline.connectors.base import (
    CheckedInput,
    Connector,
    Outputs,
    check_no_file_flags,
    fields_of,
    hold_seconds,
    record_fields,
)
from pipeline.io.pubsub.read import MESSAGE_FORMATS, ReadMessages
from pipeline.io.pubsub.write import WriteFailureMessages, WriteResultMessages
from pipeline.options import NerOptions
from pipeline.places import Subscription, Topic, is_written
from transforms.settings import check_choice

if TYPE_CHECKING:
    from pipeline.config import NerConfig


class _MessagesConnector(Connector):
    """The part that subscriptions and topics share: reading."""

    def read(self, place: Subscription | Topic, config: NerConfig) -> Any:
        """Return the transform that reads the messages."""
        return "ReadMessages" >> ReadMessages(
            str(place),
            config.input_format,
            **record_fields(config),
            id_attribute=config.id_attribute,
            timestamp_attribute=config.timestamp_attribute,
            hold_seconds=hold_seconds(config),
            keep_ordering_key=config.keep_ordering_key,
        )


class SubscriptionConnector(_MessagesConnector):
    """Subscriptions; see `Connector`."""

    def check_input(self, place: Subscription, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks that the subscription exists."""
        checked = _check_messages(place, options, outputs)
        check_subscription("input", place, outputs.output, outputs.dead_letter)
        return checked

    def check_replay(self, place: Subscription, options: NerOptions, outputs: Outputs) -> None:
        """Checks that the subscription exists."""
        check_subscription("replay", place, outputs.output, outputs.dead_letter)

    def check_output(self, place: Subscription, options: NerOptions) -> str:
        """Rejects the subscription."""
        raise _not_written("output", place)

    def check_dead_letter(self, place: Subscription) -> None:
        """Rejects the subscription."""
        raise _not_written("dead_letter", place)


class TopicConnector(_MessagesConnector):
    """Topics; see `Connector`."""

    def check_input(self, place: Topic, options: NerOptions, outputs: Outputs) -> CheckedInput:
        """Checks that the topic exists, and that the runner can read it."""
        checked = _check_messages(place, options, outputs)
        if options.view_as(StandardOptions).runner not in ("DataflowRunner", *STREAMING_RUNNERS):
            raise ValueError(
                f"--input={str(place)!r}: a topic, which only Dataflow and the DirectRunner read; expected a"
                f" subscription of it, as in --input=projects/{place.project}/subscriptions/…"
            )
        if is_written(place, outputs.output, outputs.dead_letter):
            raise ValueError(f"--input={str(place)!r}: is where this run writes; expected another topic")
        check_topic("input", place)
        return checked

    def check_replay(self, place: Topic, options: NerOptions, outputs: Outputs) -> None:
        """Rejects the topic."""
        raise ValueError(
            f"--replay={str(place)!r}: a topic, which stores no messages; expected a subscription of it, as in"
            f" --replay=projects/{place.project}/subscriptions/…"
        )

    def check_output(self, place: Topic, options: NerOptions) -> str:
        """Checks that the topic exists."""
        if options.output_format not in ("auto", "jsonl"):
            raise ValueError(
                f"--output_format={options.output_format!r}: only for files; expected none, or jsonl, with"
                f" --output={options.output!r}, which is a topic"
            )
        check_topic("output", place)
        return "jsonl"

    def check_dead_letter(self, place: Topic) -> None:
        """Checks that the topic exists."""
        check_topic("dead_letter", place)

    def default_dead_letter(self, place: Topic, output_format: str) -> Topic:
        """Return a topic beside that of the results."""
        return Topic(place.project, f"{place.name}-failures")

    def write_results(self, place: Topic, config: NerConfig) -> Any:
        """Return the transform that publishes results."""
        key = config.ordering_key_attribute
        return WriteResultMessages(str(place), config.include_text, ordering_key_attribute=key)

    def write_failures(self, place: Topic, config: NerConfig) -> Any:
        """Return the transform that publishes failures."""
        return WriteFailureMessages(str(place))


def _check_messages(place: Subscription | Topic, options: NerOptions, outputs: Outputs) -> CheckedInput:
    """Checks the flags for the content of messages."""
    check_no_file_flags(options, place)
    check_choice("input_format", options.input_format, ("auto", *MESSAGE_FORMATS))
    message_format = "text" if options.input_format == "auto" else options.input_format
    if options.keep_fields and message_format == "text":
        raise ValueError(
            f"--keep_fields={options.keep_fields!r}: the messages are texts without fields; expected"
            " --input_format=jsonl, or none: attributes are always kept"
        )
    return CheckedInput(message_format, fields_of(options, outputs, complete=False))


def _not_written(name: str, place: Subscription) -> ValueError:
    return ValueError(f"--{name}={str(place)!r}: a subscription, which cannot be written; expected a topic")
