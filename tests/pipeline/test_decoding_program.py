"""Tagging schemes and decoding in whole runs of the program."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import over

from pipeline.run import main
from transforms import TokenClassifier

TEXTS = ["Ann Smith lives in Paris.", "Bob met Ann in London and in New York City", ""]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f"{json.dumps({'id': str(n), 'text': text})}\n" for n, text in enumerate(TEXTS)))
    return path


def rows(folder: Path) -> dict[str, list[tuple[str, int, int]]]:
    lines = [line for path in folder.glob("x-0*.jsonl") for line in path.read_text().splitlines()]
    found = [json.loads(line) for line in lines]
    return {row["id"]: [(e["entity_group"], e["start"], e["end"]) for e in row["entities"]] for row in found}


@pytest.mark.parametrize("decoding", ["argmax", "viterbi"])
@pytest.mark.parametrize("strategy", ["simple", "first"])
@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
def test_rows_are_those_of_the_classifier(
    decoding: str,
    strategy: str,
    checkpoint: Callable[[str], Path],
    source: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = checkpoint("bert_iobes")
    flags = [f"--input={source}", f"--output={tmp_path}/out/x", f"--model={folder}", f"--decoding={decoding}"]
    with caplog.at_level(logging.INFO, "pipeline"):
        assert main([*flags, f"--aggregation_strategy={strategy}"]) == 0
    classify = TokenClassifier(folder, aggregation_strategy=strategy, tagging_scheme="auto", decoding=decoding)
    assert rows(tmp_path / "out") == {
        str(n): [(e["entity_group"], e["start"], e["end"]) for e in classify(text)] for n, text in enumerate(TEXTS)
    }
    messages = [record.getMessage() for record in caplog.records if record.name == "pipeline.config"]
    assert messages[0] == "--tagging_scheme=auto: the labels of the model are iobes"
    assert [message.startswith("the model has a calibration") for message in messages[1:]] == [True] * (
        decoding == "argmax"
    )


@pytest.mark.parametrize(("flags", "told"), [
    (["--tagging_scheme=bio"], ["--tagging_scheme", "'bio'", "iobes"]),
    (["--operating_point=fast"], ["--operating_point='fast': ", "decoding='viterbi'"]),
    (["--decoding=viterbi", "--operating_point=fast"], ["--operating_point='fast': unknown; expected one of all_starts, default"]),
    (["--decoding=viterbi", "--viterbi_calibration=gone.json"], ["--viterbi_calibration='gone.json': cannot be read"]),
    (["--decoding=viterbi", "--model=rampart", "--tagging_scheme=iobes"], ["--tagging_scheme='iobes': "]),
])  # fmt: skip
def test_a_mistake_is_reported_before_the_start(
    flags: list[str],
    told: list[str],
    checkpoint: Callable[[str], Path],
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [f"--input={source}", f"--output={tmp_path}/out/x", f"--model={checkpoint('bert_iobes')}"]
    assert main(over(given, flags)) == 2
    _, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert all(part in err for part in told), err
    assert list((tmp_path / "out").glob("*")) == []


def test_a_broken_calibration_in_the_model_is_a_mistake_where_it_is_used(
    checkpoint: Callable[[str], Path], source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(checkpoint("bert_iobes"), folder)
    (folder / "viterbi_calibration.json").write_text("{}")
    flags = [f"--input={source}", f"--output={tmp_path}/out/x", f"--model={folder}"]
    assert main([*flags, "--decoding=viterbi"]) == 2
    assert "contains no operating_points" in capsys.readouterr().err
    assert main([*flags, "--decoding=viterbi", "--viterbi_calibration=none"]) == 0
    assert main(flags) == 0
