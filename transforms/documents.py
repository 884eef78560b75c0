"""What travels between the steps: documents in, entities or failures out.

Their `repr`, which an error of somebody else's may quote, tells neither texts nor records.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Document:
    """One text to read.

    Attributes:
        id: Name of the document; the result and any failure carry it.
        text: The text itself. Every offset in a result counts its code points.
        attributes: Metadata that travels with the document (Pub/Sub attributes, for example).
        timestamp: Event time in seconds since the epoch, if the source knows one. It is carried here
            because `RunInference` moves element timestamps to the end of their window.
        payload: The source's record as it was read, for the dead letter. None means that the record is
            the UTF-8 encoding of `text`.
        receipt: What the source wants back once the document's result or failure is written, so that it does not
            send the document again (a Pub/Sub acknowledgement, for example).
    """

    id: str
    text: str = field(repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None
    payload: bytes | None = field(default=None, repr=False)
    receipt: str | None = None

    @classmethod
    def of(cls, value: Document | str) -> Document:
        """The document itself, or one made of a text, whose id is then a hash of it.

        >>> Document.of("Ann").id
        'text-17239b6e25011033'

        Raises:
            TypeError: if the value is neither.
        """
        if isinstance(value, Document):
            return value
        if not isinstance(value, str):
            raise TypeError(f"a Document is wanted, or a text as str, and not a {type(value).__name__}")
        digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(f"text-{digest[:16]}", value)


@dataclass(frozen=True)
class Failure:
    """A record that could not become a result, and why.

    Attributes:
        payload: The original bytes of the record; empty where a whole file failed.
        error: One sentence saying what is wrong. It never contains the document's text.
        stage: The step that gave up: ``read``, ``parse``, ``classify``, ``group`` or ``write``.
        attributes: The document's attributes, and whatever places the record (``id``, ``source``).
        stacktrace: Where in the code it happened, without the exception's message; empty if there was none.
        timestamp: When it happened, in seconds since the epoch.
        receipt: The document's, or that of a record that became no document.
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
        """The failure of one document, with its original bytes.

        Args:
            document: The document that failed.
            error: The sentence to report. Of an exception only the type and the stack are kept: its message
                could quote the document.
            stage: The step that gave up.
        """
        return cls._of(document, error, stage)

    @classmethod
    def of_result(cls, result: DocumentEntities, error: str | BaseException, stage: str) -> Failure:
        """The failure of one document that has a result already, as `of_document`."""
        return cls._of(result, error, stage)

    @classmethod
    def _of(cls, document: Document | DocumentEntities, error: str | BaseException, stage: str) -> Failure:
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
    """One entity, or one token where the aggregation strategy is ``none``.

    Attributes:
        label: The entity group (``PER``), or the token's own label (``B-PER``) for ``none``.
        score: Probability of the label, between 0 and 1.
        word: The tokenizer's rendering of the tokens, as in Hugging Face.
        start: First code point in the document's text; None if the tokenizer knows no offsets.
        end: Code point after the last; None if the tokenizer knows no offsets.
        text: Exactly the document's ``text[start:end]``; None without offsets.
        index: Position of the token among the model's inputs; only for ``none``.
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
        id: The document's id.
        entities: The entities in order of their place in the text.
        num_tokens: Tokens of the whole text, without special tokens.
        num_windows: Windows that the model read, 1 for a text within its length.
        truncated: True if the end of the text was not read (``long_text="truncate"``).
        model: The checkpoint's name as it was given.
        model_revision: The checkpoint's commit or content hash.
        aggregation_strategy: The strategy that made the entities.
        text: The document's text.
        attributes: The document's attributes.
        timestamp: The document's event time, seconds since the epoch.
        receipt: The document's.
        payload: The document's, for the dead letter of a sink that does not take the result.
    """

    id: str
    entities: tuple[Entity, ...] = field(repr=False)
    num_tokens: int
    num_windows: int
    truncated: bool
    model: str
    model_revision: str
    aggregation_strategy: str
    text: str = field(default="", repr=False)
    attributes: Mapping[str, str] = field(default_factory=dict)
    timestamp: float | None = None
    receipt: str | None = None
    payload: bytes | None = field(default=None, repr=False)
