"""A model that is replaced while documents flow: no result of two versions, none lost, and no broken version taken."""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import checkpoint_factory
import numpy as np
import pytest
import shelf
import transformers
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
from apache_beam.testing.test_stream import TestStream

from transforms import ClassifyTokens, Document, GroupEntities, PreEntities, TokenClassificationModelHandler
from transforms.aggregation.rules import EntityRules
from transforms.beam.ner import group_document
from transforms.checkpoints.cache import pin_tokenizer, pinned_tokenizer
from transforms.checkpoints.versions import newest_version
from transforms.classifier.refreshing import RefreshingClassifier
from transforms.classifier.token_classifier import TokenClassifier
from transforms.documents import DocumentEntities
from transforms.tokenization import registry
from transforms.tokenization.registry import tokenizer_folder

TestStream.__test__ = False  # type: ignore[attr-defined]

PATIENCE_SECONDS = 300.0  # until what must happen has happened
SETTINGS = {"engine": "torch", "threads": 1}
TEXTS = [f"{number}: Ann moved to Paris, Straße {number}." for number in range(8)]


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three checkpoints; the last has another tokenizer and other labels."""
    root = tmp_path_factory.mktemp("versions")
    tokenizer = checkpoint_factory.wordpiece(lowercase=False)
    made = [
        checkpoint_factory.save(root / f"v{seed}", transformers.BertConfig(**checkpoint_factory.small(tokenizer)), tokenizer, checkpoint_factory.BIO, seed=seed)
        for seed in (1, 2)
    ]  # fmt: skip
    return [*made, checkpoint_factory.electra_uncased(root / "v3")]


@pytest.fixture
def folder(tmp_path: Path, versions: list[Path]) -> Path:
    return Path(shutil.copytree(versions[0], tmp_path / "model"))


def no_pause(seconds: float) -> None:
    """Nothing changes in between."""


def overwrite(source: Path, target: Path) -> None:
    """File by file, the weights last, as a copy does."""
    for path in sorted(source.iterdir(), key=lambda path: path.suffix == ".safetensors"):
        shutil.copyfile(path, target / path.name)


def swap(source: Path, target: Path) -> None:
    """A folder in place of another."""
    shutil.copytree(source, target.with_name("new"))
    target.rename(target.with_name("old"))
    target.with_name("new").rename(target)


def revision(folder: Path) -> str:
    return TokenClassifier(folder, **SETTINGS).model_revision


# Replaced while it is used


def test_every_result_is_of_one_version_and_none_is_lost(folder: Path, versions: list[Path]) -> None:
    expected = {}
    for version in versions:
        reference = TokenClassifier(version, **SETTINGS)
        expected[reference.model_revision] = dict(zip(TEXTS, reference.classify([Document(text, text) for text in TEXTS]), strict=True))  # fmt: skip
    model = RefreshingClassifier(str(folder), 0.05, SETTINGS)
    outcomes: list[list[Any]] = [[] for _ in range(3)]
    sent, over = Counter[str](), threading.Event()

    def flow(number: int) -> None:
        batch = 0
        while not over.is_set():
            documents = [Document(f"{number}-{batch}-{text}", text) for text in TEXTS]
            sent.update(document.id for document in documents)
            outcomes[number].append(model.classify(documents))
            batch += 1
            time.sleep(0.005)

    def wait_for(wanted: str) -> None:
        """Until a batch has come out of this revision."""
        limit = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < limit and all(
            batch[0].model.revision != wanted for of_thread in outcomes for batch in of_thread[-1:]
        ):
            time.sleep(0.02)

    threads = [threading.Thread(target=flow, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    wait_for(model.current.model_revision)
    for replace, version in ((overwrite, versions[1]), (swap, versions[2])):
        wanted = revision(version)
        replace(version, folder)
        wait_for(wanted)
    over.set()
    for thread in threads:
        thread.join()

    batches = [batch for of_thread in outcomes for batch in of_thread]
    assert Counter(outcome.document.id for batch in batches for outcome in batch) == sent
    for batch in batches:
        (made,) = {outcome.model.revision for outcome in batch}
        for outcome in batch:
            same = expected[made][outcome.document.text]
            assert outcome.words.tolist() == same.words.tolist()
            np.testing.assert_allclose(outcome.scores, same.scores, atol=1e-5)
            assert outcome.model.labels == same.model.labels
    assert {batch[0].model.revision for batch in batches} == set(expected)
    for of_thread in outcomes:  # and none goes back
        seen = [batch[0].model.revision for batch in of_thread]
        assert len(list(dict.fromkeys(seen))) == sum(left != right for left, right in itertools.pairwise(seen)) + 1  # fmt: skip
    assert model.take_counts() == {"model_refreshes": 2}
    assert model.take_counts() == {}


def test_old_results_keep_their_tokenizer(folder: Path, versions: list[Path]) -> None:
    model = RefreshingClassifier(str(folder), 60, SETTINGS, starts=False)
    (old,) = model.classify([Document("a", TEXTS[0])])
    assert isinstance(old, PreEntities)
    before = group_document(old, EntityRules.of("simple", ignore_labels=()))
    swap(versions[2], folder)
    assert model.refresh(no_pause)
    (new,) = model.classify([Document("a", TEXTS[0])])
    assert isinstance(new, PreEntities)
    assert new.model.tokenizer_revision != old.model.tokenizer_revision
    assert new.model.name == old.model.name == str(folder)
    registry._entries.clear()
    assert group_document(old, EntityRules.of("simple", ignore_labels=())) == before
    fresh = TokenClassifier(versions[2], **SETTINGS).classify([Document("a", TEXTS[0])])[0]
    expected = [entity.word for entity in group_document(fresh, EntityRules.of("simple", ignore_labels=())).entities]  # type: ignore[arg-type]
    assert [entity.word for entity in group_document(new, EntityRules.of("simple", ignore_labels=())).entities] == expected  # fmt: skip


def test_another_worker_finds_the_tokenizer_or_says_that_it_cannot(
    folder: Path, versions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = pin_tokenizer(folder)
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "another"))
    assert pinned_tokenizer(pinned) is None
    assert tokenizer_folder(str(folder), pinned) == folder
    assert pinned_tokenizer(pinned) is not None
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "a third"))
    overwrite(versions[2], folder)
    with pytest.raises(ValueError, match=r"tokenizer='.*model': was replaced"):
        tokenizer_folder(str(folder), pinned)


# Broken versions


def with_weights(folder: Path, change: Callable[[bytearray], Any]) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))


def flipped(data: bytearray) -> None:
    data[-40_000:-36_000] = np.random.default_rng(0).bytes(4000)


def not_numbers(data: bytearray) -> None:
    data[-4000:] = np.full(1000, np.nan, np.float32).tobytes()


def cut(data: bytearray) -> None:
    del data[len(data) // 2 :]


def with_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


BROKEN: dict[str, Callable[[Path], Any]] = {
    "flipped bits": lambda folder: with_weights(folder, flipped),
    "not a number": lambda folder: with_weights(folder, not_numbers),
    "half copied": lambda folder: with_weights(folder, cut),
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "half a tokenizer": lambda folder: (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:5000]),
    "no classifier of tokens": lambda folder: with_config(folder, architectures=["BertForSequenceClassification"]),
    "other sizes": lambda folder: with_config(folder, hidden_size=64),
    "other labels": lambda folder: with_config(folder, id2label={"0": "O", "1": "X"}, label2id={"O": 0, "X": 1}),
    "no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "no window": lambda folder: with_config(folder, max_position_embeddings=1),
    "no configuration": lambda folder: (folder / "config.json").unlink(),
    "nothing": shutil.rmtree,
}  # fmt: skip


@pytest.mark.parametrize("problem", BROKEN)
def test_a_broken_version_is_not_taken(
    problem: str, folder: Path, versions: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    model = RefreshingClassifier(str(folder), 60, SETTINGS, starts=False)
    first = model.current
    overwrite(versions[1], folder)
    BROKEN[problem](folder)
    with caplog.at_level(logging.ERROR, "transforms.classifier.refreshing"):
        for _ in range(3):
            assert not model.refresh(no_pause)
    (record,) = caplog.records
    assert f"a new version cannot be used, so revision {first.model_revision} is kept: " in record.getMessage()
    assert "\n" not in record.getMessage()
    assert model.take_counts() == {"model_refresh_failures": 1}
    assert model.current is first
    assert isinstance(model.classify([Document("a", TEXTS[0])])[0], PreEntities)

    folder.mkdir(exist_ok=True)
    overwrite(versions[1], folder)
    assert model.refresh(no_pause)
    assert model.current.model_revision == revision(versions[1])
    assert model.take_counts() == {"model_refreshes": 1}


def test_a_first_version_must_be_good(folder: Path) -> None:
    with_weights(folder, not_numbers)
    with pytest.raises(ValueError, match="corrupt weights of nan"):
        RefreshingClassifier(str(folder), 60, SETTINGS)


def test_what_is_still_written_is_let_be(folder: Path, versions: list[Path]) -> None:
    model = RefreshingClassifier(str(folder), 60, SETTINGS, starts=False)
    shutil.copyfile(versions[1] / "model.safetensors", folder / "model.safetensors")
    assert not model.refresh(lambda seconds: (folder / "new.txt").write_text("changes"))
    assert model.take_counts() == {}
    assert not model.refresh(lambda seconds: True)  # the end of the process comes in between
    assert model.refresh(no_pause)


def test_what_changes_while_it_is_loaded_is_not_taken(
    folder: Path, versions: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = RefreshingClassifier(str(folder), 60, SETTINGS, starts=False)
    first = model.current
    overwrite(versions[2], folder)

    def slow(*_: object) -> None:
        shutil.copyfile(versions[1] / "config.json", folder / "config.json")

    with monkeypatch.context() as patched:
        patched.setattr("transforms.classifier.token_classifier.check_answers", slow)
        assert not model.refresh(no_pause)
    assert model.current is first
    assert model.take_counts() == {}
    overwrite(versions[2], folder)
    assert model.refresh(no_pause)


def test_files_that_are_touched_are_no_new_version(folder: Path) -> None:
    model = RefreshingClassifier(str(folder), 60, SETTINGS, starts=False)
    os.utime(folder / "config.json", (1, 1))
    assert not model.refresh(no_pause)
    assert model.take_counts() == {}


# Patterns and remote folders


def test_the_newest_of_a_pattern(tmp_path: Path, versions: list[Path]) -> None:
    for number, version in enumerate(versions):
        copy = tmp_path / f"ner-{number}"
        shutil.copytree(version, copy)
        for path in copy.iterdir():
            os.utime(path, (1000 - number, 1000 - number))
    (tmp_path / "ner-empty").mkdir()
    (tmp_path / "ner-file").write_text("")
    pattern = f"{tmp_path}/ner-*"
    assert newest_version(pattern).name == f"{tmp_path}/ner-0"
    model = RefreshingClassifier(pattern, 60, SETTINGS, starts=False)
    assert not model.refresh(no_pause)
    os.utime(tmp_path / "ner-2" / "tokenizer.json", (2000, 2000))
    assert model.refresh(no_pause)
    (outcome,) = model.classify([Document("a", TEXTS[0])])
    assert isinstance(outcome, PreEntities)
    assert outcome.model.name == f"{tmp_path}/ner-2"
    half = tmp_path / "ner-3"
    shutil.copytree(versions[1], half)
    with_weights(half, cut)
    assert not model.refresh(no_pause)
    assert model.take_counts() == {"model_refreshes": 1, "model_refresh_failures": 1}


@pytest.mark.parametrize("pattern", ["model", "mod*"])
def test_remote_folders(pattern: str, folder: Path, versions: list[Path]) -> None:
    model = RefreshingClassifier(f"{shelf.PREFIX}{folder.parent}/{pattern}", 60, SETTINGS, starts=False)
    overwrite(versions[2], folder)
    assert model.refresh(no_pause)
    (outcome,) = model.classify([Document("a", TEXTS[0])])
    assert isinstance(outcome, PreEntities)
    assert outcome.model.revision == revision(versions[2])
    assert outcome.model.name == f"{shelf.PREFIX}{folder.parent}/model"
    assert group_document(outcome, EntityRules.of("none")).model_revision == revision(versions[2])


# The handler


class Replace(beam.DoFn):
    """Replaces the model when a certain document comes, and waits until the handler has seen it."""

    def __init__(self, handler: TokenClassificationModelHandler, source: Path, target: Path) -> None:
        self._handler = handler
        self._source = source
        self._target = target

    def process(self, document: Document) -> Any:
        if document.id == "replace":
            model = self._handler.load_model()
            former, limit = model.current, time.monotonic() + PATIENCE_SECONDS  # type: ignore[union-attr]
            overwrite(self._source, self._target)
            while model.current is former and time.monotonic() < limit:  # type: ignore[union-attr]
                time.sleep(0.02)
        yield document


def noted(result: DocumentEntities, path: str) -> None:
    with open(path, "a") as file:  # noqa: PTH123
        file.write(f"{result.id} {result.model_revision}\n")


def test_in_a_stream(folder: Path, versions: list[Path], tmp_path: Path) -> None:
    first = revision(folder)
    handler = TokenClassificationModelHandler(str(folder), model_refresh_seconds=0.05, **SETTINGS)  # type: ignore[arg-type]
    stream = TestStream()
    for name in ("before", "replace", "after"):
        stream = stream.add_elements([Document(name, TEXTS[0])]).advance_processing_time(1)
    pipeline = beam.Pipeline(BundleBasedDirectRunner(), options=PipelineOptions(streaming=True))
    results = pipeline | stream.advance_watermark_to_infinity() | beam.ParDo(Replace(handler, versions[1], folder)) | ClassifyTokens(handler) | GroupEntities()  # fmt: skip
    _ = results | beam.Map(noted, f"{tmp_path}/results")
    pipeline.run().wait_until_finish()
    made = dict(line.split() for line in (tmp_path / "results").read_text().splitlines())
    assert made == {"before": first, "replace": revision(versions[1]), "after": revision(versions[1])}


def test_refreshes_are_counted_with_the_next_batch(folder: Path, versions: list[Path]) -> None:
    handler = TokenClassificationModelHandler(str(folder), model_refresh_seconds=60, **SETTINGS)  # type: ignore[arg-type]
    model = handler.load_model()
    assert isinstance(model, RefreshingClassifier)
    assert handler.load_model() is model
    overwrite(versions[1], folder)
    assert model.refresh(no_pause)
    with_weights(folder, not_numbers)
    assert not model.refresh(no_pause)
    pipeline = beam.Pipeline()
    _ = pipeline | beam.Create([Document("a", TEXTS[0])]) | ClassifyTokens(handler)
    ran = pipeline.run()
    ran.wait_until_finish()
    counters = {counter.key.metric.name: counter.committed for counter in ran.metrics().query(MetricsFilter())["counters"]}  # fmt: skip
    assert counters["model_refreshes"] == counters["model_refresh_failures"] == 1


def test_a_process_watches_a_model_once_and_lets_go_of_it(folder: Path) -> None:
    def watching() -> int:
        return sum(thread.name == "model-refresh" for thread in threading.enumerate())

    before = watching()
    model = RefreshingClassifier(str(folder), 0.05, SETTINGS)
    assert watching() == before + 1
    del model
    gc.collect()
    limit = time.monotonic() + PATIENCE_SECONDS
    while watching() > before and time.monotonic() < limit:
        time.sleep(0.02)
    assert watching() == before


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"model_refresh_seconds": 0}, "model_refresh_seconds=0: out of range; expected a finite number above 0"),
        (
            {"model_refresh_seconds": float("nan")},
            "model_refresh_seconds=nan: out of range; expected a finite number above 0",
        ),
        ({"model": "rampart"}, "model='rampart': cannot be refreshed; expected a folder"),
        ({"model": "/no/such-*"}, "model='/no/such-\\*': neither a folder with a config.json"),
        ({"model_revision": "main"}, "model_revision='main': only for models of the Hugging Face hub"),
    ],
)
def test_arguments(changes: dict[str, Any], sentence: str, folder: Path) -> None:
    with pytest.raises(ValueError, match=sentence):
        TokenClassificationModelHandler(**{"model": str(folder), "model_refresh_seconds": 5, **changes})
