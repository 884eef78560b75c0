"""One line in a hundred is poison: each is a failure, and no other. `make bench-poison` measures what that costs.

`BEAM_NER_LONG=1` reads 100,000 lines in place of 5,000, with one document of 20 MB among them, and lets a stream flow for
three minutes, in place of not at all.
"""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest
from streams import Stream, letter

from benchmarks.poison import POISON, run, write_lines
from pipeline.run import main
from transforms.machine import peak_mib

LONG = bool(os.environ.get("BEAM_NER_LONG"))
CEILING_MIB = 2048
STREAM_SECONDS, A_SECOND = 180, 100


def test_a_line_in_a_hundred_is_poison(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    assert write_lines(source, 5_000, poisoned=True, words=12) == 50
    assert main([f"--input={source}", f"--output={tmp_path}/out/x", "--precision=bf16"]) == 0
    lines = source.read_bytes().splitlines()
    ids = {json.loads(line)["id"] for line in lines if line not in POISON}
    results = [json.loads(line) for path in (tmp_path / "out").glob("x-0*") for line in path.read_bytes().splitlines()]
    failures = [json.loads(line) for path in (tmp_path / "out").glob("x-f*") for line in path.read_bytes().splitlines()]
    assert len(ids) == len(results) == 4_950
    assert {row["id"] for row in results} == ids
    assert sorted(base64.b64decode(failure["payloadBytes"]) for failure in failures) == sorted(POISON * 5)


@pytest.mark.skipif(not LONG, reason="takes minutes")
def test_many_and_a_large_one_within_the_memory(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    assert write_lines(source, 100_000, poisoned=True, large=True) == 1_000
    figures = run(source, "bf16")
    print(f"\n{figures}")
    assert figures["documents"] == figures["results"] + figures["failures"] == 100_001
    assert figures["failures"] == 1_000  # the large one is read
    assert figures["peak_mib"] < CEILING_MIB


@pytest.mark.skipif(not LONG, reason="takes minutes")
def test_a_steady_stream_does_not_grow(tmp_path: Path) -> None:
    """In its last third the process has no more memory than its second third leads to expect of noise."""
    with Stream(tmp_path) as stream:
        stream.start()
        stream.publish([letter(0)])
        stream.wait_for_results(1)
        assert stream.process is not None
        held: list[float] = []
        sent = 1
        for _ in range(STREAM_SECONDS // 10):
            begin = time.monotonic()
            stream.publish_steadily(range(sent, sent + 10 * A_SECOND), A_SECOND)
            sent += 10 * A_SECOND
            held.append(_resident_mib(stream.process.pid))
            time.sleep(max(0.0, 10 - (time.monotonic() - begin)))
        stream.wait_for_results(sent)
        third = len(held) // 3
        print(
            f"\n{sent} letters in {STREAM_SECONDS} s: {[round(size) for size in held]} MiB, most {peak_mib(str(stream.process.pid)):.0f}"
        )
        assert max(held[-third:]) < max(held[third:-third]) * 1.05 + 20
        assert stream.terminate() == 0


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))
