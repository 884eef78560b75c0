"""The program between a subscription and files of a window each, as a process: a backlog, an end, and kills."""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from outputs import window_files
from services.pubsub_queue import Message
from streams import LONG, SUBSCRIPTION, Stream, letter, seconds_for


class FileStream(Stream):
    """The program between a subscription and windowed files."""

    poll_seconds = 0.2

    def __init__(self, folder: Path, *flags: str, **broker: Any) -> None:
        dead = f"--dead_letter={folder}/out/dead.jsonl"
        super().__init__(folder, f"--output={folder}/out/x.jsonl", dead, *flags, **broker)
        self._prefix = f"{folder}/out/x"

    def files(self) -> list[Path]:
        return window_files(self._prefix, ".jsonl")

    def ids(self) -> Counter[str]:
        return Counter(row["id"] for path in self.files() for row in rows_in(path))


def rows_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def window_name(moment: float, seconds: int) -> str:
    start = moment // seconds * seconds
    return "-".join(
        datetime.fromtimestamp(each, timezone.utc).strftime("%Y%m%dT%H%M%SZ") for each in (start, start + seconds)
    )


def test_a_backlog_of_an_hour_goes_to_the_files_of_its_windows(tmp_path: Path) -> None:
    now, letters = time.time(), 10_000 if LONG else 2_000
    times = {f"letter-{number}": now - 3600 + 3600 * number / letters for number in range(letters)}
    backlog = [replace(letter(number), publish_time=when) for number, when in enumerate(times.values())]
    poison = [Message(b"caf\xe9 %d" % number, {"key": f"bad-{number}"}, publish_time=now - 1800) for number in range(3)]
    expected = defaultdict(set)
    for id, when in times.items():
        expected[f"x-{window_name(when, 600)}-00000-of-00001.jsonl"].add(id)
    over = sum(when // 600 < now // 600 for when in times.values())

    with FileStream(tmp_path, "--window_seconds=600") as stream:
        stream.publish(itertools.chain(backlog[:1000], poison, backlog[1000:]))
        stream.start()
        stream.wait_for_results(over, seconds_for(letters))  # of windows that are over
        assert stream.broker.unacknowledged(SUBSCRIPTION) > 0  # those of the open one, and the poison
        for _ in range(5):  # what had not come to its turn is given back, and a second process has it at once
            assert stream.terminate() == 0
            assert stream.broker.outstanding(SUBSCRIPTION) == 0
            if not stream.broker.unacknowledged(SUBSCRIPTION):
                break
            stream.start()
            stream.wait(lambda: stream.broker.outstanding(SUBSCRIPTION) > 0, "the rest to be delivered")
        said = re.findall(r"([\d,]+) results, in ", stream.log())
        assert sum(int(number.replace(",", "")) for number in said) == letters

    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in stream.files():
        # A second process adds to the window that was open a file of its own; all others closed once.
        name = re.sub(r"-late\d+", "", path.name) if window_name(now, 600) in path.name else path.name
        for row in rows_in(path):
            found[name][row["id"]] += 1
            number = row["id"].removeprefix("letter-")
            attributes = {pair["key"]: pair["value"] for pair in row["attributes"]}
            assert attributes == {"key": row["id"], "data": f"d{number}"}
    assert found == {name: dict.fromkeys(ids, 1) for name, ids in expected.items()}
    dead = [row for path in window_files(f"{tmp_path}/out/dead", ".jsonl") for row in rows_in(path)]
    assert sorted(row["payloadBytes"] for row in dead) == ["Y2Fm6SAw", "Y2Fm6SAx", "Y2Fm6SAy"]
    assert list((tmp_path / "out").glob(".*")) == []


def test_kills_lose_nothing(tmp_path: Path) -> None:
    kills = 20 if LONG else 2
    with FileStream(tmp_path, "--window_seconds=2") as stream:
        # Every other one is killed at its first work, before any file; those between when they have written one.
        before: dict[int, tuple[int, int]] = {}

        def begun() -> bool:
            assert stream.process is not None
            delivered, written = stream.broker.counts(SUBSCRIPTION).deliveries, len(stream.ids())
            then = before.setdefault(stream.process.pid, (delivered, written))
            return delivered > then[0] if len(before) % 2 else written > then[1]

        letters = stream.outlive_kills(10_000 if LONG else 1_500, kills, a_second=50, begun=begun)
        assert stream.terminate() == 0
        expired = stream.broker.counts(SUBSCRIPTION).expired
    ids = stream.ids()
    assert set(ids) == {f"letter-{number}" for number in range(letters)}
    print(
        f"\n{kills} kills over {letters:,} letters into files: none lost, {expired} delivered again,"
        f" {sum(ids.values()) - letters} came twice"
    )
    assert expired > 0
