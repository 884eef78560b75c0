"""The transforms between Beam and a broker, in this process."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import graphs
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.transforms.window import FixedWindows
from google.api_core import exceptions
from outputs import failure_payload
from services.pubsub_broker import PATIENCE_SECONDS, Broker
from services.pubsub_queue import Message as Sent

from pipeline.io.pubsub import clients, publishing
from pipeline.io.pubsub.acknowledge import Acknowledge
from pipeline.io.pubsub.read import ReadMessages
from pipeline.io.pubsub.readers import close_all, drain_all
from pipeline.io.pubsub.write import WriteFailureMessages, WriteResultMessages
from transforms.documents import Document, DocumentEntities, Failure

P = "projects/beam-ner-tests"
IN, OUT, DEAD, SUBSCRIPTION = f"{P}/topics/in", f"{P}/topics/out", f"{P}/topics/dead", f"{P}/subscriptions/s"
STREAMING = PipelineOptions(["--streaming"])


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    with Broker() as running:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running.address)
        for topic in (IN, OUT, DEAD):
            running.create_topic(topic)
        running.create_subscription(SUBSCRIPTION, IN)
        yield running
        close_all(1)


def result_of(document: Document) -> DocumentEntities:
    return DocumentEntities(document, (), 1, 1, False, "m", "r", "first")


def run_until(pipeline: beam.Pipeline, condition: Callable[[], bool]) -> bool:
    """Runs a stream, and drains it when a condition holds; gives whether it ever did."""
    held: list[bool] = []

    def watch() -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition() and time.monotonic() < end:
            time.sleep(0.05)
        held.append(condition())
        drain_all()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    pipeline.run().wait_until_finish()
    watcher.join()
    close_all(5)
    return held[0]


_panes: defaultdict[str, list[list[str]]] = defaultdict(list)


def _note_pane(keyed: tuple[str, Any], window: Any = beam.DoFn.WindowParam) -> str:
    ids = sorted(document.id for document in keyed[1])
    _panes[window.start.to_utc_datetime().isoformat()].append(ids)
    return keyed[0]


def _receipts(keyed: tuple[str, Any]) -> list[str]:
    return [document.receipt for document in keyed[1]]


def test_windows_close_over_a_backlog_that_is_an_hour_old(broker: Broker) -> None:
    """All of it is on time, each in the window of its event time, and windows close while the stream goes on."""
    _panes.clear()
    begin = (time.time() - 3600) // 60 * 60
    broker.publish(IN, [Sent(b"x", {"key": f"{n:04}"}, publish_time=begin + n / 2) for n in range(1200)])
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), options=STREAMING)
    grouped = (
        (pipeline | ReadMessages(SUBSCRIPTION, "text", id_attribute="key")).documents
        | "Window" >> beam.WindowInto(FixedWindows(60))
        | "Key" >> beam.WithKeys("all")
        | "Group" >> beam.GroupByKey()
    )
    _ = grouped | "Note" >> beam.Map(_note_pane)
    _ = grouped | "Receipts" >> beam.FlatMap(_receipts) | Acknowledge()
    # The last window has closed before the drain: event time went on with the clock when nothing more came.
    assert run_until(pipeline, lambda: broker.unacknowledged(SUBSCRIPTION) == 0)
    assert {len(panes) for panes in _panes.values()} == {1}
    assert [pane for _, (pane,) in sorted(_panes.items())] == [
        [f"{n:04}" for n in range(first, first + 120)] for first in range(0, 1200, 120)
    ]


def test_a_portable_runner_pulls_by_a_splittable_step(broker: Broker) -> None:
    """FnApiRunner flushes its stages only at the end; what was handed on is acknowledged then, and nothing before."""
    broker.publish(IN, [Sent(b"Ann", {"key": str(n)}) for n in range(300)])
    pipeline = beam.Pipeline(FnApiRunner(), options=STREAMING)
    read = pipeline | ReadMessages(SUBSCRIPTION, "text", id_attribute="key")
    written = read.documents | beam.Map(result_of) | WriteResultMessages(OUT)
    buried = (read.failures, written.failures) | beam.Flatten() | WriteFailureMessages(DEAD)
    _ = (written.receipts, buried.receipts) | "Receipts" >> beam.Flatten() | Acknowledge()
    assert run_until(pipeline, lambda: len(broker.messages(OUT)) == 300)
    assert {m.attributes["id"] for m in broker.messages(OUT)} == {str(n) for n in range(300)}
    assert broker.unacknowledged(SUBSCRIPTION) == 0


def test_dataflow_reads_with_its_own_reader() -> None:
    options = PipelineOptions(["--runner=DataflowRunner", "--streaming"])
    for source in (SUBSCRIPTION, IN):
        # Only the options name Dataflow: the runner itself would look for its bucket when the pipeline is made.
        pipeline = beam.Pipeline(FnApiRunner(), options=options)
        _ = pipeline | ReadMessages(source, "text", id_attribute="key", timestamp_attribute="at")
        (native,) = graphs.transforms_of(pipeline, beam.io.ReadFromPubSub)
        assert (native._source.id_label, native._source.timestamp_attribute) == ("key", "at")
        assert native._source.with_attributes
        assert source in (
            f"{P}/subscriptions/{native._source.subscription_name}",
            f"{P}/topics/{native._source.topic_name}",
        )


def test_a_topic_is_read_by_a_subscription_for_as_long_as_the_run(broker: Broker) -> None:
    broker.publish(IN, [Sent(b"too early")])
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), options=STREAMING)
    read = pipeline | ReadMessages(IN, "text", id_attribute="key")
    _ = (read.documents | beam.Map(result_of) | WriteResultMessages(OUT)).receipts | Acknowledge()
    made: list[str] = []

    def all_out() -> bool:
        others = set(broker.subscriptions(IN)) - {SUBSCRIPTION}
        if others and not made:
            made.extend(others)
            broker.publish(IN, [Sent(b"Ann", {"key": str(n)}) for n in range(300)])
        return bool(made) and len(broker.messages(OUT)) == 300 and broker.unacknowledged(made[0]) == 0

    assert run_until(pipeline, all_out)
    assert {m.attributes["id"] for m in broker.messages(OUT)} == {str(n) for n in range(300)}
    assert broker.subscriptions(IN) == [SUBSCRIPTION]


def test_a_topic_that_nobody_may_subscribe_to_is_told(broker: Broker) -> None:
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), options=STREAMING)
    _ = pipeline | ReadMessages(f"{P}/topics/gone", "text")
    with pytest.raises(Exception, match="Resource not found"):
        pipeline.run().wait_until_finish()


def test_a_topic_is_not_read_on_other_runners() -> None:
    with pytest.raises(ValueError, match="which this runner does not read"):
        _ = beam.Pipeline(FnApiRunner(), options=STREAMING) | ReadMessages(IN, "text")


def test_an_unknown_format() -> None:
    with pytest.raises(ValueError, match=r"^input_format=csv: unknown for messages; expected one of text, jsonl"):
        ReadMessages(SUBSCRIPTION, "csv")


def results(count: int, **changes: Any) -> list[DocumentEntities]:
    documents = [Document(f"d{n}", f"text {n}", {"key": f"k{n % 3}"}, receipt=f"receipt {n}") for n in range(count)]
    return [result_of(document) for document in documents]


_seen: dict[str, list[Any]] = defaultdict(list)
_counters: dict[str, int] = {}


def _see(element: Any, name: str) -> None:
    _seen[name].append(element)


def write(given: list[Any], transform: beam.PTransform) -> tuple[list[str], list[Failure]]:
    """Runs a sink over some elements in batch; gives its receipts and failures."""
    _seen.clear()
    with beam.Pipeline(FnApiRunner()) as pipeline:
        written = pipeline | beam.Create(given) | transform
        _ = written.receipts | "SeeReceipts" >> beam.Map(_see, "receipts")
        _ = written.failures | "SeeFailures" >> beam.Map(_see, "failures")
    _counters.clear()
    _counters.update(
        (counter.key.metric.name, counter.result) for counter in pipeline.result.metrics().query()["counters"]
    )
    return sorted(_seen["receipts"]), _seen["failures"]


def test_results_with_ordering_keys_keep_their_order(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    publish = clients.publisher().publish
    keys: list[set[str]] = []

    def watched(request: Any, **settings: Any) -> Any:
        keys.append({message.ordering_key for message in request.messages})
        return publish(request=request, **settings)

    monkeypatch.setattr(clients.publisher(), "publish", watched)
    receipts, failures = write(results(2500), WriteResultMessages(OUT, ordering_key_attribute="key"))
    assert failures == []
    assert receipts == sorted(f"receipt {n}" for n in range(2500))
    for key in ("k0", "k1", "k2"):
        ids = [int(m.attributes["id"][1:]) for m in broker.messages(OUT) if m.ordering_key == key]
        assert ids == list(range(int(key[1:]), 2500, 3))
    assert {len(request) for request in keys} == {1}  # or the service would refuse it


def test_a_message_that_the_service_refuses_takes_none_along(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever rule of the service's it was that this program does not know."""
    publish = clients.publisher().publish

    def strict(request: Any, **settings: Any) -> Any:
        if any(message.attributes["id"] in ("d7", "d30") for message in request.messages):
            raise exceptions.InvalidArgument("a rule nobody knew")
        return publish(request=request, **settings)

    monkeypatch.setattr(clients.publisher(), "publish", strict)
    receipts, failures = write(results(50), WriteResultMessages(OUT))
    assert {failure.receipt for failure in failures} == {"receipt 7", "receipt 30"}
    assert {failure.stage for failure in failures} == {"write"}
    assert len(receipts) == 48
    assert len(broker.messages(OUT)) == 48


def test_an_outage_while_publishing_is_waited_out(broker: Broker) -> None:
    def end_outage() -> None:
        broker.wait_for(lambda: broker.refusals["publish"] > 2)
        broker.set_unavailable(0)

    broker.set_unavailable()
    threading.Thread(target=end_outage, daemon=True).start()
    receipts, failures = write(results(10), WriteResultMessages(OUT))
    assert (len(receipts), failures) == (10, [])
    assert _counters["publish_retries"] > 2


def test_a_topic_that_is_gone_ends_the_run_with_nothing_acknowledged(broker: Broker) -> None:
    with pytest.raises(Exception, match="404 Resource not found"):
        write(results(3), WriteResultMessages(f"{P}/topics/gone"))
    assert _seen["receipts"] == []


def test_requests_keep_to_the_limits() -> None:
    messages = [publishing.Outgoing(b"x" * size) for size in (1, 3_999_000, 2_000_000, 2_500_000, 9_900_000, 5)]
    sizes = [[len(m.data) for m in request] for request in publishing._requests(messages)]
    assert sizes == [[1, 3_999_000], [2_000_000], [2_500_000], [9_900_000], [5]]
    assert [len(r) for r in publishing._requests([publishing.Outgoing(b"")] * 2500)] == [1000, 1000, 500]


def test_failures_to_a_topic(broker: Broker) -> None:
    given = [Failure(bytes([255, n]), f"error {n}", "parse", {"n": str(n)}, receipt=f"receipt {n}") for n in range(5)]
    receipts, failures = write(given, WriteFailureMessages(DEAD))
    assert (receipts, failures) == ([f"receipt {n}" for n in range(5)], [])
    dead = broker.messages(DEAD)
    assert sorted(failure_payload(m.data, m.attributes) for m in dead) == [bytes([255, n]) for n in range(5)]
    assert {json.loads(m.data)["errorMessage"] for m in dead} == {f"error {n}" for n in range(5)}
