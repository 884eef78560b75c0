"""The seeds of the fuzzer: a few nearly valid inputs for each target."""

from __future__ import annotations

import bz2
import gzip
import lzma

import zstandard

_TEXT = b'{"id": "a", "text": "Ann Smith \\u00e9 \\ud83d\\ude42"}'
_BOM = b"\xef\xbb\xbf"
_ROW = (
    b'{"timestamp": "2026-01-02T03:04:05Z", "payloadString": "x", "payloadBytes": "eyJ0ZXh0IjogIkFubiJ9",'
    b' "attributes": [{"key": "source", "value": "a.jsonl"}, {"key": "id", "value": "a"}], "errorMessage": "e",'
    b' "stacktrace": "", "stage": "classify"}'
)

SEEDS: dict[str, list[bytes]] = {
    "text": [b"one\r\ntwo\n\nthree", _BOM + "Zo\u00eb \U0001f642\n".encode(), b"\xff\xfe\n\xed\xa0\x80"],
    "jsonl": [
        _TEXT + b"\n" + _TEXT,
        b'{"text": "\\ud800"}\n[1]\n{"text": 1e999, "id": [{}]}\nnull',
        b"[" * 2000 + b'\n{"text": NaN}',
        b'{"n": ' + b"9" * 4400 + b"}",
    ],
    "arrays": [
        b"[" + _TEXT + b", " + _TEXT + b"]",
        b'{\n "a": {"text": "}", "b": 1},\n "id": [1]\n}\n{"text": "\\\\"}',
        b'\x02[7, "x\\"]", {"a": {}} null}',
    ],
    "csv": [
        b'x;"a\\"b";c\n"open;x\n1;2\n',
        b'a,b\r\n"c ""d""","e\nf"\r\n',
        b'"open, b\nc,d\n',
        b'a,"b"c\n,\n\n"",""\n',
        b"\x80,b,c\na,b,c",
    ],
    "messages": [b"\x00" + _TEXT, b"\x14" + b"2026-01-02T03:04:05Z" + _TEXT, b"\x0d" + b"1700000000500" + b"Ann"],
    "replay": [_ROW, b'{"payloadBytes": "!", "attributes": 7, "stage": null}', _TEXT, b""],
    "compressed": [
        gzip.compress(b"one\ntwo\n", mtime=0),
        bz2.compress(b"one\n"),
        lzma.compress(b"one\n"),
        zstandard.compress(b"one\n"),
        gzip.compress(b"one\n", mtime=0) * 2 + b"\0\0",
    ],
}
