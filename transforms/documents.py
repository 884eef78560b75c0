"""The data types that the steps exchange: documents in, entities or failures out.

An error message of another library may quote the `repr` of a document, a result or a failure. So it contains neither
texts nor records.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
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
    """

    id: str
    text: str = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None
    payload: bytes | None = field(default=None, repr=False)
    receipt: str | None = None

    @classmethod
    def of(cls, value: Document | str) -> Document:
        """Return a document as it is, or make one from a text. Its id is then a hash of the text.

        >>> Document.of("Ann").id
        'text-17239b6e25011033'

        Raises:
            TypeError: if the value is neither a document nor a text.
        """
        if isinstance(value, Document):
            return value
        if not isinstance(value, str):
            raise TypeError(f"{type(value).__name__} is not a document; expected a Document, or a text as str")
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(f"text-{digest[:16]}", value)


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
        payload = document.payload
        if payload is None:
            payload = document.text.encode("utf-8", "surrogatepass")
        stacktrace = ""
        if isinstance(error, BaseException):
            stacktrace = "".join(traceback.format_tb(error.__traceback__))
            error = f"{stage} failed with {type(error).__name__}"
        attributes = {**document.attributes, "id": document.id}
        return cls(payload, error, stage, attributes, stacktrace, receipt=document.receipt)


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
