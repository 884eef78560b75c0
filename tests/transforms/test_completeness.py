"""Nothing is lost: not in long texts, not in large ones, not between threads.

`BEAM_NER_LONG=1` reads 20 MB beside 5 MB, and has the model read 100,000 tokens instead of 10,000.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms import Document, PreEntities, TokenClassifier
from transforms.aggregation.rules import EntityRules
from transforms.beam.ner import group_document

LONG = bool(os.environ.get("BEAM_NER_LONG"))
STEP = 100  # tokens from one name to the next
NAMES = 1000
READ_NAMES = NAMES if LONG else 100
READ_AT_ONCE = 1000 if LONG else 400  # documents of each thread


class Reads:
    """An engine that knows one word and nothing else, so that what is found is exact."""

    name, device, precision = "reads", "cpu", "fp32"

    def __init__(self, word_id: int, label: int, num_labels: int) -> None:
        self.word_id, self.label, self.num_labels = word_id, label, num_labels

    def logits(self, input_ids: np.ndarray, *_: Any) -> np.ndarray:
        logits = np.zeros((*input_ids.shape, self.num_labels), np.float32)
        logits[..., 0] = 5
        logits[input_ids == self.word_id, self.label] = 10
        return logits


def reading(word: str, **settings: Any) -> TokenClassifier:
    """The embedded model's tokenizer and windows, with an engine that finds this word."""
    classify = TokenClassifier("rampart", special_tokens="text", **settings)
    ((word_id,),) = [encoded.ids.tolist() for encoded in classify.tokenization.encode([word])]
    label = {label: number for number, label in classify.id2label.items()}["B-GIVEN_NAME"]
    classify.scorer.engine = Reads(word_id, label, len(classify.id2label))
    return classify


@pytest.mark.parametrize("window_join", ["entities", "tokens"])
@pytest.mark.parametrize("stride", [None, 0, 37, 509])
def test_each_of_a_thousand_names_is_found(stride: int | None, window_join: str) -> None:
    """At every place in a window: windows advance by another number of tokens than the names."""
    names = NAMES if stride != 509 else 20  # windows that advance by one token
    classify = reading("ann", stride=stride, window_join=window_join)
    text = ("ann" + " x" * (STEP - 1) + " ") * names
    for strategy in ("none", "first"):
        found = classify(text, aggregation_strategy=strategy)
        assert [(entity["start"], entity["end"]) for entity in found] == [
            (start, start + 3) for start in range(0, len(text), len(text) // names)
        ]


def test_the_model_finds_each_name_in_a_long_text() -> None:
    classify = TokenClassifier("rampart", special_tokens="text", aggregation_strategy="first", precision="bf16")
    sentence = "My name is Ann Smith and I write to you again. "
    filler = "The train was late again, so we read the paper and drank a cup of tea. "
    text = (sentence + filler * 5) * READ_NAMES
    (scored,) = classify.classify([Document("long", text)])
    assert isinstance(scored, PreEntities)
    assert scored.num_tokens >= STEP * READ_NAMES
    entities = group_document(scored, EntityRules.of("first")).entities
    period = len(text) // READ_NAMES
    for label, word in (("GIVEN_NAME", "Ann"), ("SURNAME", "Smith")):
        found = {entity.start for entity in entities if entity.label == label and entity.text == word}
        expected = {number * period + sentence.index(word) for number in range(READ_NAMES)}
        assert expected <= found, (label, len(expected - found))


def test_sixteen_threads_give_what_one_gives(checkpoint: Callable[[str], Path]) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch", batch_timeout_seconds=60)
    dice = random.Random(0)
    vocabulary = "Anna wohnt in der Straße des 17. Juni Berlin brown fox lazy dog O'Neil New-York 東京 🙂".split()
    documents = [
        Document(str(number), " ".join(dice.choices(vocabulary, k=dice.randint(1, 6))))
        for number in range(READ_AT_ONCE)
    ]
    serial = [outcome for document in documents for outcome in classify.classify([document])]
    outcomes: dict[int, Any] = {}

    def work(number: int) -> None:
        order = random.Random(number).sample(range(READ_AT_ONCE), READ_AT_ONCE)
        scored = classify.classify([documents[place] for place in order])
        outcomes[number] = dict(zip(order, scored, strict=True))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(16):
        for place, alone in enumerate(serial):
            same = outcomes[number][place]
            assert isinstance(alone, PreEntities)
            assert same.document is documents[place]
            assert same.words.tolist() == alone.words.tolist()
            np.testing.assert_allclose(same.scores, alone.scores, atol=1e-4)
            np.testing.assert_array_equal(same.start, alone.start)


CHILD = """
import json, sys
from transforms import Document
from transforms.aggregation.strategies import AggregationStrategy
from transforms.aggregation.rules import EntityRules
from transforms.beam.ner import group_document
sys.path.append({tests!r})
from {module} import reading

def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024

classify = reading("ann")
before = peak()
text = "ann" + " lorem ipsum dolor sit amet, consectetur adipiscing elit" * 9 + ". "
text *= {megabytes} * 1_000_000 // len(text)
(scored,) = classify.classify([Document("large", text)], scores="best")
result = group_document(scored, EntityRules.of("first"))
print(json.dumps({{"names": len(result.entities), "expected": text.count("ann"), "before": before, "peak": peak()}}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux")
@pytest.mark.parametrize(("megabytes", "ceiling"), [(5, 1024), (20, 2048)][: 2 if LONG else 1])
def test_a_large_document_within_bounds_of_memory(megabytes: int, ceiling: int) -> None:
    """Everything but the forward pass, whose memory goes by the batch; the ceiling is in MiB, the process's own too."""
    code = CHILD.format(tests=str(Path(__file__).parent), module=Path(__file__).stem, megabytes=megabytes)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    measured = json.loads(ran.stdout)
    assert measured["names"] == measured["expected"] > megabytes * 1000
    assert measured["peak"] < ceiling, measured
