"""The image, built once for all tests of the templates."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from services.clients import REPOSITORY
from templates.dockerfile import Build

IMAGE = "europe-docker.pkg.dev/test-project/images/beam-ner:1"


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """What the Dockerfile makes, with the embedded model."""
    if sys.version_info >= (3, 13):
        pytest.skip("the image has Python 3.11, and its pin of google-apitools does not run on 3.13")
    folder = tmp_path_factory.mktemp("build")
    return Build(REPOSITORY / "templates" / "Dockerfile", REPOSITORY, folder, IMAGE=IMAGE)


@pytest.fixture(scope="session")
def source() -> Path:
    """The repository's folder, of which nothing may be left in an image or a job."""
    return REPOSITORY
