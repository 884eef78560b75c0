"""The launcher's arguments, read as those of a command line."""

from __future__ import annotations

import pytest

from pipeline.command_line import parse
from pipeline.launcher import IMAGE_VARIABLE, command_line, launch
from pipeline.options import NerOptions


@pytest.fixture(autouse=True)
def image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, "registry/ner:1")


@pytest.mark.parametrize(("given", "read"), [
    (["--input=gs://b/x", "--aggregation_strategy=first"], ["--input=gs://b/x", "--aggregation_strategy=first"]),
    (["--query=SELECT a FROM b WHERE c=1"], ["--query=SELECT a FROM b WHERE c=1"]),
    (["--stride=", "--input="], []),  # not set
    (["--include_text=true", "--partition_by_day=False"], ["--include_text=true", "--partition_by_day=False"]),
    (["--update=true", "--enable_hot_key_logging=false"], ["--update"]),
    (["--no_use_public_ips=true"], ["--no_use_public_ips"]),
    (["--use_public_ips=false"], ["--no_use_public_ips"]),
    (["--no_use_public_ips=false"], ["--use_public_ips"]),
    (["--use_public_ips"], ["--use_public_ips"]),
    (["--labels={\n \"a\" : \"b\"\n}"], ["--labels={\n \"a\" : \"b\"\n}"]),
    (["a=b"], ["a=b"]),  # refused by the program
])  # fmt: skip
def test_arguments(given: list[str], read: list[str]) -> None:
    assert command_line(given) == [*read, "--sdk_container_image=registry/ner:1"]


def test_the_image_that_was_asked_for_comes_first() -> None:
    assert command_line(["--sdk_container_image=other"]) == ["--sdk_container_image=other"]


def test_settings_that_nobody_knows_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert command_line(["--a_new_setting=secret"]) == ["--sdk_container_image=registry/ner:1"]
    assert "--a_new_setting is not a flag" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--update=maybe"], "error: --update=maybe: unknown; expected true or false"),
    (["--include_text=maybe"], "error: --include_text=maybe: unknown; expected true or false"),
    (["a=b"], "'a': not a flag; expected --input=FILES"),
])  # fmt: skip
def test_mistakes(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(arguments) == 2
    assert sentence in capsys.readouterr().err


def test_without_an_image(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(IMAGE_VARIABLE)
    assert launch([]) == 2
    assert (
        "--sdk_container_image: missing; expected the image of this template for the workers" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("flags", "on"), [
    ([], False), (["--include_text"], True), (["--include_text=true"], True), (["--include_text=FALSE"], False),
    (["--include_text", "--cluster_by_id"], True),
])  # fmt: skip
def test_switches(flags: list[str], on: bool) -> None:
    assert parse(flags).view_as(NerOptions).include_text is on
