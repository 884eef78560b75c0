"""Documents and the failures made of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from transforms.documents import Document, DocumentEntities, Entity, Failure
from transforms.pre_entities import PreEntities

SECRET = "Ann Smith, 12 Baker Street"


def test_a_document_is_itself() -> None:
    document = Document("a", "text", {"k": "v"}, 1.5, b"raw")
    assert Document.of(document) is document


# The first 16 digits of well-known hashes: `printf '' | sha256sum` and `printf abc | sha256sum`.
@pytest.mark.parametrize(("text", "digest"), [("", "e3b0c44298fc1c14"), ("abc", "ba7816bf8f01cfea")])
def test_a_text_is_named_by_its_hash(text: str, digest: str) -> None:
    assert Document.of(text) == Document(f"text-{digest}", text, {}, None, None)


@pytest.mark.parametrize("value", [{"text": SECRET}, SECRET.encode(), None])
def test_other_things_are_no_documents(value: object) -> None:
    with pytest.raises(
        TypeError, match=f"^{type(value).__name__} is not a document; expected a Document, or a text as str$"
    ):
        Document.of(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", " ", "Ann", "👩‍👩‍👧‍👦", "\ud800", "a\x00b"], ids=ascii)
def test_equal_texts_have_equal_names_and_others_do_not(text: str) -> None:
    assert Document.of(text) == Document.of(text)
    assert Document.of(text).text == text
    assert Document.of(text).id != Document.of(text + "?").id


def test_lone_surrogates_differ() -> None:
    assert Document.of("\ud800").id != Document.of("\ud801").id


def test_what_python_says_of_them_quotes_nothing() -> None:
    document = Document("a", SECRET, {"k": "v"}, payload=SECRET.encode())
    entity = Entity("PER", 0.5, SECRET, 0, 9, SECRET)
    result = DocumentEntities(document, (entity,), 1, 1, False, "m", "r", "first")
    pre_entities = PreEntities.from_dicts(
        [{"word": SECRET, "scores": [0.5], "start": 0, "end": 9, "index": 1, "is_subword": False}]
    )
    held = [document, Failure.of_document(document, "no", "group"), result, replace(pre_entities, document=document)]
    assert [each for each in held if "Ann" in repr(each) or "Baker" in repr(each)] == []
    assert "'a'" in repr(document)
    assert "'v'" in repr(document)


def test_documents_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Document.of("a").text = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "payload", "expected"),
    [
        ("Ann", None, b"Ann"),
        ("", None, b""),
        ("Zoë 👍", None, b"Zo\xc3\xab \xf0\x9f\x91\x8d"),
        ("a\ud800b", None, b"a\xed\xa0\x80b"),  # no UTF-8, and yet not lost
        ("Ann", b'{"text": "Ann"}', b'{"text": "Ann"}'),
        ("Zo\ufffd", b"Zo\xff", b"Zo\xff"),  # the record as it was, not as it was decoded
        ("Ann", b"", b""),  # an empty record is a record
    ],
)
def test_a_failure_carries_the_original_bytes(text: str, payload: bytes | None, expected: bytes) -> None:
    failure = Failure.of_document(Document("a", text, payload=payload), "too long", "classify")
    assert failure.payload == expected


def test_a_sentence_is_reported_as_it_is() -> None:
    failure = Failure.of_document(Document("a", "Ann"), "the text is empty", "parse")
    assert (failure.error, failure.stage, failure.stacktrace) == ("the text is empty", "parse", "")


def raised(error: Callable[[], BaseException]) -> BaseException:
    try:
        raise error()
    except BaseException as caught:
        return caught


def chained() -> BaseException:
    try:
        raise KeyError(SECRET)
    except KeyError as cause:
        try:
            raise RuntimeError(f"while reading {SECRET}") from cause
        except RuntimeError as caught:
            return caught


def with_context() -> BaseException:
    error = OSError(5, SECRET, SECRET)
    error.__context__ = ValueError(SECRET)
    return error


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ValueError(f"cannot read {SECRET!r}"), "ValueError"),
        (lambda: UnicodeEncodeError("ascii", SECRET, 0, 1, SECRET), "UnicodeEncodeError"),
        (chained, "RuntimeError"),
        (with_context, "OSError"),
        (lambda: SystemExit(SECRET), "SystemExit"),
    ],
)
def test_of_an_exception_only_type_and_place_are_kept(make: Callable[[], BaseException], name: str) -> None:
    document = Document("a", SECRET, {"source": "s"})
    failure = Failure.of_document(document, raised(make), "classify")
    assert failure.error == f"classify failed with {name}"
    assert 'test_documents.py", line ' in failure.stacktrace
    assert ", in raised\n" in failure.stacktrace
    for part in (failure.error, failure.stage, failure.stacktrace, *failure.attributes.values()):
        for secret in (SECRET, "Ann", "Baker"):
            assert secret not in part


def test_an_exception_that_was_never_raised_has_no_stack() -> None:
    failure = Failure.of_document(Document("a", SECRET), ValueError(SECRET), "group")
    assert (failure.error, failure.stacktrace) == ("group failed with ValueError", "")


def test_a_failure_has_the_attributes_and_the_id() -> None:
    attributes = {"source": "s", "id": "not the document's"}
    failure = Failure.of_document(Document("a", "Ann", attributes), "too long", "read")
    assert failure.attributes == {"source": "s", "id": "a"}
    assert attributes == {"source": "s", "id": "not the document's"}


def test_a_failure_is_stamped_with_the_present() -> None:
    before = time.time()
    failure = Failure.of_document(Document("a", "Ann", timestamp=1.0), "too long", "read")
    assert before <= failure.timestamp <= time.time()
