"""Leases, event time and the reader of a subscription, which talks to a broker that redelivers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from google.api_core import exceptions
from services.pubsub_broker import PATIENCE_SECONDS, Broker
from services.pubsub_queue import Message as Sent

from pipeline.io.outcomes import Receipt
from pipeline.io.pubsub.leases import Leases
from pipeline.io.pubsub.subscription import PulledSubscription, SubscriptionSettings, Taken
from pipeline.io.pubsub.watermark import Watermark

TOPIC = "projects/beam-ner-tests/topics/t"
SUBSCRIPTION = "projects/beam-ner-tests/subscriptions/s"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_leases_know_what_is_in_work_and_what_was_done() -> None:
    clock = Clock()
    leases = Leases(max_lease_seconds=60, remember_seconds=10, clock=clock)
    assert [leases.receive("a", "a1", 5), leases.receive("b", "b1", 7)] == ["new", "new"]
    assert leases.receive("a", "a2", 5) == "in work"
    assert (len(leases), leases.bytes, leases.to_extend()) == (2, 12, ["a2", "b1"])
    assert leases.finish("a") == ["a1", "a2"]
    assert leases.receive("a", "a3", 5) == "done"
    assert (len(leases), leases.bytes) == (1, 7)
    assert leases.give_up("b") == ["b1"]
    assert leases.receive("b", "b2", 7) == "new"  # given back, and so begun anew
    assert leases.finish("never seen") == []
    clock.now += 11
    assert leases.receive("a", "a4", 5) == "new"  # forgotten
    clock.now += 61
    assert leases.to_extend() == []


def test_event_time_follows_a_backlog_and_then_the_clock() -> None:
    clock = Clock()
    watermark = Watermark(clock, idle_seconds=10)
    watermark.note_poll()
    watermark.received(100.0)
    watermark.received(110.0)
    assert watermark.advance(oldest_waiting=100.0) == 100.0
    clock.now += 5
    watermark.note_poll()
    watermark.received(120.0)
    assert watermark.advance(None) == 100.0  # messages of the last seconds may have older ones beside them
    clock.now += 6
    watermark.note_poll()
    assert watermark.advance(None) == 120.0
    assert watermark.stamp(90.0) == 120.0  # behind: handed on at the watermark
    assert watermark.stamp(130.0) == 130.0
    assert watermark.stamp(9e9) == clock.now  # ahead of the clock
    clock.now += 6
    watermark.note_poll()
    assert watermark.advance(None) == clock.now  # nothing for ten seconds: empty
    watermark.received(50.0)
    assert watermark.advance(50.0) == clock.now  # never back


def test_event_time_stands_until_the_first_answer() -> None:
    """A program asks for the watermark at once, and the service may take a second to answer that there is a backlog."""
    clock = Clock()
    watermark = Watermark(clock, idle_seconds=10)
    assert watermark.advance(None) == 0.0
    clock.now += 5
    watermark.note_poll()
    watermark.received(100.0)
    assert watermark.stamp(100.0) == 100.0
    assert watermark.advance(100.0) == 100.0

    empty = Watermark(clock, idle_seconds=10)
    assert empty.advance(None) == 0.0
    empty.note_poll()
    assert empty.advance(None) == clock.now


def test_event_time_stands_while_the_service_is_away() -> None:
    clock = Clock()
    watermark = Watermark(clock, idle_seconds=10)
    watermark.note_poll()
    watermark.received(100.0)
    assert watermark.advance(None) == 100.0
    clock.now += 60
    assert watermark.advance(None) == 100.0
    watermark.note_poll()
    assert watermark.advance(None) == clock.now


@pytest.fixture
def clock() -> Clock:
    """The broker's: no lease ends because the machine is busy."""
    return Clock()


@pytest.fixture
def broker(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    with Broker(clock=clock) as running:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running.address)
        running.create_topic(TOPIC)
        running.create_subscription(SUBSCRIPTION, TOPIC)
        yield running


@pytest.fixture
def open_reader(broker: Broker) -> Iterator[Callable[..., PulledSubscription]]:
    made: list[PulledSubscription] = []

    def make(**settings: object) -> PulledSubscription:
        made.append(PulledSubscription(SubscriptionSettings(SUBSCRIPTION, **settings)).start())
        return made[-1]

    yield make
    for reader in made:
        reader.close(1)


def take(reader: PulledSubscription, count: int, seconds: float = PATIENCE_SECONDS) -> list[Taken]:
    """Exactly so many messages, or as many as come."""
    taken: list[Taken] = []
    end = time.monotonic() + seconds
    while len(taken) < count and time.monotonic() < end:
        taken += reader.take(count - len(taken), 10**9, 0.2)
    return taken


def done(reader: PulledSubscription, taken: list[Taken]) -> None:
    reader.done([Receipt.parse(each.message.receipt) for each in taken])


def test_a_message_is_acknowledged_when_it_is_done_and_not_before(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    broker.publish(TOPIC, [Sent(f"m{n}".encode(), {"a": str(n)}, publish_time=1e9 + n) for n in range(5)])
    reader = open_reader()
    taken = take(reader, 5)
    assert [(t.message.data, t.message.attributes, t.message.publish_time) for t in taken] == [
        (f"m{n}".encode(), {"a": str(n)}, 1e9 + n) for n in range(5)
    ]
    time.sleep(0.3)
    assert broker.unacknowledged(SUBSCRIPTION) == 5
    done(reader, taken[:3])
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 2)
    assert reader.held() == 2
    assert reader.close(PATIENCE_SECONDS) == 2
    assert broker.wait_for(lambda: broker.outstanding(SUBSCRIPTION) == 0)  # given back
    assert broker.counts(SUBSCRIPTION).nacks == 2


def test_a_lease_outlasts_the_deadline(
    broker: Broker, clock: Clock, open_reader: Callable[..., PulledSubscription]
) -> None:
    broker.publish(TOPIC, [b"slow"])
    reader = open_reader()
    taken = take(reader, 1)
    clock.now += 9  # the deadline is 10 s, which is the service's least
    assert broker.wait_for(lambda: broker.counts(SUBSCRIPTION).extensions > 0)
    clock.now += 9
    assert broker.outstanding(SUBSCRIPTION) == 1
    assert broker.counts(SUBSCRIPTION).expired == 0
    done(reader, taken)
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 0)


def test_what_is_delivered_again_is_not_handed_on_again(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    reader = open_reader(id_attribute="key")
    broker.publish(TOPIC, [Sent(b"first", {"key": "k"})])
    taken = take(reader, 1)
    broker.publish(TOPIC, [Sent(b"second, in work", {"key": "k"})])
    assert take(reader, 1, 0.5) == []
    done(reader, taken)
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 0)  # both
    broker.publish(TOPIC, [Sent(b"third, done", {"key": "k"}), Sent(b"no key", {})])
    assert [each.message.data for each in take(reader, 1)] == [b"no key"]
    assert take(reader, 1, 0.5) == []
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 1)


def test_an_id_is_not_taken_for_another_message_s_own(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    reader = open_reader(id_attribute="key")
    [number] = broker.publish(TOPIC, [Sent(b"no key")])
    broker.publish(TOPIC, [Sent(b"a key like the other's number", {"key": number})])
    assert len(take(reader, 2)) == 2


@pytest.mark.parametrize(
    ("settings", "most"),
    [({"max_waiting": 100}, 1100), ({"max_waiting_bytes": 100_000}, 1100), ({"max_held": 150}, 1150)],
)
def test_what_is_pulled_ahead_is_bounded(
    broker: Broker, open_reader: Callable[..., PulledSubscription], settings: dict[str, int], most: int
) -> None:
    broker.publish(TOPIC, [Sent(b"x" * 1000)] * 5000)
    reader = open_reader(**settings)
    assert broker.wait_for(lambda: broker.outstanding(SUBSCRIPTION) > 0)
    time.sleep(0.5)
    assert broker.outstanding(SUBSCRIPTION) <= most
    seen = 0
    while seen < 5000:  # and yet all of it comes
        taken = reader.take(500, 10**9, PATIENCE_SECONDS)
        assert taken
        seen += len(taken)
        done(reader, taken)


def test_a_bundle_is_bounded_in_bytes(broker: Broker, open_reader: Callable[..., PulledSubscription]) -> None:
    broker.publish(TOPIC, [b"x" * 400, b"y" * 5000, b"z" * 400, b"w" * 400])
    reader = open_reader()
    assert broker.wait_for(lambda: reader.held() == 4)
    sizes = [[len(t.message.data) for t in reader.take(100, 1000, 1)] for _ in range(3)]
    assert sizes == [[400], [5000], [400, 400]]


def test_an_outage_is_waited_out(broker: Broker, open_reader: Callable[..., PulledSubscription]) -> None:
    reader = open_reader()
    broker.publish(TOPIC, [b"before"])
    taken = take(reader, 1)
    broker.set_unavailable()
    done(reader, taken)
    broker.publish(TOPIC, [b"meanwhile"])
    for call in ("pull", "acknowledge"):
        assert broker.wait_for(lambda call=call: broker.refusals[call] > 2), call
    broker.set_unavailable(0)
    assert [each.message.data for each in take(reader, 1)] == [b"meanwhile"]
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 1)


def test_a_drain_gives_back_what_was_not_begun(broker: Broker, open_reader: Callable[..., PulledSubscription]) -> None:
    broker.publish(TOPIC, [f"m{n}" for n in range(10)])
    reader = open_reader()
    taken = take(reader, 3)
    assert broker.wait_for(lambda: reader.held() == 10)
    reader.drain()
    assert broker.wait_for(lambda: broker.outstanding(SUBSCRIPTION) == 3)
    assert reader.take(10, 10**9, 0.1) == []
    done(reader, taken)
    assert reader.close(PATIENCE_SECONDS) == 0
    assert broker.unacknowledged(SUBSCRIPTION) == 7


def test_an_end_waits_for_what_a_drain_gives_back(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    broker.publish(TOPIC, [f"m{n}" for n in range(4000)])  # four requests
    reader = open_reader()
    assert broker.wait_for(lambda: reader.held() == 4000)
    reader.drain()
    reader.close(PATIENCE_SECONDS)
    assert broker.outstanding(SUBSCRIPTION) == 0


def test_a_subscription_that_is_deleted_is_an_error(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    reader = open_reader()
    from pipeline.io.pubsub.clients import subscriber

    subscriber().delete_subscription(subscription=SUBSCRIPTION)
    with pytest.raises(exceptions.NotFound):
        take(reader, 1)


def test_another_process_messages_are_acknowledged_too(
    broker: Broker, open_reader: Callable[..., PulledSubscription]
) -> None:
    broker.publish(TOPIC, [b"x"])
    first = open_reader()
    taken = take(first, 1)
    second = open_reader()
    done(second, taken)
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 0)
