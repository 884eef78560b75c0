"""The data types that the steps exchange: documents in, entities or failures out.

An error message of another library may quote the `repr` of a document, a result or a failure. So it contains neither
texts nor records.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

NO_FIELDS: Mapping[str, Any] = {}
"""The fields of a document that passes none on."""


@dataclass(frozen=True, init=False)
class Document:
    """One text to classify.

    Attributes:
        id: The document's name, which its result or failure contains too.
        text: The text. Every offset in a result counts its code points.
        attributes: Metadata that is passed on to the result or failure (Pub/Sub attributes, for example).
        timestamp: Event time in seconds since the epoch; None if the source has none. It is a field because
            `RunInference` moves element timestamps to the end of their window.
        payload: The source's record as it was read, for the dead letter. None means that the record is
            the UTF-8 encoding of `text`.
        receipt: A string to acknowledge the document to its source (to ack a Pub/Sub message, for example). This is
            done after the result or failure is written, so that the source does not redeliver the document.
        fields: Other fields of the source's record, which are passed on to the result, as JSON values.
    """

    id: str
    text: str = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None
    payload: bytes | None = field(default=None, repr=False)
    receipt: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __init__(
        self,
        id: str,
        text: str,
        attributes: Mapping[str, str] = NO_FIELDS,
        timestamp: float | None = None,
        payload: bytes | None = None,
        receipt: str | None = None,
        fields: Mapping[str, Any] = NO_FIELDS,
    ) -> None:
        """Sets the fields.

        The `__init__` of a frozen dataclass takes twice as long, since it sets each field by a call.
        """
        self.__dict__.update(
            id=id,
            text=text,
            attributes={} if attributes is NO_FIELDS else attributes,
            timestamp=timestamp,
            payload=payload,
            receipt=receipt,
            fields=fields,
        )

    @classmethod
    def of(cls, value: Document | str) -> Document:
        """Return a document, or make one from a text. Its id is then a hash of the text.

        A number as an id becomes text.

        >>> Document.of("Ann").id
        'text-17239b6e25011033'
        >>> Document.of(Document(7, "Ann")).id
        '7'

        Raises:
            TypeError: if the value is neither a document nor a text.
        """
        if isinstance(value, Document):
            is_number = isinstance(value.id, int) and not isinstance(value.id, bool)
            return replace(value, id=str(value.id)) if is_number else value
        if not isinstance(value, str):
            raise TypeError(f"{type(value).__name__} is not a document; expected a Document, or a text as str")
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(f"text-{digest[:16]}", value)

    def problem(self) -> str | None:
        """Return the reason for which a field has a wrong type, in one sentence; None if all are right."""
        for name, kind in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind):
                return f"the field {name} is of type {type(value).__name__}; expected {_named(kind)}"
        for key, value in self.attributes.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                return f"an attribute is of type {type(value).__name__}; expected str, with a name of type str"
        return None


_TYPES: dict[str, Any] = {
    "id": str,
    "text": str,
    "attributes": Mapping,
    "timestamp": float | int | None,
    "payload": bytes | None,
    "receipt": str | None,
    "fields": Mapping,
}
"""The types of a document's fields."""


def _named(kind: Any) -> str:
    return str(getattr(kind, "__name__", kind))


@dataclass(frozen=True)
class Failure:
    """A record that did not become a result, and the reason.

    Attributes:
        payload: The original bytes of the record; empty if a whole file failed.
        error: One sentence about the cause. It never contains the document's text.
        stage: The step that failed: ``read``, ``parse``, ``classify``, ``group`` or ``write``.
        attributes: The document's attributes, and keys that identify the record (``id``, ``source``).
        stacktrace: The stack trace without the exception's message; empty if there was no exception.
        timestamp: The time of the failure, in seconds since the epoch.
        receipt: The receipt of the document, or of the record that did not become a document.
    """

    payload: bytes = field(repr=False)
    error: str
    stage: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    stacktrace: str = ""
    timestamp: float = field(default_factory=time.time)
    receipt: str | None = None

    @classmethod
    def of_document(cls, document: Document, error: str | BaseException, stage: str) -> Failure:
        """Return the failure of one document, with its original bytes.

        Args:
            document: The document that failed.
            error: The sentence to report, or an exception. Only the type and the stack of an exception are kept,
                because its message could quote the document.
            stage: The step that failed.
        """
        payload = document.payload if isinstance(document.payload, bytes) else bytes_of(document.text)
        stacktrace = ""
        if isinstance(error, BaseException):
            stacktrace = "".join(traceback.format_tb(error.__traceback__))
            error = f"{stage} failed with {type(error).__name__}"
        given = document.attributes if isinstance(document.attributes, Mapping) else {}
        attributes = {**{str(key): str(value) for key, value in given.items()}, "id": str(document.id)}
        receipt = document.receipt if isinstance(document.receipt, str) else None
        return cls(payload, error, stage, attributes, stacktrace, receipt=receipt)


def bytes_of(value: Any) -> bytes:
    """Return a value as the bytes of a record: a text in UTF-8, nothing for None, the `repr` of other objects.

    >>> bytes_of("Ann"), bytes_of(b"x"), bytes_of(None), bytes_of(7)
    (b'Ann', b'x', b'', b'7')
    """
    if isinstance(value, bytes):
        return value
    if value is None:
        return b""
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Entity:
    """One entity, or one token if the aggregation strategy is ``none``.

    Attributes:
        label: The entity group (``PER``), or the token's own label (``B-PER``) for ``none``.
        score: The probability of the label, between 0 and 1.
        word: The tokenizer's rendering of the tokens, as in Hugging Face.
        start: The first code point in the document's text; None if the tokenizer has no offsets.
        end: The code point after the last one; None if the tokenizer has no offsets.
        text: The document's ``text[start:end]``, unchanged; None without offsets.
        index: The token's position in the model's input, special tokens counted; only for ``none``.
    """

    label: str
    score: float
    word: str
    start: int | None
    end: int | None
    text: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class DocumentEntities:
    """The result for one document.

    Attributes:
        document: The document, with its receipt and its original bytes.
        entities: The entities in order of their position in the text.
        num_tokens: The number of tokens of the whole text, without special tokens.
        num_windows: The number of windows that the model read; 1 for a text that fits in one.
        truncated: True if a part of the text was not read (``long_text="truncate"``).
        model: The checkpoint's name as it was given.
        model_revision: The checkpoint's commit or content hash.
        aggregation_strategy: The strategy that made the entities.
    """

    document: Document
    entities: tuple[Entity, ...] = field(repr=False)
    num_tokens: int
    num_windows: int
    truncated: bool
    model: str
    model_revision: str
    aggregation_strategy: str

    @property
    def id(self) -> str:
        """The document's id."""
        return self.document.id

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text

    @property
    def attributes(self) -> Mapping[str, str]:
        """The document's attributes."""
        return self.document.attributes

    @property
    def timestamp(self) -> float | None:
        """The document's event time, in seconds since the epoch."""
        return self.document.timestamp

    @property
    def receipt(self) -> str | None:
        """The document's receipt."""
        return self.document.receipt
