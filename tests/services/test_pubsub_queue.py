"""A subscription's queue by itself, with a clock that the test turns."""

from __future__ import annotations

from services.pubsub_queue import PULL_BYTES, Delivery, Message, Queue


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(*, ordered: bool = False, deliver_times: int = 1, keys: str = "") -> tuple[Queue, Clock]:
    """A queue with a deadline of 10 s and a message "0", "1"… for each of some one-letter ordering keys."""
    clock = Clock()
    queue = Queue(10, ordered=ordered, deliver_times=deliver_times, clock=clock)
    for number, key in enumerate(keys):
        queue.add(Message(str(number).encode(), ordering_key=key, message_id=str(number)))
    return queue, clock


def ids(deliveries: list[Delivery]) -> str:
    return "".join(delivery.message.message_id for delivery in deliveries)


def test_a_lease_hides_a_message_until_its_deadline():
    queue, clock = make(keys="xyz")
    first = queue.lease(2)
    assert ids(first) == "01"
    assert ids(queue.lease(10)) == "2"
    clock.now = 9.9
    assert queue.lease(10) == []
    clock.now = 10
    again = queue.lease(10)
    assert ids(again) == "012"
    assert {d.ack_id for d in again}.isdisjoint(d.ack_id for d in first)
    assert [d.attempt for d in again] == [2, 2, 2]
    assert queue.counts.expired == 3


def test_an_old_ack_id_does_nothing():
    queue, clock = make(keys="x")
    [old] = queue.lease(1)
    clock.now = 11
    queue.acknowledge([old.ack_id])
    assert queue.unacknowledged() == 1
    [new] = queue.lease(1)
    queue.acknowledge([old.ack_id])
    queue.modify_deadline([old.ack_id], 0)
    assert queue.outstanding() == 1
    queue.acknowledge([new.ack_id, new.ack_id])
    assert (queue.outstanding(), queue.unacknowledged()) == (0, 0)
    assert (queue.counts.acknowledged, queue.counts.stale) == (1, 4)


def test_an_extension_counts_from_now():
    queue, clock = make(keys="x")
    [delivery] = queue.lease(1)
    clock.now = 8
    queue.modify_deadline([delivery.ack_id], 10)
    clock.now = 17.9
    assert queue.lease(1) == []
    clock.now = 18
    assert ids(queue.lease(1)) == "0"
    assert queue.counts.extensions == 1


def test_a_nack_gives_back_at_once():
    queue, _ = make(keys="xy")
    [delivery] = queue.lease(1)
    queue.modify_deadline([delivery.ack_id], 0)
    assert ids(queue.lease(5)) == "01"
    assert queue.counts.nacks == 1


def test_a_shorter_deadline_ends_sooner():
    queue, clock = make(keys="x")
    [delivery] = queue.lease(1, deadline_seconds=60)
    queue.modify_deadline([delivery.ack_id], 5)
    clock.now = 5
    assert ids(queue.lease(1)) == "0"


def test_a_key_waits_for_its_message_before():
    queue, clock = make(ordered=True, keys="aabba")
    first = queue.lease(10)
    assert ids(first) == "02"
    assert queue.unacknowledged() == 5
    queue.acknowledge([first[0].ack_id])
    assert ids(queue.lease(10)) == "1"
    clock.now = 10
    assert ids(queue.lease(10)) == "12"


def test_keys_do_not_matter_where_order_is_not_asked_for():
    queue, _ = make(keys="aaa")
    assert ids(queue.lease(10)) == "012"


def test_messages_without_a_key_have_no_order_to_wait_for():
    queue, _ = make(ordered=True)
    for number in range(3):
        queue.add(Message(b"x", message_id=str(number)))
    assert ids(queue.lease(10)) == "012"


def test_every_message_three_times_though_acknowledged():
    queue, _ = make(deliver_times=3, keys="xy")
    seen = ""
    while deliveries := queue.lease(1):
        seen += ids(deliveries)
        queue.acknowledge(delivery.ack_id for delivery in deliveries)
    assert seen == "010101"
    assert queue.unacknowledged() == 0


def test_duplicates_do_not_break_a_keys_order():
    queue, _ = make(ordered=True, deliver_times=2, keys="aa")
    seen = ""
    while deliveries := queue.lease(5):
        seen += ids(deliveries)
        queue.acknowledge(delivery.ack_id for delivery in deliveries)
    assert seen == "0011"


def test_one_answer_has_bounded_bytes_or_one_message():
    queue, _ = make()
    for number, size in enumerate([PULL_BYTES - 1, 2, PULL_BYTES + 1, 1]):
        queue.add(Message(b"x" * size, message_id=str(number)))
    assert [ids(queue.lease(10)) for _ in range(4)] == ["0", "1", "2", "3"]


def test_a_holders_messages_are_counted():
    queue, _ = make(keys="xyz")
    one, other = object(), object()
    queue.lease(1, holder=one)
    queue.lease(2, holder=other)
    assert (queue.outstanding(one), queue.outstanding(other), queue.outstanding()) == (1, 2, 3)
