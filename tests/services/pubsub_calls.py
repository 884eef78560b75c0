"""The gRPC side of the broker: google.pubsub.v1's Publisher and Subscriber."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from services.pubsub_limits import (
    DEADLINES,
    REQUEST_MESSAGES,
    Refused,
    check_deadline,
    check_publish,
    check_subscription,
    find,
)
from services.pubsub_queue import Delivery, Message, Queue

if TYPE_CHECKING:
    from services.pubsub_broker import Broker

POLL_SECONDS = 0.5  # how soon a waiting call notices that its client has gone


class Calls:
    """The methods of both services, under the names that they have in the handlers below."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def create_topic(self, request: Any, _: grpc.ServicerContext) -> Any:
        self._broker.create_topic(request.name)
        return request

    def get_topic(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            find(request.topic, self._broker.topics)
            return types.Topic.pb()(name=request.topic)

    def list_topics(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            names = [name for name in self._broker.topics if name.startswith(f"{request.project}/")]
            return types.ListTopicsResponse.pb()(topics=[types.Topic.pb()(name=name) for name in names])

    def list_topic_subscriptions(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            find(request.topic, self._broker.topics)
            return types.ListTopicSubscriptionsResponse.pb()(subscriptions=self._broker.subscriptions(request.topic))

    def delete_topic(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            find(request.topic, self._broker.topics)
            del self._broker.topics[request.topic]
            for subscription in self._broker.known_subscriptions.values():
                if subscription.topic == request.topic:
                    subscription.topic = "_deleted-topic_"
            return empty_pb2.Empty()

    def publish(self, request: Any, _: grpc.ServicerContext) -> Any:
        check_publish(request)
        messages = [Message(m.data, dict(m.attributes), m.ordering_key) for m in request.messages]
        return types.PublishResponse.pb()(message_ids=self._broker.publish(request.topic, messages))

    def create_subscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        check_subscription(request)
        request.ack_deadline_seconds = request.ack_deadline_seconds or DEADLINES.start
        self._broker.add_subscription(request, request.ack_deadline_seconds * self._broker.deadline_scale)
        return request

    def get_subscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            return _definition(find(request.subscription, self._broker.known_subscriptions))

    def list_subscriptions(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            found = [
                s for name, s in self._broker.known_subscriptions.items() if name.startswith(f"{request.project}/")
            ]
            return types.ListSubscriptionsResponse.pb()(subscriptions=map(_definition, found))

    def delete_subscription(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            find(request.subscription, self._broker.known_subscriptions)
            del self._broker.known_subscriptions[request.subscription]
            self._broker.changed.notify_all()
            return empty_pb2.Empty()

    def acknowledge(self, request: Any, _: grpc.ServicerContext) -> Any:
        with self._broker.changed:
            self._broker.queue(request.subscription).acknowledge(request.ack_ids)
            self._broker.changed.notify_all()
            return empty_pb2.Empty()

    def modify_ack_deadline(self, request: Any, _: grpc.ServicerContext) -> Any:
        check_deadline(request.ack_deadline_seconds, least=0)
        with self._broker.changed:
            seconds = request.ack_deadline_seconds * self._broker.deadline_scale
            self._broker.queue(request.subscription).modify_deadline(request.ack_ids, seconds)
            self._broker.changed.notify_all()
            return empty_pb2.Empty()

    def pull(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.max_messages < 1:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "max_messages must be at least 1")
        end = time.monotonic() + (0.0 if request.return_immediately else self._broker.hold_seconds)
        with self._broker.changed:
            while context.is_active():
                self._broker.refuse_when_down("pull")
                queue = self._broker.queue(request.subscription)
                deliveries = queue.lease(min(request.max_messages, REQUEST_MESSAGES))
                left = end - time.monotonic()
                if deliveries or left <= 0:
                    return types.PullResponse.pb()(received_messages=map(_received, deliveries))
                self._wait(queue, left)
        return types.PullResponse.pb()()

    def streaming_pull(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(requests)
        check_deadline(first.stream_ack_deadline_seconds)
        self._broker.queue(first.subscription)
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
        seconds = first.stream_ack_deadline_seconds * self._broker.deadline_scale
        with self._broker.changed:
            while context.is_active() and not ended.is_set():
                self._broker.refuse_when_down("streaming_pull")
                queue = self._broker.queue(first.subscription)
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
                with self._broker.changed:
                    queue = self._broker.queue(subscription)
                    queue.acknowledge(request.ack_ids)
                    pairs = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
                    for ack_id, seconds in pairs:
                        queue.modify_deadline([ack_id], seconds * self._broker.deadline_scale)
                    self._broker.changed.notify_all()
        except Exception:  # the client has gone, or the subscription has: the stream ends, which is all there is to do
            pass
        finally:
            ended.set()
            with self._broker.changed:
                self._broker.changed.notify_all()

    def _wait(self, queue: Queue, seconds: float) -> None:
        expiry = queue.next_expiry()
        until_expiry = seconds if expiry is None else max(0.001, expiry - self._broker.clock())
        self._broker.changed.wait(min(seconds, until_expiry, POLL_SECONDS))


def _received(delivery: Delivery) -> Any:
    message = delivery.message
    received = types.ReceivedMessage.pb()(ack_id=delivery.ack_id)
    received.message.data = message.data
    received.message.attributes.update(message.attributes)
    received.message.ordering_key = message.ordering_key
    received.message.message_id = message.message_id
    received.message.publish_time.FromNanoseconds(round((message.publish_time or 0.0) * 1e6) * 1000)
    return received


def _definition(subscription: Any) -> Any:
    subscription.definition.topic = subscription.topic
    return subscription.definition


def handlers(broker: Broker) -> Sequence[grpc.GenericRpcHandler]:
    """The two services of a broker, for a gRPC server."""
    calls = Calls(broker)

    def guarded(call: Callable[..., Any]) -> Callable[..., Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                broker.refuse_when_down(call.__name__)
                return call(request, context)
            except Refused as refused:
                context.abort(refused.code, str(refused))

        return answer

    def guarded_stream(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            broker.refuse_when_down("streaming_pull")
            yield from calls.streaming_pull(requests, context)
        except Refused as refused:
            context.abort(refused.code, str(refused))

    def unary(request: Any, response: Any, call: Callable[..., Any]) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(guarded(call), request.FromString, response.SerializeToString)

    def pb(name: str) -> Any:
        return getattr(types, name).pb()

    nothing = empty_pb2.Empty
    publisher = {
        "CreateTopic": unary(pb("Topic"), pb("Topic"), calls.create_topic),
        "GetTopic": unary(pb("GetTopicRequest"), pb("Topic"), calls.get_topic),
        "ListTopics": unary(pb("ListTopicsRequest"), pb("ListTopicsResponse"), calls.list_topics),
        "ListTopicSubscriptions": unary(
            pb("ListTopicSubscriptionsRequest"),
            pb("ListTopicSubscriptionsResponse"),
            calls.list_topic_subscriptions,
        ),
        "DeleteTopic": unary(pb("DeleteTopicRequest"), nothing, calls.delete_topic),
        "Publish": unary(pb("PublishRequest"), pb("PublishResponse"), calls.publish),
    }
    subscriber = {
        "CreateSubscription": unary(pb("Subscription"), pb("Subscription"), calls.create_subscription),
        "GetSubscription": unary(pb("GetSubscriptionRequest"), pb("Subscription"), calls.get_subscription),
        "ListSubscriptions": unary(
            pb("ListSubscriptionsRequest"), pb("ListSubscriptionsResponse"), calls.list_subscriptions
        ),
        "DeleteSubscription": unary(pb("DeleteSubscriptionRequest"), nothing, calls.delete_subscription),
        "Acknowledge": unary(pb("AcknowledgeRequest"), nothing, calls.acknowledge),
        "ModifyAckDeadline": unary(pb("ModifyAckDeadlineRequest"), nothing, calls.modify_ack_deadline),
        "Pull": unary(pb("PullRequest"), pb("PullResponse"), calls.pull),
        "StreamingPull": grpc.stream_stream_rpc_method_handler(
            guarded_stream, pb("StreamingPullRequest").FromString, pb("StreamingPullResponse").SerializeToString
        ),
    }
    return [
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
        grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
    ]
