"""A Pub/Sub server in memory, over gRPC, for tests of at-least-once delivery.

    with Broker() as broker:                       # in this process, in threads of its own
        broker.create_topic("projects/p/topics/t")
        broker.create_subscription("projects/p/subscriptions/s", "projects/p/topics/t", ack_deadline_seconds=1)
        broker.publish("projects/p/topics/t", [b"one", Message(b"two", publish_time=time.time() - 3600)])
        ...                                        # clients find it by PUBSUB_EMULATOR_HOST=broker.address

or as a process of its own, `python -m services.pubsub_broker --port 0` (from `tests/`). What it does not know (push,
filters, dead-letter and retry policies, exactly-once, seek) it refuses with UNIMPLEMENTED.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from services.pubsub_queue import Counts, Delivery, Message, Queue

THREADS = 64  # a StreamingPull and a waiting Pull each occupy one
POLL_SECONDS = 0.5  # how soon a waiting call notices that its client has gone
REQUEST_BYTES, REQUEST_MESSAGES = 10_000_000, 1_000
ATTRIBUTES, ATTRIBUTE_KEY_BYTES, ATTRIBUTE_VALUE_BYTES, ORDERING_KEY_BYTES = 100, 256, 1_024, 1_024
DEADLINES = range(10, 601)  # seconds that a client may ask for
REFUSED_FIELDS = ("push_config", "bigquery_config", "cloud_storage_config", "dead_letter_policy", "retry_policy")
REFUSED_FLAGS = ("filter", "enable_exactly_once_delivery", "detached")

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]


class Refused(Exception):
    """A call that Pub/Sub would answer with an error."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class _Subscription:
    definition: Any
    topic: str
    queue: Queue


class Broker:
    """The server, and a handle on it for the test that started it. Every method may be called from any thread.

    Args:
        port: 0 takes a free one.
        deliver_times: Every message is delivered at least so many times, acknowledged or not.
        hold_seconds: How long a Pull without messages waits for one before it answers with none.
        deadline_scale: All ack deadlines that clients ask for are multiplied by it; 0.1 makes a minute six seconds.
    """

    def __init__(
        self, port: int = 0, *, deliver_times: int = 1, hold_seconds: float = 5.0, deadline_scale: float = 1.0
    ) -> None:
        self._port = port
        self._deliver_times = deliver_times
        self._hold_seconds = hold_seconds
        self._deadline_scale = deadline_scale
        self._changed = threading.Condition(threading.RLock())
        self._ids = itertools.count(1)
        self._topics: dict[str, list[Message]] = {}
        self._subscriptions: dict[str, _Subscription] = {}
        self._down_until = 0.0
        self._stopping = False
        self._server: grpc.Server | None = None

    # The server's life.

    def start(self) -> Broker:
        """Serves; a broker that was stopped serves the same messages again, on the same port."""
        self._stopping = False
        self._server = grpc.server(ThreadPoolExecutor(THREADS, "pubsub"), options=_OPTIONS)
        self._server.add_generic_rpc_handlers(_handlers(self))
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self._server.start()
        return self

    def stop(self) -> None:
        """Ends all calls and closes the port. Messages and subscriptions stay."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def __enter__(self) -> Broker:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        """`host:port`, the value for PUBSUB_EMULATOR_HOST."""
        return f"127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variable by which clients find it."""
        return {"PUBSUB_EMULATOR_HOST": self.address}

    # For tests: what lies here, and trouble on demand.

    def create_topic(self, name: str) -> str:
        """Makes a topic. Raises Refused where there is one."""
        with self._changed:
            _require_new(name, self._topics)
            self._topics[name] = []
            return name

    def create_subscription(
        self, name: str, topic: str, *, ack_deadline_seconds: float = 10, ordered: bool = False
    ) -> str:
        """Makes a subscription; unlike a client, a test may choose a deadline below 10 seconds (it is not scaled)."""
        definition = types.Subscription.pb()(
            name=name, topic=topic, ack_deadline_seconds=int(ack_deadline_seconds), enable_message_ordering=ordered
        )
        self._add_subscription(definition, ack_deadline_seconds)
        return name

    def publish(self, topic: str, messages: Iterable[Message | bytes | str]) -> list[str]:
        """Publishes, by this handle's own way: no limits on size, and any publish time. Gives the message ids."""
        with self._changed:
            log = _find(topic, self._topics)
            stored = [self._stamp(message) for message in messages]
            log.extend(stored)
            for subscription in self._subscriptions.values():
                if subscription.topic == topic:
                    for message in stored:
                        subscription.queue.add(message)
            self._changed.notify_all()
            return [message.message_id for message in stored]

    def messages(self, topic: str) -> list[Message]:
        """All that was ever published to a topic, in order."""
        with self._changed:
            return list(_find(topic, self._topics))

    def outstanding(self, subscription: str) -> int:
        """How many messages consumers hold now."""
        with self._changed:
            return self._queue(subscription).outstanding()

    def unacknowledged(self, subscription: str) -> int:
        """How many messages (with `deliver_times`: copies) are not acknowledged yet, held or not."""
        with self._changed:
            return self._queue(subscription).unacknowledged()

    def counts(self, subscription: str) -> Counts:
        """What has happened on a subscription so far."""
        with self._changed:
            return dataclasses.replace(self._queue(subscription).counts)

    def subscriptions(self, topic: str) -> list[str]:
        """The names of a topic's subscriptions."""
        with self._changed:
            return [name for name, subscription in self._subscriptions.items() if subscription.topic == topic]

    def set_unavailable(self, seconds: float) -> None:
        """Answers every call with UNAVAILABLE for a time from now, and ends the streams that are open."""
        with self._changed:
            self._down_until = time.monotonic() + seconds
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Waits until a condition on this broker holds; gives whether it did in time."""
        end = time.monotonic() + timeout
        with self._changed:
            while not condition():
                left = end - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(min(left, 0.1))
            return True

    # For the gRPC handlers below.

    def refuse_when_down(self) -> None:
        """Raises Refused while the broker plays dead."""
        if self._stopping or time.monotonic() < self._down_until:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "unavailable on demand")

    def create_topic_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        self.create_topic(request.name)
        return request

    def get_topic_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            _find(request.topic, self._topics)
            return types.Topic.pb()(name=request.topic)

    def list_topics_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            names = [name for name in self._topics if name.startswith(f"{request.project}/")]
            return types.ListTopicsResponse.pb()(topics=[types.Topic.pb()(name=name) for name in names])

    def list_topic_subscriptions_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            _find(request.topic, self._topics)
            return types.ListTopicSubscriptionsResponse.pb()(subscriptions=self.subscriptions(request.topic))

    def delete_topic_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            _find(request.topic, self._topics)
            del self._topics[request.topic]
            for subscription in self._subscriptions.values():
                if subscription.topic == request.topic:
                    subscription.topic = "_deleted-topic_"
            return empty_pb2.Empty()

    def publish_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        _check_publish(request)
        messages = [Message(m.data, dict(m.attributes), m.ordering_key) for m in request.messages]
        return types.PublishResponse.pb()(message_ids=self.publish(request.topic, messages))

    def create_subscription_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        _check_subscription(request)
        request.ack_deadline_seconds = request.ack_deadline_seconds or DEADLINES.start
        self._add_subscription(request, request.ack_deadline_seconds * self._deadline_scale)
        return request

    def get_subscription_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            return self._definition(_find(request.subscription, self._subscriptions))

    def list_subscriptions_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            found = [s for name, s in self._subscriptions.items() if name.startswith(f"{request.project}/")]
            return types.ListSubscriptionsResponse.pb()(subscriptions=map(self._definition, found))

    def delete_subscription_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            _find(request.subscription, self._subscriptions)
            del self._subscriptions[request.subscription]
            self._changed.notify_all()
            return empty_pb2.Empty()

    def acknowledge_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._changed:
            self._queue(request.subscription).acknowledge(request.ack_ids)
            self._changed.notify_all()
            return empty_pb2.Empty()

    def modify_ack_deadline_call(self, request: Any, _: grpc.ServicerContext) -> Any:
        _check_deadline(request.ack_deadline_seconds, least=0)
        with self._changed:
            seconds = request.ack_deadline_seconds * self._deadline_scale
            self._queue(request.subscription).modify_deadline(request.ack_ids, seconds)
            self._changed.notify_all()
            return empty_pb2.Empty()

    def pull_call(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.max_messages < 1:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "max_messages must be at least 1")
        end = time.monotonic() + (0.0 if request.return_immediately else self._hold_seconds)
        with self._changed:
            while context.is_active():
                self.refuse_when_down()
                queue = self._queue(request.subscription)
                deliveries = queue.lease(min(request.max_messages, REQUEST_MESSAGES))
                left = end - time.monotonic()
                if deliveries or left <= 0:
                    return types.PullResponse.pb()(received_messages=map(_received, deliveries))
                self._wait(queue, left)
        return types.PullResponse.pb()()

    def streaming_pull_call(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(requests)
        _check_deadline(first.stream_ack_deadline_seconds)
        self._queue(first.subscription)
        ended = threading.Event()
        threading.Thread(
            target=self._read_stream, args=(first.subscription, requests, ended), name="pubsub-stream", daemon=True
        ).start()
        holder = object()
        while context.is_active() and not ended.is_set():
            if deliveries := self._next_of_stream(first, holder, context, ended):
                yield types.StreamingPullResponse.pb()(received_messages=map(_received, deliveries))

    def _next_of_stream(
        self, first: Any, holder: object, context: grpc.ServicerContext, ended: threading.Event
    ) -> list[Delivery]:
        seconds = first.stream_ack_deadline_seconds * self._deadline_scale
        with self._changed:
            while context.is_active() and not ended.is_set():
                self.refuse_when_down()
                queue = self._queue(first.subscription)
                room = REQUEST_MESSAGES
                if first.max_outstanding_messages > 0:
                    room = min(room, first.max_outstanding_messages - queue.outstanding(holder))
                if room > 0 and (deliveries := queue.lease(room, deadline_seconds=seconds, holder=holder)):
                    return deliveries
                self._wait(queue, POLL_SECONDS)
        return []

    def _read_stream(self, subscription: str, requests: Iterator[Any], ended: threading.Event) -> None:
        """Takes the acknowledgements and extensions that a client sends along its stream, until it closes its side."""
        try:
            for request in requests:
                with self._changed:
                    queue = self._queue(subscription)
                    queue.acknowledge(request.ack_ids)
                    pairs = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
                    for ack_id, seconds in pairs:
                        queue.modify_deadline([ack_id], seconds * self._deadline_scale)
                    self._changed.notify_all()
        except Exception:  # the client has gone, or the subscription has: the stream ends, which is all there is to do
            pass
        finally:
            ended.set()
            with self._changed:
                self._changed.notify_all()

    def _wait(self, queue: Queue, seconds: float) -> None:
        expiry = queue.next_expiry()
        until_expiry = seconds if expiry is None else max(0.001, expiry - time.monotonic())
        self._changed.wait(min(seconds, until_expiry, POLL_SECONDS))

    def _stamp(self, message: Message | bytes | str) -> Message:
        if isinstance(message, str):
            message = message.encode()
        if isinstance(message, bytes):
            message = Message(message)
        published = time.time() if message.publish_time is None else message.publish_time
        return dataclasses.replace(message, publish_time=published, message_id=str(next(self._ids)))

    def _add_subscription(self, definition: Any, deadline_seconds: float) -> None:
        with self._changed:
            _require_new(definition.name, self._subscriptions)
            _find(definition.topic, self._topics)
            queue = Queue(
                deadline_seconds,
                ordered=definition.enable_message_ordering,
                deliver_times=self._deliver_times,
                clock=time.monotonic,
            )
            self._subscriptions[definition.name] = _Subscription(definition, definition.topic, queue)

    def _definition(self, subscription: _Subscription) -> Any:
        subscription.definition.topic = subscription.topic
        return subscription.definition

    def _queue(self, name: str) -> Queue:
        return _find(name, self._subscriptions).queue


def _find(name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise Refused(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={name}).")
    return known[name]


def _require_new(name: str, known: dict[str, Any]) -> None:
    if name in known:
        raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"Resource already exists (resource={name}).")


def _check_deadline(seconds: int, *, least: int = DEADLINES.start) -> None:
    if not least <= seconds < DEADLINES.stop:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"ack deadline must be {least} to 600 seconds, not {seconds}")


def _check_subscription(definition: Any) -> None:
    if definition.ack_deadline_seconds:
        _check_deadline(definition.ack_deadline_seconds)
    refused = [name for name in REFUSED_FIELDS if definition.HasField(name) and getattr(definition, name).ByteSize()]
    refused += [name for name in REFUSED_FLAGS if getattr(definition, name)]
    if refused:
        raise Refused(grpc.StatusCode.UNIMPLEMENTED, f"this broker does not know {', '.join(refused)}")


def _check_publish(request: Any) -> None:
    """Holds a publish request to the service's limits (see its page on quotas)."""
    trouble = ""
    if not 1 <= len(request.messages) <= REQUEST_MESSAGES:
        trouble = f"a request must have 1 to {REQUEST_MESSAGES} messages"
    elif request.ByteSize() > REQUEST_BYTES:
        trouble = f"the request has {request.ByteSize()} bytes, the limit is {REQUEST_BYTES}"
    elif any(not (message.data or message.attributes) for message in request.messages):
        trouble = "a message must have data or an attribute"
    elif any(len(message.attributes) > ATTRIBUTES for message in request.messages):
        trouble = f"a message may have {ATTRIBUTES} attributes"
    elif any(len(message.ordering_key.encode()) > ORDERING_KEY_BYTES for message in request.messages):
        trouble = f"an ordering key may have {ORDERING_KEY_BYTES} bytes"
    elif not all(_attributes_fit(message.attributes) for message in request.messages):
        trouble = (
            f"attribute keys may have {ATTRIBUTE_KEY_BYTES} bytes (and not be empty), values {ATTRIBUTE_VALUE_BYTES}"
        )
    if trouble:
        raise Refused(grpc.StatusCode.INVALID_ARGUMENT, trouble)


def _attributes_fit(attributes: Any) -> bool:
    return all(
        1 <= len(key.encode()) <= ATTRIBUTE_KEY_BYTES and len(value.encode()) <= ATTRIBUTE_VALUE_BYTES
        for key, value in attributes.items()
    )


def _received(delivery: Delivery) -> Any:
    message = delivery.message
    received = types.ReceivedMessage.pb()(ack_id=delivery.ack_id)
    received.message.data = message.data
    received.message.attributes.update(message.attributes)
    received.message.ordering_key = message.ordering_key
    received.message.message_id = message.message_id
    received.message.publish_time.FromNanoseconds(round((message.publish_time or 0.0) * 1e6) * 1000)
    return received


def _handlers(broker: Broker) -> Sequence[grpc.GenericRpcHandler]:
    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                broker.refuse_when_down()
                return call(request, context)
            except Refused as refused:
                context.abort(refused.code, str(refused))

        return answer

    def guarded_stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            broker.refuse_when_down()
            yield from broker.streaming_pull_call(requests, context)
        except Refused as refused:
            context.abort(refused.code, str(refused))

    def unary(request: Any, response: Any, call: Callable[..., Any]) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(guarded(call), request.FromString, response.SerializeToString)

    def pb(name: str) -> Any:
        return getattr(types, name).pb()

    nothing = empty_pb2.Empty
    publisher = {
        "CreateTopic": unary(pb("Topic"), pb("Topic"), broker.create_topic_call),
        "GetTopic": unary(pb("GetTopicRequest"), pb("Topic"), broker.get_topic_call),
        "ListTopics": unary(pb("ListTopicsRequest"), pb("ListTopicsResponse"), broker.list_topics_call),
        "ListTopicSubscriptions": unary(
            pb("ListTopicSubscriptionsRequest"),
            pb("ListTopicSubscriptionsResponse"),
            broker.list_topic_subscriptions_call,
        ),
        "DeleteTopic": unary(pb("DeleteTopicRequest"), nothing, broker.delete_topic_call),
        "Publish": unary(pb("PublishRequest"), pb("PublishResponse"), broker.publish_call),
    }
    subscriber = {
        "CreateSubscription": unary(pb("Subscription"), pb("Subscription"), broker.create_subscription_call),
        "GetSubscription": unary(pb("GetSubscriptionRequest"), pb("Subscription"), broker.get_subscription_call),
        "ListSubscriptions": unary(
            pb("ListSubscriptionsRequest"), pb("ListSubscriptionsResponse"), broker.list_subscriptions_call
        ),
        "DeleteSubscription": unary(pb("DeleteSubscriptionRequest"), nothing, broker.delete_subscription_call),
        "Acknowledge": unary(pb("AcknowledgeRequest"), nothing, broker.acknowledge_call),
        "ModifyAckDeadline": unary(pb("ModifyAckDeadlineRequest"), nothing, broker.modify_ack_deadline_call),
        "Pull": unary(pb("PullRequest"), pb("PullResponse"), broker.pull_call),
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            guarded_stream, pb("StreamingPullRequest").FromString, pb("StreamingPullResponse").SerializeToString
        ),
    }
    return [
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
        grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Serves until SIGINT or SIGTERM; prints the variable that points clients here."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--deliver_times", type=int, default=1, help="how often every message is delivered at least")
    parser.add_argument("--deadline_scale", type=float, default=1.0, help="what ack deadlines are multiplied by")
    flags = parser.parse_args(argv)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Broker(flags.port, deliver_times=flags.deliver_times, deadline_scale=flags.deadline_scale) as broker:
        print(f"PUBSUB_EMULATOR_HOST={broker.address}", flush=True)
        ended.wait()


if __name__ == "__main__":
    main()
