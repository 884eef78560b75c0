"""The program between a subscription and a topic, as a process, against a broker that redelivers.

`BEAM_NER_LONG=1` kills it 20 times over 10,000 messages and more, instead of 3 times over 1,500, lets 10,000 flow through one
process and has it wait for ten minutes.
"""

from __future__ import annotations

import json
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from google.pubsub_v1 import types
from outputs import failure_payload
from runs import over
from services.pubsub_queue import Counts, Message
from streams import (
    DEAD,
    LONG,
    RESULTS,
    SOURCE,
    SUBSCRIPTION,
    Stream,
    letter,
    seconds_for,
    text,
)

from pipeline.io.pubsub.write import message_of_failure
from pipeline.run import main
from transforms import TokenClassifier
from transforms.documents import Failure

IDLE_SECONDS = 600.0 if LONG else 15.0  # ten minutes, or three empty answers of the broker


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stream]]:
    """Makes streams, and ends what is left of them."""
    made: list[Stream] = []

    def make(*flags: str, **broker: object) -> Stream:
        made.append(Stream(tmp_path_factory.mktemp("stream"), *flags, **broker))
        return made[-1]

    yield make
    for each in made:
        each.close()


@dataclass(frozen=True)
class Life:
    """What was seen of one process: letters at a steady pace, idleness, one more, and an end in the midst of work."""

    results: list[Message]
    after_idleness: list[Message]
    sent_before_the_end: int
    ids: dict[str, int]
    exit_code: int
    counts: Counts
    unacknowledged: int
    outstanding: int
    log: str


@pytest.fixture(scope="module")
def life(stream: Callable[..., Stream]) -> Life:
    steady = stream("--aggregation_strategy=first", "--include_text", ack_deadline_seconds=60)
    steady.start()
    steady.publish([letter(0)])
    steady.wait_for_results(1)
    steady.publish_steadily(range(1, 2000))
    steady.wait_for_results(2000)
    steady.wait_for_acknowledgements()
    results = steady.results()

    time.sleep(IDLE_SECONDS)
    steady.publish([letter(2000)])
    steady.wait_for_results(2001)
    after_idleness = steady.results()[2000:]

    more = 10_001 if LONG else 2_002
    last = more + 12_000  # so many that no machine has done them all before the signal comes
    steady.publish([letter(number) for number in range(2001, last)])
    steady.wait_for_results(more, seconds_for(more))
    code = steady.terminate()
    return Life(
        results,
        after_idleness,
        last,
        dict(steady.ids()),
        code,
        steady.broker.counts(SUBSCRIPTION),
        steady.broker.unacknowledged(SUBSCRIPTION),
        steady.broker.outstanding(SUBSCRIPTION),
        steady.log(),
    )


def test_every_letter_comes_out_once_with_its_attributes(life: Life) -> None:
    assert {m.attributes["id"]: m.attributes for m in life.results} == {
        f"letter-{n}": {"key": f"letter-{n}", "data": f"d{n}", "id": f"letter-{n}"} for n in range(2000)
    }
    assert len(life.results) == 2000


def test_a_result_is_that_of_the_model(life: Life) -> None:
    classifier = TokenClassifier("rampart", aggregation_strategy="first", special_tokens="text")
    for message in life.results[:5]:
        row = json.loads(message.data)
        number = int(row["id"].removeprefix("letter-"))
        assert row["text"] == text(number)
        expected = classifier(text(number))
        assert [(e["entity_group"], e["start"], e["end"]) for e in row["entities"]] == [
            (e["entity_group"], e["start"], e["end"]) for e in expected
        ]


def test_after_idleness_a_letter_comes_out_soon(life: Life) -> None:
    assert [message.attributes["id"] for message in life.after_idleness] == ["letter-2000"]


def test_the_model_is_loaded_once(life: Life) -> None:
    assert len(life.ids) > (10_000 if LONG else 2_000)
    counters = dict(re.findall(r"(\w+) (\d+)", re.findall("counters: (.*)", life.log)[-1]))
    assert counters["model_loads"] == "1"
    assert counters["acknowledged"] == counters["documents"] == str(len(life.ids))


def test_sigterm_ends_the_run_when_what_is_in_work_is_done(life: Life) -> None:
    assert life.exit_code == 0
    assert life.outstanding == 0  # what was pulled and not begun has been given back, not left to its lease
    assert life.unacknowledged > 0  # it was stopped in the midst
    assert len(life.ids) + life.unacknowledged == life.sent_before_the_end
    assert max(life.ids.values()) == 1
    assert life.counts.expired == 0
    documents = f"{len(life.ids):,}"
    assert f"{documents} documents in" in life.log
    assert f"{documents} results, in {RESULTS}" in life.log


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_an_interrupt_ends_an_idle_run(stream: Callable[..., Stream], number: int) -> None:
    idle = stream()
    idle.start()
    idle.publish([letter(1)])
    idle.wait_for_acknowledgements()
    assert idle.terminate(number) == 0


def test_nothing_is_lost_when_the_program_is_killed(stream: Callable[..., Stream]) -> None:
    kills = 20 if LONG else 3
    killed = stream()
    letters = killed.outlive_kills(10_000 if LONG else 1_500, kills, a_second=80)
    ids = killed.ids()
    assert set(ids) == {f"letter-{n}" for n in range(letters)}
    more, counts = sum(ids.values()) - letters, killed.broker.counts(SUBSCRIPTION)
    print(
        f"\n{kills} kills over {letters:,} letters: none lost, {counts.expired} delivered again, {more} came out again"
    )
    assert counts.expired > 0  # the kills did hit work
    assert more <= kills * 1000  # what is in work at a kill is a bundle at the most
    assert killed.terminate() == 0


def test_a_letter_that_is_delivered_three_times_has_one_result(stream: Callable[..., Stream]) -> None:
    letters = 10_000 if LONG else 600
    thrice = stream(deliver_times=3)
    thrice.publish([letter(number) for number in range(letters)])
    thrice.publish([letter(5), letter(6)])  # other messages, by the same ids
    thrice.start()
    thrice.wait_for_results(letters, seconds_for(letters))
    thrice.wait_for_acknowledgements()
    assert set(thrice.ids().values()) == {1}
    assert len(thrice.ids()) == letters
    assert thrice.broker.counts(SUBSCRIPTION).deliveries >= 3 * letters + 6
    assert thrice.terminate() == 0


GOOD = json.dumps({"id": "j", "text": "My name is Ann Smith."}).encode()
POISON = {
    "not UTF-8": Message(b'{"text": "caf\xe9"}'),
    "no JSON": Message(b"Ann Smith"),
    "no object": Message(b"[1]"),
    "no text": Message(b'{"id": "x", "body": "Ann"}'),
    "text that is none": Message(b'{"text": 7}'),
    "a lone surrogate": Message(b'{"text": "\\ud800"}'),
    "too deep": Message(b'{"text": ' + b"[" * 100_000),
    "too long a number": Message(b'{"text": "Ann", "n": ' + b"7" * 10_000 + b"}"),
    "9.9 MB": Message(b"\xff" + random.Random(1).randbytes(9_900_000)),
    "a bad time": Message(GOOD, {"at": "yesterday"}),
    "a time that is too far": Message(GOOD, {"at": "9" * 30}),
    "no time": Message(GOOD, {"at": ""}),
}


def test_poison_and_an_outage_lose_nothing(stream: Callable[..., Stream]) -> None:
    """One process takes both: poison among good letters, then a broker that is away for 10 s."""
    troubled = stream("--input_format=jsonl", "--timestamp_attribute=at")
    troubled.start()
    good = [Message(GOOD, {"key": f"good-{n}", "at": "2026-01-02T03:04:05Z"}) for n in range(40)]
    poison = [replace(m, attributes={**m.attributes, "key": name}) for name, m in POISON.items()]
    for index, message in enumerate(poison):
        troubled.publish([good[index], message])
    troubled.publish(good[len(poison) :])
    troubled.wait_for_results(40)
    troubled.wait_for_acknowledgements()
    assert set(troubled.ids()) == {f"good-{n}" for n in range(40)}
    buried = {m.attributes.get("key") or _key(m): failure_payload(m.data, m.attributes) for m in troubled.dead()}
    assert buried == {name: message.data for name, message in POISON.items()}
    for message in troubled.dead():
        assert message.attributes["stage"] == "parse"

    numbers = iter(range(10_000))
    end = time.monotonic() + 13
    troubled.broker.set_unavailable(10)
    while time.monotonic() < end:  # the broker's own handle still takes messages
        troubled.publish([Message(GOOD, {"key": f"late-{next(numbers)}"}) for _ in range(10)])
        time.sleep(0.2)
    late = next(numbers)
    troubled.wait_for_results(40 + late)
    troubled.wait_for_acknowledgements()
    assert set(troubled.ids()) == {f"good-{n}" for n in range(40)} | {f"late-{n}" for n in range(late)}
    assert "Ann Smith" not in troubled.log()
    assert troubled.terminate() == 0


def _key(message: Message) -> str:
    attributes = json.loads(message.data)["attributes"]
    return next(pair["value"] for pair in attributes if pair["key"] == "key")


P = "projects/beam-ner-tests"
MISTAKES = {
    "no such subscription": ([f"--input={P}/subscriptions/gone"], ["--input=", "gone", "no such subscription"]),
    "a topic to read elsewhere": (
        [f"--input={P}/topics/letters", "--runner=PrismRunner"],
        ["--input=", "only Dataflow and the DirectRunner", "subscription"],
    ),
    "a topic that is written": ([f"--input={RESULTS}"], ["--input=", "where this run writes"]),
    "no such topic": ([f"--output={P}/topics/gone"], ["--output=", "gone", "no such topic"]),
    "no topic for failures": (
        [f"--output={P}/topics/letters", "--dead_letter="],
        ["--dead_letter=", "letters-failures", "no such"],
    ),
    "a subscription to write to": ([f"--output={SUBSCRIPTION}"], ["--output=", "a subscription", "expected a topic"]),
    "failures among the results": ([f"--dead_letter={RESULTS}"], ["--dead_letter=", "the same"]),
    "files without a window": (["--output=out/x", "--window_seconds=0"], ["--window_seconds=0", "at least 1"]),
    "loads without an end": (
        ["--output=p-x:d.t", "--write_method=FILE_LOADS"],
        ["--write_method=FILE_LOADS: waits", "for a stream"],
    ),
    "rows that nobody vouches for": (
        ["--output=p-x:d.t", "--write_method=STORAGE_WRITE_API"],
        ["--write_method=", "STREAMING_INSERTS"],
    ),
    "a format of files": (["--input_format=csv"], ["--input_format='csv'", "text, jsonl"]),
    "a format of results": (["--output_format=csv"], ["--output_format='csv'", "jsonl"]),
    "no wait": (["--max_batch_wait_ms=0"], ["--max_batch_wait_ms=0", "at least 1"]),
    "attributes of files": (["--input=setup.py", "--id_attribute=k"], ["--id_attribute='k'", "messages"]),
    "what it writes": ([f"--output={SOURCE}"], ["--input=", "a subscription of", SOURCE, "where this run writes"]),
    "failures that come in again": (
        ["--input=", f"--replay={SUBSCRIPTION}", f"--dead_letter={SOURCE}"],
        ["--replay=", "a subscription of", SOURCE, "where this run writes"],
    ),
    "a topic to replay": (["--input=", f"--replay={SOURCE}"], ["--replay=", "a topic", "subscription"]),
    "no subscription to replay": (
        ["--input=", f"--replay={P}/subscriptions/gone"],
        ["--replay=", "no such subscription"],
    ),
    "an id for what has one": (
        ["--input=", f"--replay={SUBSCRIPTION}", "--id_attribute=k"],
        ["--id_attribute=", "--replay"],
    ),
    "order of files": (
        ["--input=setup.py", "--input_format=text", "--output=out/x", "--ordering_key_attribute=k"],
        ["--ordering_key_attribute='k': only for topics", "--output='out/x'"],
    ),
    "two ordering keys": (
        ["--keep_ordering_key", "--ordering_key_attribute=k"],
        ["--keep_ordering_key and --ordering_key_attribute='k' each name an ordering key"],
    ),
    "an ordering key of files": (
        ["--input=setup.py", "--input_format=text", "--keep_ordering_key"],
        ["--keep_ordering_key: only for messages"],
    ),
    "an ordering key for files": (
        ["--output=out/x", "--keep_ordering_key"],
        ["--keep_ordering_key: only for topics", "--output='out/x'"],
    ),
}


@pytest.fixture(scope="module")
def standing(stream: Callable[..., Stream]) -> Stream:
    """A broker with all topics, and no program."""
    return stream()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(
    mistake: str, standing: Stream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, told = MISTAKES[mistake]
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", standing.broker.address)
    assert main(over([f"--input={SUBSCRIPTION}", f"--output={RESULTS}", f"--dead_letter={DEAD}"], flags)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("beam-ner: error: ")
    assert err.count("\n") == 1
    assert all(part in err for part in told), err


EXPORTS = {
    "is a push subscription": {"push_config": {"push_endpoint": "https://example.org/push"}},
    "exports to BigQuery": {"bigquery_config": {"table": "p.d.t"}},
    "exports to Cloud Storage": {"cloud_storage_config": {"bucket": "b"}},
}


@pytest.mark.parametrize("flag", ["--input", "--replay"])
@pytest.mark.parametrize("what", EXPORTS)
def test_a_subscription_that_cannot_be_pulled_is_told(
    what: str, flag: str, standing: Stream, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"{P}/subscriptions/{what.replace(' ', '-')}{flag}"
    settings = types.Subscription(EXPORTS[what])
    definition = types.Subscription.pb()(name=name, topic=SOURCE)
    definition.MergeFrom(types.Subscription.pb(settings))
    standing.broker.add_subscription(definition, 10)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", standing.broker.address)
    assert main([f"{flag}={name}", f"--output={RESULTS}", f"--dead_letter={DEAD}"]) == 2
    told = f"{flag}='{name}': {what}, so nothing can be pulled from it; expected another subscription of {SOURCE}\n"
    assert capsys.readouterr().err == f"beam-ner: error: {told}"


def test_a_message_passes_on_its_ordering_key(stream: Callable[..., Stream]) -> None:
    """Its result has the key, and so has the result of a replay."""
    flags = ["--input_format=jsonl", "--keep_ordering_key"]
    first = stream(*flags)
    full = {f"a{number}": "x" for number in range(99)}
    first.publish([
        Message(b'{"text": "Ann"}', {"key": "ann"}, "k1"),
        Message(b'{"text": "Tom"}', {"key": "tom"}),
        Message(b'{"text": "Zoe"}', {"key": "zoe", **full}, "k2"),
        Message(b"no json", {"key": "bad"}, "k3"),
    ])  # fmt: skip
    first.broker.create_subscription(f"{P}/subscriptions/dead", DEAD)
    first.broker.create_topic(f"{P}/topics/again")
    first.start()
    first.wait(lambda: len(first.results()) == 3 and len(first.dead()) == 1, "all outcomes")
    assert first.terminate() == 0
    kept = {message.attributes["key"]: message for message in first.results()}
    assert {key: message.ordering_key for key, message in kept.items()} == {"ann": "k1", "tom": "", "zoe": "k2"}
    assert kept["ann"].attributes == {"key": "ann", "id": "ann"}
    assert kept["zoe"].attributes == {"key": "zoe", **full}
    (buried,) = first.dead()
    attributes = {pair["key"]: pair["value"] for pair in json.loads(buried.data)["attributes"]}
    assert attributes["pubsub_ordering_key"] == "k3"


def test_a_replay_passes_on_the_ordering_key(stream: Callable[..., Stream]) -> None:
    failure = Failure(b'{"text": "Ann"}', "it failed", "classify", {"pubsub_ordering_key": "k1", "id": "a"})
    dead = message_of_failure(failure)
    replayed = stream(
        "--input=", f"--replay={SUBSCRIPTION}", "--id_attribute=", "--input_format=jsonl", "--keep_ordering_key"
    )
    replayed.publish([Message(dead.data, dict(dead.attributes))])
    replayed.start()
    replayed.wait_for_results(1)
    assert replayed.terminate() == 0
    (message,) = replayed.results()
    assert (message.ordering_key, message.attributes) == ("k1", {"id": "a"})


def test_files_to_a_topic(
    tmp_path: Path, stream: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with an end, whose results are messages and whose failures are files."""
    target = stream()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", target.broker.address)
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "My name is Ann Smith."}\nnot json\n', "utf-8")
    flags = ["--aggregation_strategy=first", f"--dead_letter={tmp_path}/dead"]
    assert main([f"--input={tmp_path}/in.jsonl", f"--output={RESULTS}", *flags]) == 0
    (row,) = target.rows()
    assert (row["id"], [entity["text"] for entity in row["entities"]]) == ("a", ["Ann", "Smith"])
    (message,) = target.results()
    assert message.attributes == {"id": "a", "source": f"{tmp_path}/in.jsonl"}
    (dead,) = tmp_path.glob("dead-*.jsonl")
    assert "the line is not JSON" in dead.read_text("utf-8")
    assert f"1 results, in {RESULTS}" in capsys.readouterr().out
