"""The coders of the types that the steps exchange: without pickle, equal bytes for equal values, and with a version.

Importing this module registers the coders. Beam then uses them for each PCollection with one of these types as its
element type.

An encoding is one byte, the version of its type's layout, followed by the fields. A streaming job can be updated in
place as long as the layouts stay the same. A changed layout gets a new version, and the coder can still decode the
earlier ones.
"""

from __future__ import annotations

import functools
import json
import operator
import struct
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple

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
    """Return fields as bytes; each field is bytes or None.

    >>> unpack(pack([b"ab", None, b""]))
    [b'ab', None, b'']
    """
    lengths = [_NONE if field is None else len(field) for field in fields]
    return b"".join([struct.pack(f"<{len(fields) + 1}I", len(fields), *lengths), *filter(None, fields)])


def unpack(data: bytes, at: int = 0) -> Fields:
    """Return the fields of packed bytes.

    Raises:
        ValueError: If the bytes are not packed fields.
    """
    try:
        (count,) = _COUNT.unpack_from(data, at)
        lengths = struct.unpack_from(f"<{count}I", data, at + 4)
    except struct.error:
        raise ValueError("the encoding is truncated") from None
    fields: Fields = []
    at += 4 + 4 * count
    for length in lengths:
        if length == _NONE:
            fields.append(None)
        else:
            fields.append(data[at : at + length])
            at += length
    if at != len(data):
        raise ValueError(f"the encoding has {len(data)} bytes; expected {at}")
    return fields


def from_text(text: str | None) -> bytes | None:
    """Return a text as UTF-8 bytes. The text may contain half a surrogate pair."""
    return None if text is None else text.encode("utf-8", "surrogatepass")


def to_text(data: bytes | None) -> Any:
    """Return the text of bytes from `from_text`."""
    return None if data is None else data.decode("utf-8", "surrogatepass")


def from_integer(number: int | None) -> bytes | None:
    """Return an integer of up to 64 bits, sign included, as bytes."""
    return None if number is None else _INTEGER.pack(number)


def to_integer(data: bytes | None) -> Any:
    """Return the integer of bytes from `from_integer`."""
    return None if data is None else _INTEGER.unpack(data)[0]


def bytes_or_none(data: bytes | None) -> bytes | None:
    """Return bytes as they are."""
    return data


def _from_float(number: float | None) -> bytes | None:
    return None if number is None else _FLOAT.pack(number)


def _to_float(data: bytes | None) -> Any:
    return None if data is None else _FLOAT.unpack(data)[0]


def _from_mapping(mapping: Mapping[str, str]) -> bytes:
    # In the order of the keys, so that equal mappings have the same bytes.
    return pack([from_text(text) for item in sorted(mapping.items()) for text in item]) if mapping else b""


def _to_mapping(data: bytes) -> dict[str, str]:
    if not data:
        return {}
    texts = [to_text(field) for field in unpack(data)]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _from_values(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values).encode("ascii") if values else b""


def _to_values(data: bytes) -> dict[str, Any]:
    return json.loads(data) if data else {}


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
    texts = (
        model.name, model.revision, model.tokenizer, model.tokenizer_revision, model.calibration, *model.labels
    )  # fmt: skip
    return pack([from_text(text) for text in texts])


@functools.lru_cache(maxsize=64)
def _to_model(data: bytes) -> ModelInfo:
    name, revision, tokenizer, tokenizer_revision, calibration, *labels = (to_text(field) for field in unpack(data))
    return ModelInfo(name, revision, tokenizer, tokenizer_revision, tuple(labels), calibration)


class Codec(NamedTuple):
    """A function from a value to its bytes, and one back.

    Attributes:
        encode: The function that returns a value's bytes; None for None, if the type includes None.
        decode: The function that returns the value of some bytes.
    """

    encode: Callable[[Any], bytes | None]
    decode: Callable[[Any], Any]


class Layout:
    """The fields of a dataclass in the order of their encoding, each once, with its codec."""

    def __init__(self, make: type, codecs: Mapping[str, Codec], *, newer: bool = False) -> None:
        """Sets the fields.

        Args:
            make: The dataclass.
            codecs: The codec of each field, in the order of the encoding. Fields without a codec must be the last of
                the class, and have defaults.
            newer: Whether the last field was added later. It is left out if it is encoded as no bytes, so a value that
                does not use it has the same bytes as before.
        """
        self._newer = newer
        self._make = make
        self._values = operator.attrgetter(*codecs)
        self._encoders = [codec.encode for codec in codecs.values()]
        self._decoders = [codec.decode for codec in codecs.values()]
        names = list(codecs)
        # Positional arguments are faster than keyword arguments.
        self._in_order = operator.itemgetter(*(names.index(each.name) for each in fields(make)[: len(names)]))

    def encode(self, value: Any) -> bytes:
        """Return a value as bytes."""
        encoded = [encode(field) for encode, field in zip(self._encoders, self._values(value), strict=True)]
        return pack(encoded[:-1] if self._newer and not encoded[-1] else encoded)

    def decode(self, data: bytes, start: int = 0) -> Any:
        """Return the value of the bytes from a position on.

        Raises:
            ValueError: If the bytes are incomplete.
        """
        encoded = unpack(data, start)
        if self._newer and len(encoded) == len(self._decoders) - 1:
            encoded.append(b"")
        decoded = [decode(field) for decode, field in zip(self._decoders, encoded, strict=True)]
        return self._make(*self._in_order(decoded))

    @property
    def codec(self) -> Codec:
        """The codec for a field of this type."""
        return Codec(self.encode, self.decode)


TEXT = Codec(from_text, to_text)
INTEGER = Codec(from_integer, to_integer)
_NUMBER = Codec(_from_float, _to_float)
_BYTES = Codec(bytes_or_none, bytes_or_none)
_FLAG = Codec(lambda flag: bytes([flag]), lambda data: data != b"\0")
_MAPPING = Codec(_from_mapping, _to_mapping)
_VALUES = Codec(_from_values, _to_values)
_ARRAY = Codec(_from_array, _to_array)

_ENTITY = Layout(Entity, {
    "label": TEXT, "word": TEXT, "text": TEXT, "score": _NUMBER, "start": INTEGER, "end": INTEGER, "index": INTEGER,
})  # fmt: skip
_ENTITIES = Codec(
    lambda entities: pack([_ENTITY.encode(entity) for entity in entities]),
    lambda data: tuple(map(_ENTITY.decode, unpack(data))),
)
_DOCUMENT = Layout(Document, {
    "id": TEXT, "text": TEXT, "attributes": _MAPPING, "timestamp": _NUMBER, "payload": _BYTES, "receipt": TEXT,
    "fields": _VALUES,
}, newer=True)  # fmt: skip
_FAILURE = Layout(Failure, {
    "payload": _BYTES, "error": TEXT, "stage": TEXT, "attributes": _MAPPING, "stacktrace": TEXT, "timestamp": _NUMBER,
    "receipt": TEXT,
})  # fmt: skip
_RESULT = Layout(DocumentEntities, {
    "document": _DOCUMENT.codec, "entities": _ENTITIES, "num_tokens": INTEGER, "num_windows": INTEGER,
    "truncated": _FLAG, "model": TEXT, "model_revision": TEXT, "aggregation_strategy": TEXT,
})  # fmt: skip
_PRE_ENTITIES = Layout(PreEntities, {
    "document": _DOCUMENT.codec, "model": Codec(_from_model, _to_model), "num_tokens": INTEGER, "truncated": _FLAG,
    "words": Codec(_from_words, _to_words), "scores": _ARRAY, "start": _ARRAY, "end": _ARRAY, "index": _ARRAY,
    "is_subword": _ARRAY, "window_starts": _ARRAY, "window_offsets": _ARRAY, "label": _ARRAY,
})  # fmt: skip


class RecordCoder(beam.coders.Coder):
    """Encodes a type by its fields. Each subclass defines the type and its layouts.

    Attributes:
        record: The type.
        version: The version of the layout that is written; below 256.
        layouts: The layouts by version.
    """

    record: ClassVar[type]
    version: ClassVar[int] = 1
    layouts: ClassVar[Mapping[int, Layout]]

    def encode(self, value: Any) -> bytes:
        """Return a value as bytes."""
        return bytes([self.version]) + self.layouts[self.version].encode(value)

    def decode(self, encoded: bytes) -> Any:
        """Return the value of some bytes.

        Raises:
            ValueError: If the bytes are of an unknown version, or incomplete.
        """
        layout = self.layouts.get(encoded[0]) if encoded else None
        if layout is None:
            raise ValueError(f"{self.record.__name__} is encoded in version {encoded[:1].hex()}, which is unknown")
        return layout.decode(encoded, 1)

    def is_deterministic(self) -> bool:
        """Return True: equal values have the same bytes."""
        return True

    def to_type_hint(self) -> type:
        """Return the type."""
        return self.record


class DocumentCoder(RecordCoder):
    """Encodes `Document`."""

    record = Document
    layouts: ClassVar = {1: _DOCUMENT}


class FailureCoder(RecordCoder):
    """Encodes `Failure`."""

    record = Failure
    layouts: ClassVar = {1: _FAILURE}


class DocumentEntitiesCoder(RecordCoder):
    """Encodes `DocumentEntities`."""

    record = DocumentEntities
    layouts: ClassVar = {1: _RESULT}


class PreEntitiesCoder(RecordCoder):
    """Encodes `PreEntities`, each column of numbers as its bytes; after decoding, these columns are read-only."""

    record = PreEntities
    layouts: ClassVar = {1: _PRE_ENTITIES}


class Outcome:
    """A name for `PreEntities | Failure`, because Beam has no coders for unions. The class has no instances."""


class OutcomeCoder(beam.coders.Coder):
    """Encodes `PreEntities` or `Failure`. The first byte is the kind."""

    _KINDS: ClassVar[Mapping[bytes, RecordCoder]] = {b"p": PreEntitiesCoder(), b"f": FailureCoder()}

    def encode(self, value: PreEntities | Failure) -> bytes:
        """Return a value as bytes."""
        kind = b"f" if isinstance(value, Failure) else b"p"
        return kind + self._KINDS[kind].encode(value)

    def decode(self, encoded: bytes) -> PreEntities | Failure:
        """Return the value of some bytes.

        Raises:
            ValueError: If the bytes are of an unknown kind or version, or incomplete.
        """
        if encoded[:1] not in self._KINDS:
            raise ValueError(f"an outcome is encoded as the kind {encoded[:1].hex()}, which is unknown")
        return self._KINDS[encoded[:1]].decode(encoded[1:])

    def is_deterministic(self) -> bool:
        """Return True: equal values have the same bytes."""
        return True

    def to_type_hint(self) -> type:
        """Return the type."""
        return Outcome


for _record, _coder in (
    (Document, DocumentCoder),
    (Failure, FailureCoder),
    (DocumentEntities, DocumentEntitiesCoder),
    (PreEntities, PreEntitiesCoder),
    (Outcome, OutcomeCoder),
):
    beam.coders.registry.register_coder(_record, _coder)
