"""One document that fails, hangs or is too long costs its neighbours nothing, and the job goes on."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream
from apache_beam.testing.util import assert_that, equal_to

from transforms import (
    ClassifyTokens,
    Document,
    Failure,
    PreEntities,
    TokenClassificationModelHandler,
    TokenClassifier,
)
from transforms.beam.model_handler import _load
from transforms.classifier import token_classifier
from transforms.engines import timeouts
from transforms.engines.base import BatchTimeoutError, ModelHungError
from transforms.engines.loading import load_engine
from transforms.engines.timeouts import CallTimeout
from transforms.inference.isolation import run_isolating_failures
from transforms.metrics import Counts
from transforms.settings import ModelSettings

TestStream.__test__ = False  # type: ignore[attr-defined]

LIMIT = 0.5  # seconds, which do not pass by the clock here: see `Call`
HANGS, SLOW = "brown", "lazy"


class Call(timeouts._Call):
    """A call that is late when what it is made to hangs, and never because the machine is busy.

    What hangs is a `Patient`, which takes one call at a time.
    """

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        super().__init__(function, arguments)
        self.ended = Ended(getattr(function, "__self__", None))


class Patient:
    """What may hang.

    Attributes:
        hangs: Set by itself when it begins to.
        given_up: Set when the caller has left.
    """

    def __init__(self) -> None:
        self.hangs, self.given_up = threading.Event(), threading.Event()

    def hang(self, until: threading.Event) -> None:
        if not until.is_set():
            self.hangs.set()
            until.wait()


class Ended(threading.Event):
    """The end of a call to something."""

    def __init__(self, called: Any) -> None:
        super().__init__()
        self._called = called

    def wait(self, timeout: float | None = None) -> bool:
        end = time.monotonic() + 300
        while not super().wait(0.01) and time.monotonic() < end:
            if isinstance(self._called, Patient) and self._called.hangs.is_set():
                self._called.hangs.clear()
                self._called.given_up.set()
                return False
        return self.is_set()


class Hospital:
    """Engines that hang on one word until they are let go, and are slow with several texts of another."""

    def __init__(self, hanging: np.ndarray, slow: np.ndarray) -> None:
        self.hanging, self.slow = hanging, slow
        self.release = threading.Event()
        self.loads = 0
        self.hung: list[int] = []  # texts of each batch that hung

    def load(self, *arguments: Any, **settings: Any) -> Any:
        self.loads += 1
        hospital, engine = self, load_engine(*arguments, **settings)

        class Sick(Patient):
            name, device, precision = "sick", "cpu", "fp32"

            def __init__(self) -> None:
                super().__init__()
                self.lock = threading.Lock()

            def logits(self, input_ids: np.ndarray, *others: Any) -> np.ndarray:
                with self.lock:  # whoever hangs here holds it, as in a real engine
                    if any(np.isin(hospital.hanging, row).all() for row in input_ids):
                        hospital.hung.append(len(input_ids))
                        self.hang(hospital.release)
                    if sum(np.isin(hospital.slow, row).all() for row in input_ids) > 1:
                        self.hang(self.given_up)
                    return engine.logits(input_ids, *others)

        return Sick()


@pytest.fixture
def hospital(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    tokenization = TokenClassifier(checkpoint("bert_cased"), engine="torch").tokenization
    hospital = Hospital(*(encoded.ids for encoded in tokenization.encode([HANGS, SLOW])))
    monkeypatch.setattr(token_classifier, "load_engine", hospital.load)
    monkeypatch.setattr(timeouts, "_Call", Call)
    _load.cache_clear()
    yield hospital
    hospital.release.set()
    _load.cache_clear()


def documents(texts: list[str]) -> list[Document]:
    return [Document(str(number), text) for number, text in enumerate(texts)]


def test_a_document_that_hangs_the_model_is_a_failure(hospital: Hospital, checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=LIMIT)
    texts = ["Ann", "in Paris"] * 8 + [HANGS] + ["Bob is here", "London"] * 8
    outcomes = classify.classify(documents(texts))
    assert [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Failure)] == [16]
    failure = outcomes[16]
    assert isinstance(failure, Failure)
    assert failure.error == "the batch was not done after 0.5 seconds"
    assert (failure.stage, failure.payload) == ("classify", HANGS.encode())
    assert hospital.hung[1:] == [1]  # once with its neighbours, and then alone
    assert hospital.loads == 3
    assert classify.take_counts() == {"batch_timeouts": 2, "batch_splits": 1}
    assert classify._watch is not None
    assert classify._watch.stuck == 2
    assert all(isinstance(outcome, PreEntities) for outcome in classify.classify(documents(["Ann", "Paris"])))
    hospital.release.set()
    ended(classify._watch)


def ended(watch: CallTimeout) -> None:
    """Waits until what was stuck has ended."""
    end = time.monotonic() + 300
    while watch.stuck and time.monotonic() < end:
        time.sleep(0.01)
    assert watch.stuck == 0


def test_a_batch_that_is_slow_is_read_in_parts(hospital: Hospital, checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=LIMIT)
    outcomes = classify.classify(documents([f"{number} {SLOW}" for number in range(6)]))
    assert all(isinstance(outcome, PreEntities) for outcome in outcomes)
    assert classify.take_counts() == {"batch_timeouts": 1, "batch_splits": 1}
    assert classify._watch is not None
    ended(classify._watch)


def test_those_who_wait_for_a_batch_that_hangs_are_not_blamed(
    hospital: Hospital, checkpoint: Callable[[str], Path]
) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=LIMIT)
    texts = [HANGS] + [f"Ann {number} in Paris" for number in range(15)]
    outcomes: dict[str, Any] = {}
    together = threading.Barrier(len(texts))

    def work(text: str) -> None:
        together.wait()
        (outcomes[text],) = classify.classify([Document(text, text)])

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [text for text in texts if isinstance(outcomes[text], Failure)] == [HANGS]
    assert hospital.loads == 2


def test_too_many_that_hang_are_an_error(hospital: Hospital, checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=0.1)
    with pytest.raises(ModelHungError, match="8 batches hang in this process, and cannot be ended"):
        classify.classify(documents([f"{number} {HANGS}" for number in range(40)]))
    assert len(hospital.hung) == 8
    hospital.release.set()
    assert classify._watch is not None
    ended(classify._watch)
    assert all(isinstance(outcome, PreEntities) for outcome in classify.classify(documents([HANGS])))


def test_a_model_that_cannot_be_loaded_anew_is_an_error(
    hospital: Hospital, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=0.1)
    monkeypatch.setattr(classify.scorer.engine, "_load", lambda: 1 / 0)
    with pytest.raises(ModelHungError, match="loading it again failed: ZeroDivisionError"):
        classify.classify(documents(["Ann", HANGS]))


def test_a_tokenizer_that_hangs(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=LIMIT)
    release, encode = threading.Event(), classify.tokenization.encode

    class Tokenizer(Patient):
        def encode(self, texts: list[str], words: bool = False) -> Any:
            if HANGS in texts:
                self.hang(release)
            return encode(texts, words)

    monkeypatch.setattr(timeouts, "_Call", Call)
    monkeypatch.setattr(classify.tokenization, "encode", Tokenizer().encode)
    outcomes = classify.classify(documents(["Ann", HANGS, "Paris"]))
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, True, False]
    release.set()


@pytest.mark.parametrize("streaming", [False, True])
def test_in_a_pipeline(hospital: Hospital, checkpoint: Callable[[str], Path], streaming: bool) -> None:
    handler = TokenClassificationModelHandler(
        str(checkpoint("bert_cased")), engine="torch", batch_timeout_seconds=LIMIT, max_document_chars=20
    )
    examples = documents(["Ann", HANGS, "x" * 21, "y" * 20, "Paris \ud800", "London"])
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), options=PipelineOptions(streaming=streaming))
    source: Any = beam.Create(examples)
    if streaming:
        source = TestStream().add_elements(examples).advance_processing_time(1).advance_watermark_to_infinity()
    classified = pipeline | source | ClassifyTokens(handler)
    failed = classified.failures | beam.Map(lambda failure: (failure.attributes["id"], failure.error))
    assert_that(failed, equal_to([
        ("1", "the batch was not done after 0.5 seconds"),
        ("2", "the text has 21 characters, more than max_document_chars=20"),
        ("4", "the text contains half a surrogate pair at position 6, which is not a character"),
    ]))  # fmt: skip
    ids = classified.predictions | beam.Map(lambda scored: scored.document.id)
    assert_that(ids, equal_to(["0", "3", "5"]), label="results")
    ran = pipeline.run()
    ran.wait_until_finish()
    counters = {found.key.metric.name: found.committed for found in ran.metrics().query(MetricsFilter())["counters"]}
    assert counters["classify_failures"] == 3
    assert counters["batch_timeouts"] >= 1
    assert counters["batch_splits"] >= 1


def test_the_limits_of_a_handler_must_make_sense(checkpoint: Callable[[str], Path]) -> None:
    for arguments, sentence in (
        ({"max_document_chars": 0}, "^max_document_chars=0: too small; expected at least 1"),
        (
            {"batch_timeout_seconds": -1},
            "^batch_timeout_seconds=-1: out of range; expected at least 0, which is no limit",
        ),
        ({"batch_timeout_seconds": float("nan")}, "^batch_timeout_seconds=nan: out of range; expected at least 0"),
        ({"special_tokens": "none"}, "^special_tokens='none': unknown; expected one of text, special"),
    ):
        with pytest.raises(ValueError, match=sentence):
            TokenClassificationModelHandler(str(checkpoint("bert_cased")), **arguments)  # type: ignore[arg-type]
    ModelSettings(batch_timeout_seconds=0)


# The parts


@pytest.mark.parametrize(("total", "culprits", "most_splits"), [
    (1024, [700], 10),
    (1000, [0], 10),
    (1000, [1, 999], 20),
    (1000, [*range(0, 1000, 100)], 100),
    (7, [*range(7)], 6),
])  # fmt: skip
def test_splits_are_few_and_counted(total: int, culprits: list[int], most_splits: int) -> None:
    counts = Counts()

    def work(items: list[int]) -> list[int]:
        if set(items) & set(culprits):
            raise KeyError
        return items

    results = run_isolating_failures(work, range(total), counts)  # type: ignore[arg-type]
    assert [number for number, result in enumerate(results) if isinstance(result, KeyError)] == culprits
    assert [result for result in results if not isinstance(result, KeyError)] == [
        number for number in range(total) if number not in culprits
    ]
    assert counts.take()["batch_splits"] <= most_splits
    assert counts.take() == {}


def test_a_watch_gives_what_the_call_gives() -> None:
    watch = CallTimeout(300)
    assert watch.call(max, 1, 2) == 2
    with pytest.raises(ZeroDivisionError):
        watch.call(divmod, 1, 0)
    names = {watch.call(threading.current_thread).name for _ in range(3)}
    assert names == {"watched-call"}
    assert len(watch._idle) == 1  # one thread has made all the calls


def test_a_watch_lets_go_of_its_threads_and_of_what_it_was_given() -> None:
    class Given:
        pass

    watch, given = CallTimeout(300), Given()
    thread = watch.call(threading.current_thread)
    watch.call(id, given)
    reference = weakref.ref(given)
    del given
    gc.collect()
    assert reference() is None
    del watch
    gc.collect()
    thread.join(300)
    assert not thread.is_alive()


def test_a_call_that_is_late_is_stuck_until_it_ends() -> None:
    watch, release = CallTimeout(0.05, most_stuck=1), threading.Event()
    with pytest.raises(BatchTimeoutError):
        watch.call(release.wait)
    with pytest.raises(ModelHungError):
        watch.call(int)
    release.set()
    ended(watch)
    watch._seconds = 300
    assert watch.call(int) == 0
