"""What travels comes out of its coder as it went in, and equal values are equal bytes."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.io.files.matching import Shard
from pipeline.io.files.shard_coder import ShardCoder
from transforms import AggregationStrategy, Document, DocumentEntities, Failure, PreEntities, TokenClassifier
from transforms.aggregation.rules import EntityRules
from transforms.beam.coders import (
    DocumentCoder,
    DocumentEntitiesCoder,
    FailureCoder,
    OutcomeCoder,
    PreEntitiesCoder,
    RecordCoder,
    pack,
    unpack,
)
from transforms.beam.ner import group_document
from transforms.documents import Entity
from transforms.pre_entities import ModelInfo, object_column

TEXT = st.text(st.characters())  # lone surrogates too
OPTIONAL = st.none() | TEXT
WHOLE = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False)
ATTRIBUTES = st.dictionaries(TEXT, TEXT, max_size=3)
DOCUMENTS = st.builds(
    Document, TEXT, TEXT, ATTRIBUTES, timestamp=st.none() | FLOATS, payload=st.none() | st.binary(), receipt=OPTIONAL
)
FAILURES = st.builds(Failure, st.binary(), TEXT, TEXT, ATTRIBUTES, TEXT, FLOATS, OPTIONAL)
ENTITIES = st.builds(Entity, TEXT, FLOATS, TEXT, st.none() | WHOLE, st.none() | WHOLE, OPTIONAL, st.none() | WHOLE)
RESULTS = st.builds(
    DocumentEntities, DOCUMENTS, st.lists(ENTITIES, max_size=3).map(tuple), WHOLE, WHOLE, st.booleans(), TEXT, TEXT,
    TEXT,
)  # fmt: skip
SHARDS = st.builds(Shard, TEXT, st.integers(0, 2**60), st.none() | st.integers(0, 2**60))
MODELS = st.builds(ModelInfo, TEXT, TEXT, TEXT, OPTIONAL, st.lists(TEXT, max_size=4).map(tuple), OPTIONAL)
CASES = [(DocumentCoder(), DOCUMENTS), (FailureCoder(), FAILURES), (DocumentEntitiesCoder(), RESULTS), (ShardCoder(), SHARDS)]  # fmt: skip
EVERY = [DocumentCoder(), FailureCoder(), DocumentEntitiesCoder(), ShardCoder(), PreEntitiesCoder()]


@st.composite
def pre_entities(draw: st.DrawFn) -> PreEntities:
    rows, labels, windows = draw(st.integers(0, 5)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    seed = np.random.default_rng(draw(st.integers(0, 1000)))
    offsets = draw(st.booleans())
    return PreEntities(
        scores=seed.random((rows, labels), np.float64).astype(draw(st.sampled_from(["<f4", "<f8", "<f2"]))),
        words=object_column(draw(st.lists(TEXT, min_size=rows, max_size=rows))),
        start=seed.integers(0, 2**40, rows) if offsets else None,
        end=seed.integers(0, 2**40, rows) if offsets else None,
        index=seed.integers(0, 99, rows),
        is_subword=seed.random(rows) < 0.5,
        window_starts=np.arange(windows),
        window_offsets=np.arange(windows)[::-1],
        num_tokens=draw(WHOLE),
        truncated=draw(st.booleans()),
        document=draw(DOCUMENTS),
        model=draw(MODELS),
        label=seed.integers(0, labels + 1, rows).astype(np.uint8) if draw(st.booleans()) else None,
    )


def assert_equal(left: PreEntities, right: PreEntities) -> None:
    for field in dataclasses.fields(PreEntities):
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, np.ndarray):
            assert (one.dtype, one.shape, one.tolist()) == (other.dtype, other.shape, other.tolist())
        else:
            assert one == other


@pytest.mark.parametrize(("coder", "values"), CASES, ids=lambda case: type(case).__name__)
def test_values_come_back(coder: RecordCoder, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    def holds(value: Any) -> None:
        encoded = coder.encode(value)
        assert coder.decode(encoded) == value
        assert coder.encode(coder.decode(encoded)) == encoded

    holds()


@given(pre_entities())
def test_columns_come_back(value: PreEntities) -> None:
    coder = PreEntitiesCoder()
    encoded = coder.encode(value)
    assert_equal(coder.decode(encoded), value)
    assert coder.encode(coder.decode(encoded)) == encoded
    assert_equal(OutcomeCoder().decode(OutcomeCoder().encode(value)), value)


@given(FAILURES)
def test_failures_are_outcomes_too(value: Failure) -> None:
    assert OutcomeCoder().decode(OutcomeCoder().encode(value)) == value


@given(DOCUMENTS)
def test_equal_documents_are_the_same_bytes(document: Document) -> None:
    turned = dataclasses.replace(document, attributes=dict(reversed(document.attributes.items())))
    assert DocumentCoder().encode(turned) == DocumentCoder().encode(document)


@settings(max_examples=30)
@given(st.lists(st.none() | st.binary()), st.data())
def test_fields_that_are_cut_are_noticed(fields: list[bytes | None], data: st.DataObject) -> None:
    encoded = pack(fields)
    assert unpack(encoded) == fields
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(ValueError, match=r"is truncated|has \d+ bytes; expected \d+"):
        unpack(encoded[:cut])


@pytest.mark.parametrize("coder", EVERY, ids=lambda coder: type(coder).__name__)
def test_another_version_is_refused(coder: RecordCoder) -> None:
    for encoded in (b"", b"\x63", b"\x00\x00"):
        with pytest.raises(ValueError, match=f"{coder.record.__name__} is encoded in version"):
            coder.decode(encoded)


def test_the_layout_of_version_1() -> None:
    """What was written by a job that runs must be read by the one that takes its place."""
    document = Document("a", "ü", {"k": "v"}, 1.5, None, "r")
    written = bytes.fromhex(
        "01"  # the version
        "06000000" "01000000" "02000000" "0e000000" "08000000" "ffffffff" "01000000"  # how many fields, their lengths
        "61" "c3bc" "0200000001000000010000006b76" "000000000000f83f" "72"
    )  # fmt: skip
    assert DocumentCoder().encode(document) == written
    assert DocumentCoder().decode(written) == document


@pytest.mark.parametrize("coder", EVERY, ids=lambda coder: type(coder).__name__)
def test_beam_uses_them(coder: RecordCoder) -> None:
    known = beam.coders.registry.get_coder(coder.record)
    assert type(known) is type(coder)
    assert known.is_deterministic()
    assert type(pickle.loads(pickle.dumps(known))) is type(coder)
    assert known == coder
    assert known.to_type_hint() is coder.record


def scored_text(times: int) -> PreEntities:
    text = "Anna wrote to Max Miller in Berlin about order 12345 from 12 Baker Street, London. " * times
    made = TokenClassifier().classify([Document("tickets/1.jsonl:123", text, {"source": "x"}, 12.5, b"{}" * 50, "receipt")])[0]  # fmt: skip
    assert isinstance(made, PreEntities)
    return made


@pytest.fixture(scope="module")
def scored() -> PreEntities:
    return scored_text(3)


def test_decoded_columns_are_grouped_alike(scored: PreEntities) -> None:
    decoded = PreEntitiesCoder().decode(PreEntitiesCoder().encode(scored))
    for strategy in AggregationStrategy:
        rules = EntityRules.of(strategy)
        assert group_document(decoded, rules) == group_document(scored, rules)


def calls(function: Callable[..., Any], *arguments: Any) -> int:
    """How many functions are called on the way, those in C too."""
    count = 0

    def note(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function(*arguments)
    finally:
        sys.setprofile(before)
    return count


def test_columns_are_encoded_whole(scored: PreEntities) -> None:
    """Not token by token; only each word becomes a text again. `make bench-overhead` measures the time."""
    coder, longer = PreEntitiesCoder(), scored_text(30)
    more, few = len(longer) - len(scored), 50  # a call or two are the interpreter's
    assert more > 10 * few
    assert calls(coder.encode, longer) < calls(coder.encode, scored) + few
    assert calls(coder.decode, coder.encode(longer)) < calls(coder.decode, coder.encode(scored)) + more + few
    short, long = (DocumentCoder().encode(each.document) for each in (scored, longer))
    assert calls(DocumentCoder().encode, longer.document) < calls(DocumentCoder().encode, scored.document) + few
    assert calls(DocumentCoder().decode, long) < calls(DocumentCoder().decode, short) + few
