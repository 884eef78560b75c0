"""The targets of `make fuzz`, for a moment and with Hypothesis: its strategies know what such records look like."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzz.seeds import SEEDS
from fuzz.targets import TARGETS

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
_PIECES = {
    "text": [b"\n", b"\r\n", b"\r", b"\xef\xbb\xbf", b"\xff", "é🙂".encode()],
    "jsonl": [
        b'{"text": "',
        b'{"id": ',
        b'"}',
        b"\n",
        b"\\ud800",
        b"\\u0000",
        b"1e999",
        b"NaN",
        b"[",
        b"]",
        b"{",
        b": ",
    ],
    "arrays": [b'{"text": "', b'"}', b"[", b"]", b"{", b"}", b",", b"\n", b'\\"', b"7", b"\xef\xbb\xbf", b"\xff"],
    "csv": [b"\\", b";", "§".encode(), b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"a"],
    "messages": [b'{"text": "Ann"}', b"\x14", b"2026-01-02T03:04:05Z", b"1700000000500", b"-", b"9" * 30, b"\xff"],
    "replay": [
        b'{"payloadBytes": "QW5u"',
        b', "attributes": [',
        b'{"key": "source", "value": "a.txt"}',
        b"]",
        b"}",
        b"null",
    ],
    "compressed": [b"\0", b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"],
}


def _records(name: str) -> st.SearchStrategy[bytes]:
    pieces = st.sampled_from([*_PIECES[name], *SEEDS[name]]) | st.binary(max_size=8)
    joined = st.lists(pieces, max_size=12).map(b"".join)
    if name not in ("jsonl", "arrays", "messages", "replay"):
        return joined
    keys = st.sampled_from(["id", "text", "payloadBytes", "attributes", "stage", "at"])
    objects = st.dictionaries(keys, _JSON, max_size=5)
    return joined | objects.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_records(name))
    @example(b"")
    def holds(data: bytes) -> None:
        TARGETS[name](data)

    holds()


@pytest.mark.parametrize(("name", "data"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds])
def test_seeds(name: str, data: bytes) -> None:
    TARGETS[name](data)
