"""A dead letter's topic as input: its messages become the records that they tell of."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from outputs import failure_payload
from services.pubsub_broker import Broker
from services.pubsub_queue import Message as Sent
from streams import letter, text

from pipeline.io.fields import DocumentFields
from pipeline.io.pubsub.messages import Message
from pipeline.io.pubsub.readers import close_all, drain_all
from pipeline.io.pubsub.write import message_of_failure
from pipeline.io.replay import document_of_failure_message
from pipeline.run import main
from transforms.documents import Document, Failure

P = "projects/beam-ner-tests"
DEAD, LETTERS, RESULTS = f"{P}/topics/dead", f"{P}/topics/letters", f"{P}/topics/entities"
SUBSCRIPTION = f"{P}/subscriptions/dead"
LINE = '{"id": "a", "text": "Zoë"}'.encode()
LARGE = b"x" * 7_600_000


def replayed(message: Message, input_format: str = "auto") -> Document | Failure:
    return document_of_failure_message(message, input_format, DocumentFields(), SUBSCRIPTION)


def buried(failure: Failure) -> Message:
    """A failure as it comes out of the topic."""
    sent = message_of_failure(failure)
    return Message(sent.data, {**sent.attributes, "googclient_schema": "x"}, "m9", 2.5, "receipt")


def failure(payload: bytes, stage: str = "classify", **attributes: str) -> Failure:
    return Failure(payload, "it failed", stage, attributes, timestamp=1.5)


@pytest.mark.parametrize(
    ("failed", "input_format", "encoding", "expected"),
    [
        (failure(b"Ann", key="k", id="message-1"), "text", "json", ("message-1", "Ann")),
        (failure(LINE, key="k", id="message-1"), "jsonl", "json", ("message-1", "Zoë")),
        (failure(LINE, source="x.jsonl", id="a"), "auto", "json", ("a", "Zoë")),
        (failure(LARGE, key="k", stage_="s", id="message-1"), "text", "raw", ("message-1", LARGE.decode())),
        (failure(b"Ann"), "text", "json", (f"{SUBSCRIPTION}:m9:replay-1cb9d7b2b9ac8b6d", "Ann")),
    ],
)
def test_a_record_is_read_again(failed: Failure, input_format: str, encoding: str, expected: tuple[str, str]) -> None:
    message = buried(failed)
    assert message.attributes["payload_encoding"] == encoding
    document = replayed(message, input_format)
    assert isinstance(document, Document)
    assert (document.id.partition("replay-")[0], document.text) == (expected[0].partition("replay-")[0], expected[1])
    assert (document.payload, document.receipt, document.timestamp) == (failed.payload, "receipt", 2.5)
    own = {key: value for key, value in failed.attributes.items() if key != "id"}
    assert {key: value for key, value in document.attributes.items() if not key.startswith("goog")} == own


def test_what_fails_again_keeps_its_bytes_and_attributes() -> None:
    for failed in (failure(b"caf\xe9", key="k", id="1"), failure(b"\xff" * 7_600_000, key="k", id="1")):
        again = replayed(buried(failed), "text")
        assert isinstance(again, Failure)
        assert again.error.endswith("field 'text' is not valid Unicode")
        assert (again.payload, again.receipt, again.attributes.items() >= failed.attributes.items()) == (
            failed.payload, "receipt", True,
        )  # fmt: skip
    unknown = replayed(buried(failure(b"Ann", id="1")))
    assert isinstance(unknown, Failure)
    assert unknown.error.endswith("expected --input_format")
    assert unknown.attributes == {"id": "1"}  # and no source, by which the next replay would take it for another kind
    file = replayed(buried(failure(b"", "read", source="x.gz")))
    assert isinstance(file, Failure)
    assert (file.payload, file.error.endswith("read that again")) == (b"", True)


def test_a_record_that_was_cut_is_never_taken_for_whole() -> None:
    again: Any = failure(b"x" * 11_000_000, id="1")
    for encoding in ("cut", "raw"):  # the second replay finds a message that has room for all that is left
        message = buried(again)
        assert message.attributes["payload_encoding"] == encoding
        again = replayed(message, "text")
        assert isinstance(again, Failure)
        assert again.error.endswith("only 9800000 of the record's 11000000 bytes are here; read it from its source")
        assert (len(again.payload), again.attributes["id"]) == (9_800_000, "1")


@pytest.mark.parametrize("data", [b"caf\xe9", b"Ann", b"[1]", b'{"text": "Ann"}', b'{"payloadBytes": 5}'])
def test_a_message_that_is_no_failure_keeps_its_bytes(data: bytes) -> None:
    outcome = replayed(Message(data, {"key": "k"}, "m9", 2.5, "receipt"), "text")
    assert isinstance(outcome, Failure)
    assert (outcome.payload, outcome.attributes, outcome.receipt) == (data, {"key": "k", "id": "m9"}, "receipt")
    assert outcome.error.startswith(f"{SUBSCRIPTION}:m9: ")


def test_the_program_replays_a_topic(tmp_path: Path, pubsub: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    for topic in (DEAD, LETTERS, RESULTS):
        pubsub.create_topic(topic)
    pubsub.create_subscription(SUBSCRIPTION, DEAD)
    failures = [failure(text(n).encode(), **letter(n).attributes, id=f"letter-{n}") for n in range(20)]
    failures.append(failure(b"caf\xe9", id="bad"))
    sent = map(message_of_failure, failures)
    pubsub.publish(DEAD, [Sent(message.data, dict(message.attributes)) for message in sent])

    def watch() -> None:
        pubsub.wait_for(lambda: pubsub.unacknowledged(SUBSCRIPTION) == 0)
        drain_all()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    flags = [f"--replay={SUBSCRIPTION}", "--input_format=text", f"--output={RESULTS}", f"--dead_letter={LETTERS}"]
    try:
        assert main([*flags, "--aggregation_strategy=first"]) == 0, capsys.readouterr().err
    finally:
        watcher.join()
        close_all(1)
    assert pubsub.unacknowledged(SUBSCRIPTION) == 0
    results = {message.attributes["id"]: message for message in pubsub.messages(RESULTS)}
    assert {id: message.attributes for id, message in results.items()} == {
        f"letter-{n}": {**letter(n).attributes, "id": f"letter-{n}"} for n in range(20)
    }
    assert len(pubsub.messages(RESULTS)) == 20
    (again,) = pubsub.messages(LETTERS)
    assert failure_payload(again.data, again.attributes) == b"caf\xe9"
