"""The broker over the wire, with Google's own client library, as the program uses it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions, retry
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, types
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from services.pubsub_broker import PATIENCE_SECONDS, Broker, Message, Refused

TOPIC, SUBSCRIPTION = "projects/project/topics/topic", "projects/project/subscriptions/subscription"
TESTS = Path(__file__).parents[1]


# The publishing client's own draws each sleep from 0 to 0.1, 0.4, 1.6, 6.4, 25.6 and then 60 seconds. After an outage of
# one second, seven in a thousand publishes sleep on for more than 20 seconds.
SHORT_SLEEPS = retry.Retry(
    predicate=retry.if_exception_type(exceptions.ServiceUnavailable), initial=0.1, maximum=0.5, timeout=600
)


class Clock:
    """The broker's clock, which stands until a test moves it: no deadline passes because the machine is busy."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A broker that holds a Pull without messages for an hour; the client breaks it off with an error after a minute."""
    with Broker(hold_seconds=3600, clock=clock) as broker:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.address)
        yield broker


@pytest.fixture
def subscription(broker: Broker) -> str:
    broker.create_topic(TOPIC)
    return broker.create_subscription(SUBSCRIPTION, TOPIC, ack_deadline_seconds=0.5)


@pytest.fixture
def subscriber(broker: Broker) -> Iterator[pubsub_v1.SubscriberClient]:
    with pubsub_v1.SubscriberClient() as client:
        yield client


@pytest.fixture
def publisher(broker: Broker) -> pubsub_v1.PublisherClient:
    return pubsub_v1.PublisherClient(publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True))


def pull(client: pubsub_v1.SubscriberClient, limit: int = 10, **options: Any) -> list[Any]:
    request = {"subscription": SUBSCRIPTION, "max_messages": limit, **options}
    return list(client.pull(request=request, retry=None).received_messages)


def test_a_message_arrives_as_it_was_published(broker, subscription, subscriber, publisher):
    before = time.time()
    future = publisher.publish(TOPIC, b"\xff\x00", ordering_key="k", colour="blue")
    [received] = pull(subscriber)
    assert received.message.data == b"\xff\x00"
    assert dict(received.message.attributes) == {"colour": "blue"}
    assert received.message.ordering_key == "k"
    assert received.message.message_id == future.result()
    assert before - 0.01 <= received.message.publish_time.timestamp() <= time.time()
    assert broker.messages(TOPIC) == [
        Message(b"\xff\x00", {"colour": "blue"}, "k", broker.messages(TOPIC)[0].publish_time, future.result())
    ]


def test_a_test_may_publish_in_the_past(broker, subscription, subscriber):
    broker.publish(TOPIC, [Message(b"old", publish_time=1_000_000.25), "new", b"new"])
    old, *new = pull(subscriber)
    assert old.message.publish_time.timestamp() == 1_000_000.25
    assert [received.message.data for received in new] == [b"new", b"new"]


def test_what_is_not_acknowledged_comes_again_under_another_ack_id(broker, clock, subscription, subscriber):
    broker.publish(TOPIC, ["a", "b"])
    first = {received.message.data: received.ack_id for received in pull(subscriber)}
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[first[b"a"]])
    assert (broker.outstanding(SUBSCRIPTION), broker.unacknowledged(SUBSCRIPTION)) == (1, 1)
    threading.Timer(0.2, clock.advance, (0.5,)).start()
    [again] = pull(subscriber)  # the call waits until the deadline has passed
    assert again.message.data == b"b"
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[first[b"b"]])
    assert broker.unacknowledged(SUBSCRIPTION) == 1
    subscriber.acknowledge(subscription=SUBSCRIPTION, ack_ids=[again.ack_id])
    assert broker.unacknowledged(SUBSCRIPTION) == 0
    counts = broker.counts(SUBSCRIPTION)
    assert (counts.deliveries, counts.acknowledged, counts.stale, counts.expired) == (3, 2, 1, 1)


def test_deadlines_are_extended_and_given_up(broker, clock, subscription, subscriber):
    broker.publish(TOPIC, ["a"])
    [received] = pull(subscriber)
    modify = {"subscription": SUBSCRIPTION, "ack_ids": [received.ack_id]}
    subscriber.modify_ack_deadline(request={**modify, "ack_deadline_seconds": 60})
    clock.advance(1)  # which is longer than the first deadline
    broker.hold_seconds = 0.1
    assert pull(subscriber) == []
    subscriber.modify_ack_deadline(request={**modify, "ack_deadline_seconds": 0})
    assert len(pull(subscriber)) == 1


def test_a_pull_waits_only_where_it_is_told_to(broker, clock, subscription, subscriber):
    with pytest.warns(DeprecationWarning, match="return_immediately"):
        assert pull(subscriber, return_immediately=True) == []
    threading.Timer(0.2, broker.publish, (TOPIC, ["late"])).start()
    assert [received.message.data for received in pull(subscriber)] == [b"late"]
    threading.Timer(0.2, clock.advance, (0.5,)).start()
    assert [received.message.data for received in pull(subscriber)] == [b"late"]  # its deadline passed meanwhile


def test_the_library_subscribes(broker, subscription, subscriber):
    seen: list[bytes] = []

    def handle(message: Any) -> None:
        seen.append(message.data)
        message.nack() if message.data == b"3" and seen.count(b"3") == 1 else message.ack()

    broker.publish(TOPIC, [str(number) for number in range(500)])
    stream = subscriber.subscribe(SUBSCRIPTION, handle, flow_control=pubsub_v1.types.FlowControl(max_messages=50))
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 0)
    broker.publish(TOPIC, ["late"])
    assert broker.wait_for(lambda: broker.unacknowledged(SUBSCRIPTION) == 0)
    stream.cancel()
    stream.result()
    assert sorted(seen) == sorted([*(str(number).encode() for number in range(500)), b"3", b"late"])
    assert broker.counts(SUBSCRIPTION).nacks == 1


def test_a_stream_gets_no_more_than_it_has_room_for(broker, subscription):
    broker.publish(TOPIC, ["x"] * 100)
    requests = [
        types.StreamingPullRequest(
            subscription=SUBSCRIPTION, stream_ack_deadline_seconds=10, max_outstanding_messages=7
        )
    ]
    done = threading.Event()

    def send() -> Iterator[Any]:
        yield from requests
        done.wait()

    with grpc.insecure_channel(broker.address) as channel:
        call = channel.stream_stream(
            "/google.pubsub.v1.Subscriber/StreamingPull",
            types.StreamingPullRequest.serialize,
            types.StreamingPullResponse.deserialize,
        )(send())
        assert len(next(call).received_messages) == 7
        assert not broker.wait_for(lambda: broker.outstanding(SUBSCRIPTION) > 7, 0.3)
        done.set()


def test_a_key_keeps_its_order(broker, subscriber, publisher):
    broker.create_topic(TOPIC)
    subscriber.create_subscription(
        request={"name": SUBSCRIPTION, "topic": TOPIC, "enable_message_ordering": True, "ack_deadline_seconds": 10}
    )
    for number in range(40):
        publisher.publish(TOPIC, str(number).encode(), ordering_key="ab"[number % 2])
    seen: list[int] = []

    def handle(message: Any) -> None:
        seen.append(int(message.data))
        message.ack()

    stream = subscriber.subscribe(SUBSCRIPTION, handle)
    assert broker.wait_for(lambda: len(seen) == 40)
    stream.cancel()
    stream.result()
    assert [n for n in seen if n % 2 == 0] == list(range(0, 40, 2))
    assert [n for n in seen if n % 2 == 1] == list(range(1, 40, 2))


def test_every_message_three_times(monkeypatch):
    with Broker(deliver_times=3, hold_seconds=0) as broker:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.address)
        broker.create_topic(TOPIC)
        broker.create_subscription(SUBSCRIPTION, TOPIC, ack_deadline_seconds=600)
        broker.publish(TOPIC, ["a", "b"])
        seen: list[bytes] = []
        with pubsub_v1.SubscriberClient() as client:
            while received := pull(client):
                seen += [r.message.data for r in received]
                client.acknowledge(subscription=SUBSCRIPTION, ack_ids=[r.ack_id for r in received])
        assert sorted(seen) == [b"a"] * 3 + [b"b"] * 3
        assert broker.unacknowledged(SUBSCRIPTION) == 0


def test_unavailable_for_a_time(broker, subscription, subscriber, publisher):
    seen: list[bytes] = []

    def handle(message: Any) -> None:
        seen.append(message.data)
        message.ack()

    stream = subscriber.subscribe(SUBSCRIPTION, handle)
    broker.publish(TOPIC, ["before"])
    assert broker.wait_for(lambda: seen == [b"before"])
    broker.set_unavailable()
    with pytest.raises(exceptions.ServiceUnavailable):
        pull(subscriber)
    future = publisher.publish(TOPIC, b"during", retry=SHORT_SLEEPS)
    assert broker.wait_for(lambda: broker.refusals["publish"] > 1)  # the library retries
    assert not future.done()
    broker.set_unavailable(0)
    assert future.result(timeout=PATIENCE_SECONDS) == broker.messages(TOPIC)[-1].message_id
    assert broker.wait_for(lambda: b"during" in seen)
    stream.cancel()
    stream.result()


def test_it_lives_through_a_stop_and_a_start(broker, subscription, subscriber):
    broker.publish(TOPIC, ["a"])
    address = broker.address
    broker.stop()
    with pytest.raises(exceptions.ServiceUnavailable):
        pull(subscriber)
    broker.start()
    assert broker.address == address
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:  # the client's channel takes a moment to come back
        try:
            assert len(pull(subscriber)) == 1
            return
        except exceptions.ServiceUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_topics_and_subscriptions_come_and_go(broker, subscriber, publisher):
    for call in (
        lambda: publisher.get_topic(topic=TOPIC),
        lambda: publisher.publish(TOPIC, b"x").result(timeout=PATIENCE_SECONDS),
        lambda: subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC),
        lambda: subscriber.get_subscription(subscription=SUBSCRIPTION),
        lambda: pull(subscriber),
        lambda: subscriber.subscribe(SUBSCRIPTION, print).result(timeout=PATIENCE_SECONDS),
    ):
        with pytest.raises(exceptions.NotFound):
            call()
    publisher.create_topic(name=TOPIC)
    subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    with pytest.raises(exceptions.AlreadyExists):
        publisher.create_topic(name=TOPIC)
    with pytest.raises(exceptions.AlreadyExists):
        subscriber.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
    assert subscriber.get_subscription(subscription=SUBSCRIPTION).ack_deadline_seconds == 10
    assert [topic.name for topic in publisher.list_topics(project="projects/project")] == [TOPIC]
    assert list(publisher.list_topic_subscriptions(topic=TOPIC)) == [SUBSCRIPTION]
    assert [s.name for s in subscriber.list_subscriptions(project="projects/project")] == [SUBSCRIPTION]
    publisher.delete_topic(topic=TOPIC)
    assert subscriber.get_subscription(subscription=SUBSCRIPTION).topic == "_deleted-topic_"
    subscriber.delete_subscription(subscription=SUBSCRIPTION)
    with pytest.raises(Refused):
        broker.unacknowledged(SUBSCRIPTION)


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"data": b"x" * 10_000_001},
        {"attributes": {str(n): "" for n in range(101)}},
        {"attributes": {"k" * 257: "x"}},
        {"attributes": {"": "x"}},
        {"attributes": {"k": "é" * 513}},
        {"data": b"x", "ordering_key": "k" * 1025},
    ],
    ids=["nothing", "10 MB", "101 attributes", "long key", "empty key", "long value", "long ordering key"],
)
def test_the_limits_of_the_service(broker, subscription, publisher, message):
    with pytest.raises(exceptions.InvalidArgument):
        PublisherClient.publish(publisher, topic=TOPIC, messages=[message], retry=None)
    assert broker.messages(TOPIC) == []


def test_almost_ten_megabytes_pass(broker, subscription, publisher):
    publisher.publish(TOPIC, b"x" * 9_999_900).result(timeout=PATIENCE_SECONDS)
    channel = grpc.insecure_channel(broker.address, options=[("grpc.max_receive_message_length", -1)])
    with pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel)) as client:
        [received] = pull(client)
    assert len(received.message.data) == 9_999_900


def test_a_request_has_one_ordering_key(broker, publisher):
    broker.create_topic(TOPIC)
    messages = [{"data": b"x", "ordering_key": key} for key in "ab"]
    with pytest.raises(exceptions.InvalidArgument, match="no ordering key, or the same"):
        PublisherClient.publish(publisher, topic=TOPIC, messages=messages, retry=None)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"ack_deadline_seconds": 9}, exceptions.InvalidArgument),
        ({"ack_deadline_seconds": 601}, exceptions.InvalidArgument),
        ({"filter": "attributes.x"}, exceptions.MethodNotImplemented),
        ({"enable_exactly_once_delivery": True}, exceptions.MethodNotImplemented),
        ({"push_config": {"push_endpoint": "https://example.org"}}, exceptions.MethodNotImplemented),
    ],
)
def test_subscriptions_that_are_refused(broker, subscriber, more, error):
    broker.create_topic(TOPIC)
    with pytest.raises(error):
        subscriber.create_subscription(request={"name": SUBSCRIPTION, "topic": TOPIC, **more})


CONSUMER = f"""
import sys, time
from google.cloud import pubsub_v1
client = pubsub_v1.SubscriberClient()
held = client.subscribe({SUBSCRIPTION!r}, lambda message: print("got", flush=True) or time.sleep(3600))
held.result()
"""


def test_a_killed_clients_messages_come_again(subscriber, monkeypatch):
    with Broker(deadline_scale=0.02, hold_seconds=3600) as broker:  # the library leases for up to a minute
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.address)
        broker.create_topic(TOPIC)
        broker.create_subscription(SUBSCRIPTION, TOPIC)
        broker.publish(TOPIC, ["a"])
        consumer = subprocess.Popen([sys.executable, "-c", CONSUMER], stdout=subprocess.PIPE)
        assert consumer.stdout is not None
        assert consumer.stdout.readline() == b"got\n"
        consumer.kill()
        consumer.wait()
        with pubsub_v1.SubscriberClient() as client:
            assert [received.message.data for received in pull(client)] == [b"a"]


def test_a_process_of_its_own(monkeypatch):
    command = [sys.executable, "-m", "services.pubsub_broker", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=TESTS, text=True, env={**os.environ})
    try:
        assert server.stdout is not None
        name, _, address = server.stdout.readline().strip().partition("=")
        assert name == "PUBSUB_EMULATOR_HOST"
        monkeypatch.setenv(name, address)
        publisher = pubsub_v1.PublisherClient()
        publisher.create_topic(name=TOPIC)
        with pubsub_v1.SubscriberClient() as client:
            client.create_subscription(name=SUBSCRIPTION, topic=TOPIC)
            publisher.publish(TOPIC, b"x").result(timeout=PATIENCE_SECONDS)
            assert len(pull(client)) == 1
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_SECONDS) == 0
    finally:
        server.kill()
        server.wait()
