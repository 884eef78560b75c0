"""SentencePiece's compiled map of characters, as `normalizers.Precompiled` takes it: made here, for tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

_END = ""


def charsmap(replacements: Mapping[str, str]) -> bytes:
    """Compiles replacements of short strings to a trie in a double array (Darts), with the new strings behind it.

    A child stands at its parent's offset XOR its byte; a parent that ends a string has at that offset itself the place
    of what replaces it.
    """
    blob = bytearray()
    root: dict[Any, Any] = {}
    for old, new in replacements.items():
        node = root
        for byte in old.encode():
            node = node.setdefault(byte, {})
        node[_END] = len(blob)
        blob += new.encode() + b"\0"
    units: dict[int, int] = {}
    pending = [(0, 0, root)]
    units[0] = 0
    while pending:
        place, label, node = pending.pop()
        bytes_of = [byte for byte in node if byte != _END]
        offset = _free(units, [*bytes_of, 0])
        units[place] = (place ^ offset) << 10 | (_END in node) << 8 | label
        units[offset] = 1 << 31 | node.get(_END, 0)
        for byte in bytes_of:
            units[offset ^ byte] = 0
            pending.append((offset ^ byte, byte, node[byte]))
    array = [units.get(place, 0) for place in range((max(units) | 0xFF) + 1)]
    return struct.pack(f"<I{len(array)}I", 4 * len(array), *array) + bytes(blob)


def _free(units: Mapping[int, int], bytes_of: list[int]) -> int:
    """The first offset at which all these bytes find a place."""
    offset = 1
    while any(offset ^ byte in units for byte in bytes_of):
        offset += 1
    return offset
