"""How what travels between the steps is encoded: without pickle, the same bytes for the same value, with a version.

Importing this module makes Beam use these coders for the types wherever a PCollection is known to hold them.

An encoding is one byte, the version of its type's layout, and then fields. A streaming job can be updated in place
while the layouts stay; a decoder keeps reading every version it knows, so a changed layout gets a new number.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np

from transforms.documents import Document, DocumentEntities, Entity, Failure
from transforms.pre_entities import ModelInfo, PreEntities, object_column

_NONE = 0xFFFFFFFF
_COUNT = struct.Struct("<I")
_FLOAT = struct.Struct("<d")
_INTEGER = struct.Struct("<q")

Fields = list[Any]


def pack(fields: Fields) -> bytes:
    """Some fields of bytes, or of None, as bytes.

    >>> unpack(pack([b"ab", None, b""]))
    [b'ab', None, b'']
    """
    lengths = [_NONE if field is None else len(field) for field in fields]
    return b"".join([struct.pack(f"<{len(fields) + 1}I", len(fields), *lengths), *filter(None, fields)])


def unpack(data: bytes, at: int = 0) -> Fields:
    """The fields that were packed.

    Raises:
        ValueError: If that is not what the bytes are.
    """
    try:
        (count,) = _COUNT.unpack_from(data, at)
        lengths = struct.unpack_from(f"<{count}I", data, at + 4)
    except struct.error:
        raise ValueError("the encoding is cut short") from None
    fields: Fields = []
    at += 4 + 4 * count
    for length in lengths:
        if length == _NONE:
            fields.append(None)
        else:
            fields.append(data[at : at + length])
            at += length
    if at != len(data):
        raise ValueError(f"the encoding has {len(data)} bytes where it says {at}")
    return fields


def from_text(text: str | None) -> bytes | None:
    """A text, or half of a surrogate pair in it, as bytes."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def to_text(data: bytes | None) -> Any:
    """What `from_text` was given."""
    return None if data is None else data.decode("utf-8", "surrogatepass")


def from_integer(number: int | None) -> bytes | None:
    """A whole number of up to 64 bits as bytes."""
    return None if number is None else _INTEGER.pack(number)


def to_integer(data: bytes | None) -> Any:
    """What `from_integer` was given."""
    return None if data is None else _INTEGER.unpack(data)[0]


def _from_float(number: float | None) -> bytes | None:
    return None if number is None else _FLOAT.pack(number)


def _to_float(data: bytes | None) -> Any:
    return None if data is None else _FLOAT.unpack(data)[0]


def _from_mapping(mapping: Mapping[str, str]) -> bytes:
    # In the order of the keys, so that equal mappings are the same bytes.
    return pack([from_text(text) for item in sorted(mapping.items()) for text in item]) if mapping else b""


def _to_mapping(data: bytes) -> dict[str, str]:
    if not data:
        return {}
    texts = [to_text(field) for field in unpack(data)]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _from_array(array: np.ndarray | None) -> bytes | None:
    if array is None:
        return None
    kind = array.dtype.str.encode()
    return struct.pack(f"<BB{array.ndim}I", len(kind), array.ndim, *array.shape) + kind + array.tobytes()


def _to_array(data: bytes | None) -> Any:
    if data is None:
        return None
    length, dimensions = data[0], data[1]
    at = 2 + 4 * dimensions
    kind = np.dtype(data[at : at + length].decode())
    return np.frombuffer(data, kind, offset=at + length).reshape(struct.unpack_from(f"<{dimensions}I", data, 2))


def _from_words(words: np.ndarray) -> bytes:
    texts = words.tolist()
    lengths = struct.pack(f"<{len(texts) + 1}I", len(texts), *map(len, texts))
    return lengths + "".join(texts).encode("utf-8", "surrogatepass")


def _to_words(data: bytes) -> np.ndarray:
    (count,) = _COUNT.unpack_from(data)
    text = data[4 + 4 * count :].decode("utf-8", "surrogatepass")
    words, at = [], 0
    for length in struct.unpack_from(f"<{count}I", data, 4):
        words.append(text[at : at + length])
        at += length
    return object_column(words)


@functools.lru_cache(maxsize=64)
def _from_model(model: ModelInfo) -> bytes:
    texts = (model.name, model.revision, model.tokenizer, model.tokenizer_revision, *model.labels)
    return pack([from_text(text) for text in texts])


@functools.lru_cache(maxsize=64)
def _to_model(data: bytes) -> ModelInfo:
    name, revision, tokenizer, tokenizer_revision, *labels = (to_text(field) for field in unpack(data))
    return ModelInfo(name, revision, tokenizer, tokenizer_revision, tuple(labels))


def _from_entity(entity: Entity) -> bytes:
    numbers = (from_integer(number) for number in (entity.start, entity.end, entity.index))
    texts = (from_text(text) for text in (entity.label, entity.word, entity.text))
    return pack([*texts, _FLOAT.pack(entity.score), *numbers])


def _to_entity(data: bytes) -> Entity:
    label, word, text, score, start, end, index = unpack(data)
    return Entity(
        to_text(label), _to_float(score), to_text(word), to_integer(start), to_integer(end), to_text(text),
        to_integer(index),
    )  # fmt: skip


def _document_fields(document: Document) -> Fields:
    return [
        from_text(document.id),
        from_text(document.text),
        _from_mapping(document.attributes),
        _from_float(document.timestamp),
        document.payload,
        from_text(document.receipt),
    ]


def _document(fields: Fields) -> Document:
    name, text, attributes, timestamp, payload, receipt = fields
    return Document(
        to_text(name), to_text(text), _to_mapping(attributes), _to_float(timestamp), payload, to_text(receipt)
    )


def _failure_fields(failure: Failure) -> Fields:
    return [
        failure.payload,
        from_text(failure.error),
        from_text(failure.stage),
        _from_mapping(failure.attributes),
        from_text(failure.stacktrace),
        _FLOAT.pack(failure.timestamp),
        from_text(failure.receipt),
    ]


def _failure(fields: Fields) -> Failure:
    payload, error, stage, attributes, stacktrace, timestamp, receipt = fields
    return Failure(
        payload, to_text(error), to_text(stage), _to_mapping(attributes), to_text(stacktrace), _to_float(timestamp),
        to_text(receipt),
    )  # fmt: skip


def _result_fields(result: DocumentEntities) -> Fields:
    return [
        from_text(result.id),
        pack([_from_entity(entity) for entity in result.entities]),
        from_integer(result.num_tokens),
        from_integer(result.num_windows),
        bytes([result.truncated]),
        from_text(result.model),
        from_text(result.model_revision),
        from_text(result.aggregation_strategy),
        from_text(result.text),
        _from_mapping(result.attributes),
        _from_float(result.timestamp),
        from_text(result.receipt),
        result.payload,
    ]


def _result(fields: Fields) -> DocumentEntities:
    name, entities, num_tokens, num_windows, truncated, model, revision, strategy, text, *others = fields
    attributes, when, receipt, payload = others
    return DocumentEntities(
        to_text(name),
        tuple(map(_to_entity, unpack(entities))),
        to_integer(num_tokens),
        to_integer(num_windows),
        truncated != b"\0",
        to_text(model),
        to_text(revision),
        to_text(strategy),
        to_text(text),
        _to_mapping(attributes),
        _to_float(when),
        to_text(receipt),
        payload,
    )


def _pre_entities_fields(columns: PreEntities) -> Fields:
    arrays = (
        columns.scores, columns.start, columns.end, columns.index, columns.is_subword, columns.window_starts,
        columns.window_offsets, columns.label,
    )  # fmt: skip
    return [
        pack(_document_fields(columns.document)),
        _from_model(columns.model),
        from_integer(columns.num_tokens),
        bytes([columns.truncated]),
        _from_words(columns.words),
        *map(_from_array, arrays),
    ]


def _pre_entities_1(fields: Fields) -> PreEntities:
    return _pre_entities([*fields, None])


def _pre_entities(fields: Fields) -> PreEntities:
    document, model, num_tokens, truncated, words, *arrays = fields
    scores, start, end, index, is_subword, window_starts, window_offsets, label = map(_to_array, arrays)
    return PreEntities(
        scores=scores,
        words=_to_words(words),
        start=start,
        end=end,
        index=index,
        is_subword=is_subword,
        window_starts=window_starts,
        window_offsets=window_offsets,
        num_tokens=to_integer(num_tokens),
        truncated=truncated != b"\0",
        document=_document(unpack(document)),
        model=_to_model(model),
        label=label,
    )


class RecordCoder(beam.coders.Coder):
    """Encodes a type by its fields; the subclasses say which.

    Attributes:
        record: The type.
        version: Of the layout that is written; below 256.
        layouts: By version, from the fields to the value.
    """

    record: ClassVar[type]
    version: ClassVar[int] = 1
    layouts: ClassVar[Mapping[int, Callable[[Fields], Any]]]

    @staticmethod
    def fields(value: Any, /) -> Fields:
        """The fields of a value."""
        raise NotImplementedError

    def encode(self, value: Any) -> bytes:
        """The value as bytes."""
        return bytes([self.version]) + pack(self.fields(value))

    def decode(self, encoded: bytes) -> Any:
        """The value again.

        Raises:
            ValueError: If the bytes are of a version that is not known here, or not whole.
        """
        layout = self.layouts.get(encoded[0]) if encoded else None
        if layout is None:
            raise ValueError(f"{self.record.__name__} is encoded in version {encoded[:1].hex()}, not known here")
        return layout(unpack(encoded, 1))

    def is_deterministic(self) -> bool:
        """True: equal values are the same bytes."""
        return True

    def to_type_hint(self) -> type:
        """The type."""
        return self.record


class DocumentCoder(RecordCoder):
    """Encodes `Document`."""

    record = Document
    fields = staticmethod(_document_fields)
    layouts: ClassVar = {1: _document}


class FailureCoder(RecordCoder):
    """Encodes `Failure`."""

    record = Failure
    fields = staticmethod(_failure_fields)
    layouts: ClassVar = {1: _failure}


class DocumentEntitiesCoder(RecordCoder):
    """Encodes `DocumentEntities`."""

    record = DocumentEntities
    fields = staticmethod(_result_fields)
    layouts: ClassVar = {1: _result}


class PreEntitiesCoder(RecordCoder):
    """Encodes `PreEntities`, its columns as their bytes; decoded, they are read-only."""

    record = PreEntities
    version = 2
    fields = staticmethod(_pre_entities_fields)
    layouts: ClassVar = {1: _pre_entities_1, 2: _pre_entities}


class Outcome:
    """`PreEntities | Failure` as one type, for Beam has no coders for unions; no value is of this class itself."""


def _outcome_fields(outcome: PreEntities | Failure) -> Fields:
    if isinstance(outcome, Failure):
        return [None, FailureCoder().encode(outcome)]
    return [PreEntitiesCoder().encode(outcome), None]


def _outcome(fields: Fields) -> PreEntities | Failure:
    columns, failure = fields
    return PreEntitiesCoder().decode(columns) if failure is None else FailureCoder().decode(failure)


class OutcomeCoder(RecordCoder):
    """Encodes what became of a document, `PreEntities` or `Failure`."""

    record = Outcome
    fields = staticmethod(_outcome_fields)
    layouts: ClassVar = {1: _outcome}


for _coder in (DocumentCoder, FailureCoder, DocumentEntitiesCoder, PreEntitiesCoder, OutcomeCoder):
    beam.coders.registry.register_coder(_coder.record, _coder)
