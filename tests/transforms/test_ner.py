from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.ml.inference.base import KeyedModelHandler, RunInference
from apache_beam.testing.util import assert_that, equal_to
from texts import WRONG_FIELDS

from transforms import (
    ClassifyTokens,
    Document,
    DocumentEntities,
    Entity,
    GroupEntities,
    PreEntities,
    TokenClassificationModelHandler,
    TokenClassifier,
)
from transforms.beam.model_handler import _load
from transforms.beam.ner import count_labels

TEXT = "My name is Ann Smith and I live at 12 Baker Street, London."
FOUND = [("GIVEN_NAME", "Ann"), ("SURNAME", "Smith"), ("BUILDING_NUMBER", "12"), ("STREET_NAME", "Baker Street"), ("CITY", "London")]  # fmt: skip


def _found(result: DocumentEntities) -> tuple[str, list[tuple[str, str | None]]]:
    return result.id, [(entity.label, entity.text) for entity in result.entities]


def test_classifying_does_without_beam() -> None:
    code = f"import sys; from transforms import TokenClassifier; TokenClassifier()({TEXT!r}); print('apache_beam' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )


def test_documents_become_entities() -> None:
    documents = [Document("a", TEXT, {"k": "v"}, timestamp=12.5), Document("b", ""), Document("c", "nothing here")]
    with beam.Pipeline() as pipeline:
        classified = pipeline | beam.Create(documents) | ClassifyTokens()
        results = classified | GroupEntities("first")
        assert_that(results | beam.Map(_found), equal_to([("a", FOUND), ("b", []), ("c", [])]))
        assert_that(classified.failures, equal_to([]), label="no failures")
        carried = results | beam.Map(
            lambda result: (result.id, dict(result.attributes), result.timestamp, result.num_windows)
        )
        assert_that(
            carried, equal_to([("a", {"k": "v"}, 12.5, 1), ("b", {}, None, 1), ("c", {}, None, 1)]), label="carried"
        )


def test_texts_are_taken_too() -> None:
    with beam.Pipeline() as pipeline:
        results = (
            pipeline
            | beam.Create([TEXT])
            | ClassifyTokens("rampart")
            | GroupEntities("first", ignore_labels=["O", "CITY"])
        )
        assert_that(results | beam.Map(_found), equal_to([(Document.of(TEXT).id, FOUND[:-1])]))


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_results_equal_those_without_beam(checkpoint: Callable[[str], Path]) -> None:
    folder = str(checkpoint("roberta"))
    texts = [f"{number}: Ann moved to Paris, Straße {number}." * (1 + number) for number in range(20)]
    for strategy, scores in (("none", "best"), ("simple", "all"), ("first", "best"), ("average", "all")):
        expected = TokenClassifier(folder, aggregation_strategy=strategy)(texts)
        with beam.Pipeline() as pipeline:
            results = pipeline | beam.Create([Document(str(number), text) for number, text in enumerate(texts)]) | ClassifyTokens(folder, scores=scores) | GroupEntities(strategy)  # fmt: skip
            spans = results | beam.Map(lambda result: (int(result.id), [(entity.label, entity.word, entity.start, entity.end) for entity in result.entities]))  # fmt: skip
            assert_that(spans, equal_to([
                (number, [(entity.get("entity_group") or entity["entity"], entity["word"], entity["start"], entity["end"]) for entity in entities])
                for number, entities in enumerate(expected)
            ]))  # fmt: skip


def test_a_bad_document_is_a_failure_and_its_neighbours_are_not() -> None:
    documents = [
        Document(str(number), "Ann \ud83d" if number % 10 == 3 else f"Ann {number}", payload=b"%d" % number)
        for number in range(50)
    ]
    with beam.Pipeline() as pipeline:
        classified = pipeline | beam.Create(documents) | ClassifyTokens()
        failed = classified.failures | beam.Map(
            lambda failure: (failure.payload, failure.stage, failure.attributes["id"])
        )
        assert_that(failed, equal_to([(b"%d" % number, "classify", str(number)) for number in range(3, 50, 10)]))
        ids = classified | GroupEntities("none") | beam.Map(lambda result: int(result.id))
        assert_that(ids, equal_to([number for number in range(50) if number % 10 != 3]), label="neighbours")


@pytest.mark.parametrize("wait", [None, 50])
def test_an_element_that_is_no_document_is_a_failure(wait: int | None) -> None:
    handler = TokenClassificationModelHandler(max_batch_wait_ms=wait)
    elements = [document for document, *_ in WRONG_FIELDS] + [
        None,
        7,
        {"text": "Ann"},
        b"Ann",
        Document(8, "Ann"),
        "Ann",
    ]  # type: ignore[arg-type]
    with beam.Pipeline() as pipeline:
        classified = (
            pipeline | beam.Create([pickle.dumps(elements)]) | beam.FlatMap(pickle.loads) | ClassifyTokens(handler)
        )
        found = classified.predictions | beam.Map(lambda scored: scored.document.id)
        assert_that(found, equal_to(["8", Document.of("Ann").id]), "found")
        failed = classified.failures | beam.Map(lambda failure: (failure.error.split(";")[0], failure.payload))
        expected = [(error.split(";")[0], payload) for _, error, payload in WRONG_FIELDS]
        expected += [
            ("NoneType is not a document", b""),
            ("int is not a document", b"7"),
            ("dict is not a document", b"{'text': 'Ann'}"),
            ("bytes is not a document", b"Ann"),
        ]
        assert_that(failed, equal_to(expected), "failed")
    counted = pipeline.result.metrics().query()["counters"]
    (failures,) = [each.committed for each in counted if each.key.metric.name == "classify_failures"]
    assert failures == len(elements) - 2


def test_group_failures_can_be_had() -> None:
    broken = TokenClassifier().classify([Document("x", TEXT)])[0]
    assert isinstance(broken, PreEntities)
    broken.is_subword.resize(3, refcheck=False)
    with beam.Pipeline() as pipeline:
        grouped = pipeline | beam.Create([broken]) | GroupEntities("first").with_exception_handling()
        assert_that(
            grouped.failures | beam.Map(lambda failure: (failure.stage, failure.payload)),
            equal_to([("group", TEXT.encode())]),
        )
        assert_that(grouped.results, equal_to([]), label="no results")
    with pytest.raises(Exception, match="while running"), beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create([broken]) | GroupEntities("first")


def test_words_need_a_fast_tokenizer(checkpoint: Callable[[str], Path]) -> None:
    scored = TokenClassifier(checkpoint("slow_wordpiece"), engine="torch").classify([Document("x", TEXT)])
    with pytest.raises(Exception, match="requires a fast tokenizer"), beam.Pipeline() as pipeline:
        _ = pipeline | beam.Create(scored) | GroupEntities("first")


@pytest.mark.parametrize("special_tokens", ["text", "special"])
def test_grouping_has_the_tokenizer_of_the_model(
    tmp_path: Path, checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, special_tokens: str
) -> None:
    """It is loaded once, and what becomes of the folder does not matter any more."""
    folder = Path(shutil.copytree(checkpoint("bert_cased"), tmp_path / "model"))
    loaded: list[str] = []
    load = transformers.AutoTokenizer.from_pretrained

    def counted(name: str, **settings: Any) -> Any:
        loaded.append(name)
        return load(name, **settings)

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", counted)
    handler = TokenClassificationModelHandler(str(folder), engine="torch", special_tokens=special_tokens)
    handler.load_model()
    shutil.rmtree(folder)
    with beam.Pipeline() as pipeline:
        results = pipeline | beam.Create([TEXT]) | ClassifyTokens(handler) | GroupEntities("simple")
        assert_that(results | beam.Map(lambda result: len(result.entities) > 0), equal_to([True]))
    assert loaded == [str(folder)]


def test_min_score() -> None:
    with beam.Pipeline() as pipeline:
        results = (
            pipeline | beam.Create([TEXT]) | ClassifyTokens() | GroupEntities("none", ignore_labels=[], min_score=0.99)
        )
        scores = (
            results
            | beam.FlatMap(lambda result: [entity.score >= 0.99 for entity in result.entities])
            | beam.Distinct()
        )
        assert_that(scores, equal_to([True]))


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda: ClassifyTokens("no/such-model"), "model='no/such-model': (not|neither) a folder here"),
    (lambda: ClassifyTokens(engine="jax"), "engine='jax': unknown"),
    (lambda: ClassifyTokens(stride=510), "stride=510: out of range; expected at least 0 and below 510"),
    (lambda: ClassifyTokens(long_text="cut"), "long_text='cut': unknown"),
    (lambda: ClassifyTokens(max_batch_chars=0), "max_batch_chars=0: too small; expected at least 1"),
    (lambda: ClassifyTokens(TokenClassificationModelHandler(), engine="torch"), "engine: not accepted beside a handler"),
    (lambda: GroupEntities("sometimes"), "aggregation_strategy='sometimes': unknown"),
    (lambda: GroupEntities(min_score=2), "min_score=2: out of range; expected a number between 0 and 1"),
    (lambda: GroupEntities(window_join="glue"), "window_join='glue': unknown"),
])  # fmt: skip
def test_mistakes_are_told_when_the_pipeline_is_built(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_the_handler_travels_and_loads_once_a_process() -> None:
    _load.cache_clear()
    handler = TokenClassificationModelHandler(max_batch_tokens=1024)
    first = handler.load_model()
    again = pickle.loads(pickle.dumps(handler)).load_model()
    assert first is again
    assert _load.cache_info().misses == 1


def test_one_load_for_many_bundles_and_pipelines() -> None:
    _load.cache_clear()
    for _ in range(2):
        with beam.Pipeline() as pipeline:
            ids = (
                pipeline
                | beam.Create([str(number) for number in range(100)])
                | beam.Reshuffle()
                | ClassifyTokens()
                | GroupEntities()
            )
            assert_that(ids | beam.combiners.Count.Globally(), equal_to([100]))
    assert _load.cache_info().misses == 1


def test_empty_and_oversized_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = TokenClassificationModelHandler(max_batch_chars=100)
    assert list(handler.run_inference([], handler.load_model())) == []
    texts = ["x" * 500, "Ann", "y" * 300, ""]
    with beam.Pipeline() as pipeline:
        results = pipeline | beam.Create(texts) | ClassifyTokens(handler) | GroupEntities()
        assert_that(results | beam.combiners.Count.Globally(), equal_to([4]))


def test_batches_end_with_their_bundle_unless_they_may_wait() -> None:
    assert "max_batch_duration_secs" not in TokenClassificationModelHandler().batch_elements_kwargs()
    waiting = TokenClassificationModelHandler(max_batch_wait_ms=50).batch_elements_kwargs()
    assert waiting["max_batch_duration_secs"] == 0.05
    assert isinstance(beam.BatchElements(**waiting), beam.BatchElements)


def test_the_handler_works_in_beams_own_run_inference() -> None:
    handler = KeyedModelHandler(TokenClassificationModelHandler())
    with beam.Pipeline() as pipeline:
        keyed = pipeline | beam.Create([("k", Document("a", TEXT))]) | RunInference(handler)
        assert_that(keyed | beam.Map(lambda pair: (pair[0], type(pair[1]).__name__)), equal_to([("k", "PreEntities")]))


def test_counters() -> None:
    pipeline = beam.Pipeline()
    texts = [TEXT, "\ud800", "Ann " * 1200]
    _ = pipeline | beam.Create([Document(str(number), text) for number, text in enumerate(texts)]) | ClassifyTokens(long_text="truncate") | GroupEntities("first")  # fmt: skip
    result = pipeline.run()
    result.wait_until_finish()
    counters = {
        counter.key.metric.name: counter.committed
        for counter in result.metrics().query(MetricsFilter().with_namespace("ner"))["counters"]
    }
    assert counters["documents"] == 2
    assert counters["classify_failures"] == 1
    assert counters["documents_truncated"] == 1
    assert counters["windows"] == 2
    assert counters["tokens"] > 1200
    assert counters["entities"] >= len(FOUND)
    of_labels = {name: count for name, count in counters.items() if name.startswith("entities_")}
    assert {"entities_CITY": 1, "entities_STREET_NAME": 1}.items() <= of_labels.items()
    assert sum(of_labels.values()) == counters["entities"]


def test_labels_beyond_the_first_share_a_counter() -> None:
    labels = ("O", "B-a/b", *(f"B-{number}" for number in range(100)))
    entities = [Entity(label, 1, "x", 0, 1) for label in ("a/b", "B-a/b", "7", "98", "99")]
    assert count_labels(entities, labels) == {
        "entities_a_b": 1, "entities_B_a_b": 1, "entities_7": 1, "entities_of_other_labels": 2,
    }  # fmt: skip
