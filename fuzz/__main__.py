"""Runs a target under Atheris: ``python -m fuzz TARGET SECONDS``; inputs with errors go to ``out/fuzz/TARGET``.

Atheris records the lines of code that an input reaches, and changes the input to reach more. It needs the extra
``fuzz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline.io", "json", "csv"]):
    from fuzz.targets import TARGETS

from fuzz.seeds import SEEDS


def main() -> None:
    """Fuzzes one target for the given number of seconds."""
    if len(sys.argv) != 3 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m fuzz {'|'.join(TARGETS)} SECONDS")
    name, seconds = sys.argv[1:]
    folder = Path("out") / "fuzz" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[name]):
        (folder / f"seed-{number}").write_bytes(seed)
    flags = [f"-max_total_time={seconds}", "-max_len=4096", f"-artifact_prefix={folder}/found-", str(folder)]
    atheris.Setup([sys.argv[0], *flags], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
