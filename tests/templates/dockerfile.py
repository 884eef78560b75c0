"""Runs the steps of a Dockerfile on this machine, as far as they need nothing of the images that it starts from.

Every stage is a folder, and Python in it an environment of its own that shares this one's packages, but not this
project: what is installed then is what the Dockerfile installs. Steps must name files by their place in the WORKDIR.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from dockerfile_parse import DockerfileParser

PROJECT = "beam_ner"


class Build:
    """A build of an image.

    Args:
        dockerfile: Its path.
        context: The folder that is built.
        folder: Where stages are made.
        arguments: Build arguments.

    Attributes:
        environment: What the image sets, with its paths in `root`.
        entrypoint: What it starts.
        foreign: What was to be copied from images that are not here, as (stage, path).
    """

    def __init__(self, dockerfile: Path, context: Path, folder: Path, **arguments: str) -> None:
        self.environment: dict[str, str] = {}
        self.entrypoint = ""
        self.foreign: list[tuple[str, str]] = []
        self._arguments = arguments
        self._context = context
        self._ignored = _ignored(context)
        self._folder = folder
        self._python = environment(folder / "python")
        self._stages: dict[str, Path] = {}
        self._variables: dict[str, str] = {}
        steps = {
            "FROM": self._start,
            "ARG": self._declare,
            "ENV": self._set,
            "WORKDIR": self._enter,
            "COPY": self._copy,
            "RUN": self._run,
            "ENTRYPOINT": self._finish,
        }
        for step in DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes())).structure:
            if step["instruction"] != "COMMENT":
                steps[step["instruction"]](step["value"])

    def run(self, *command: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        """Runs a command in the image."""
        settings.setdefault("cwd", self.root)  # where nothing is imported from by chance
        return subprocess.run(command, text=True, capture_output=True, env=self.variables, **settings)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of the image's processes."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LANG", "TMPDIR"))}
        path = os.pathsep.join([str(self._python / "bin"), os.environ["PATH"]])
        pip = {"PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}  # 0 is how it says yes
        return passed | pip | {"PATH": path, "HOME": str(self._folder)} | self.environment

    def _start(self, value: str) -> None:
        name = value.partition(" AS ")[2] or "image"
        self.root = self._stages[name] = self._folder / name
        self.root.mkdir()
        self.environment = {}
        self._workdir = self.root

    def _declare(self, value: str) -> None:
        name, _, default = value.partition("=")
        self._variables[name] = self._arguments.get(name, default)

    def _set(self, value: str) -> None:
        for assignment in shlex.split(value):
            name, _, content = assignment.partition("=")
            content = re.sub(r"\$\{(\w+)\}", lambda found: self._variables[found[1]], content)
            inside = content.startswith(f"/{self._workdir.relative_to(self.root)}/")
            self.environment[name] = f"{self.root}{content}" if inside else content

    def _enter(self, value: str) -> None:
        self._workdir = self.root / value.strip("/")
        self._workdir.mkdir(parents=True, exist_ok=True)

    def _copy(self, value: str) -> None:
        *sources, target = value.split()
        stage = sources.pop(0).removeprefix("--from=") if sources[0].startswith("--from=") else None
        origin = self._stages[stage] if stage else self._context
        if stage and not any(origin.iterdir()):
            self.foreign += [(stage, source) for source in sources]
            return
        for source in sources:
            if stage is None and self._ignored(source):
                raise FileNotFoundError(f"{source} is kept out of the build by .dockerignore")
            place = origin / source.strip("/")
            inside = target.endswith("/")
            to = self._workdir / target / place.name if inside else self._workdir / target
            if place.is_dir():
                shutil.copytree(place, self._workdir / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(place, to)

    def _run(self, value: str) -> None:
        command = re.sub(r"--mount=\S+ ", "", value)
        variables = self.variables | self._variables
        done = subprocess.run(
            ["bash", "-ec", command], cwd=self._workdir, env=variables, text=True, capture_output=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"

    def _finish(self, value: str) -> None:
        self.entrypoint = value


def environment(folder: Path) -> Path:
    """Makes an environment with this one's packages, without this project, and gives its folder."""
    venv.create(folder, symlinks=True)
    shared = folder / "shared"
    shared.mkdir()
    for place in [Path(entry) for entry in sys.path if entry.endswith("site-packages")]:
        for entry in place.iterdir():
            if PROJECT not in entry.name and entry.suffix != ".pth" and not (shared / entry.name).exists():
                (shared / entry.name).symlink_to(entry)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "shared.pth").write_text(f"{shared}\n")
    pip = folder / "bin" / "pip"
    pip.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m pip "$@"\n')
    pip.chmod(0o755)
    return folder


def _ignored(context: Path) -> Any:
    """Whether .dockerignore keeps a path out of the build: of its patterns, the last that matches counts."""
    lines = [line for line in (context / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]

    def ignored(path: str) -> bool:
        kept_out = False
        for line in lines:
            pattern = line.removeprefix("!")
            if fnmatch(path, pattern) or path.startswith(f"{pattern}/"):
                kept_out = not line.startswith("!")
        return kept_out

    return ignored
