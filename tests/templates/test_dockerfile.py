"""The image: its Dockerfile is linted, and each of its steps that needs no foreign image is run."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement
from templates.dockerfile import Build

FOLDER = Path(__file__).parents[2] / "templates"


def test_lint() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert linter, "hadolint is not installed: make setup"
    done = subprocess.run(
        [linter, "--config", FOLDER / "hadolint.yaml", FOLDER / "Dockerfile"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_beam_is_that_of_the_constraints() -> None:
    (pinned,) = (
        line
        for line in (FOLDER.parent / "constraints.txt").read_text().splitlines()
        if line.startswith("apache-beam==")
    )
    assert f"ARG BEAM_VERSION={pinned.partition('==')[2]}\n" in (FOLDER / "Dockerfile").read_text()


def test_what_comes_from_other_images(image: Build) -> None:
    assert image.foreign == [
        ("harness", "/opt/apache/beam"),
        ("launcher", "/opt/google/dataflow/python_template_launcher"),
    ]
    assert image.entrypoint == '["/opt/apache/beam/boot"]'


def test_the_package_is_whole_and_none_of_it_the_source(image: Build, source: Path) -> None:
    found = image.run(
        "python", "-c", "import pipeline, transforms; print(pipeline.__path__[0], transforms.__path__[0])"
    )
    for folder in map(Path, found.stdout.split()):
        assert source not in folder.parents
        installed = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
        original = source / folder.name
        assert installed == {
            path.relative_to(original) for path in original.rglob("*") if path.is_file() and path.suffix != ".pyc"
        }
    frozen = image.run("pip", "freeze").stdout
    assert re.search(r"^beam-ner==", frozen, re.MULTILINE)  # and not "beam-ner @ file:///…", which jobs would carry


def test_what_is_installed_is_what_the_package_asks_for(image: Build, source: Path) -> None:
    installed = set(
        re.findall(r"^([\w.-]+)==", (image.root / "template" / "requirements-hashed.txt").read_text(), re.MULTILINE)
    )
    declared = re.search(r"BASE = \[(.*?)\]\n", (source / "setup.py").read_text(), re.DOTALL)
    assert declared
    asked = {Requirement(text).name.lower().replace("_", "-") for text in re.findall(r'"(.*?)"', declared[1])}
    assert asked - installed == {"torch"}  # which comes from an index of its own


def test_anyone_may_use_the_caches(image: Build) -> None:
    for name in ("BEAM_NER_CACHE", "HF_HOME"):
        folder = Path(image.environment[name])
        assert all(
            path.stat().st_mode & stat.S_IROTH and path.stat().st_mode & stat.S_IWOTH
            for path in [folder, *folder.rglob("*")]
        )


def test_no_worker_asks_the_hub(image: Build) -> None:
    assert image.environment["HF_HUB_OFFLINE"] == "1"
