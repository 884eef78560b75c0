"""The precision that is computed in where one is asked for, on processors with bf16, fp16 and fast int8 and without.

Each test asserts one of two truths, chosen by what another library finds out about this processor. `make test-avx2`
runs those of small models on a processor with AVX2 alone.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from texts import ODD_TEXTS

from transforms.beam.model_handler import TokenClassificationModelHandler
from transforms.checkpoints.resolve import resolve
from transforms.classifier.token_classifier import TokenClassifier
from transforms.documents import Document
from transforms.engines.base import Engine
from transforms.engines.loading import load_engine
from transforms.engines.precisions import openvino_precision, shortfall, torch_emulates
from transforms.pre_entities import PreEntities
from transforms.settings import ModelSettings

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def openvino_has(precision: str) -> bool:
    """Return whether this processor has a precision: by OpenVINO's list, and for int8, always on it, by PyTorch's."""
    import openvino
    import torch

    if precision == "int8":
        return any(torch.cpu.get_capabilities().get(name, False) for name in ("avx512_vnni", "avx_vnni"))
    return precision.upper() in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def batch() -> Batch:
    ids = np.random.default_rng(3).integers(5, 200, (3, 17))
    mask = np.ones_like(ids)
    mask[1, 9:] = 0
    return ids, mask, np.zeros_like(ids)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings of engines since the last call."""
    caplog.set_level(logging.WARNING)

    def take() -> list[str]:
        messages = [record.getMessage() for record in caplog.records if record.name == "transforms.engines.loading"]
        caplog.clear()
        return messages

    return take


def _difference(first: Engine, second: Engine, batch: Batch) -> float:
    return float(np.abs(first.logits(*batch) - second.logits(*batch))[batch[1] == 1].max())


def test_fp32_is_everywhere(checkpoint: Callable[[str], Path], batch: Batch, said: Callable[[], list[str]]) -> None:
    found = resolve(str(checkpoint("bert_cased")))
    auto, fp32 = load_engine(found), load_engine(found, ModelSettings(precision="fp32"))
    assert (auto.precision, fp32.precision, said()) == ("fp32", "fp32", [])
    assert _difference(auto, fp32, batch) == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_openvino_computes_in_a_precision_or_says_that_it_does_not(
    checkpoint: Callable[[str], Path], batch: Batch, said: Callable[[], list[str]], precision: str
) -> None:
    found = resolve(str(checkpoint("bert_cased")))
    exact = load_engine(found, ModelSettings(engine="openvino"))
    assert said() == []
    given = load_engine(found, ModelSettings(engine="openvino", precision=precision))
    if openvino_has(precision):
        assert (given.precision, said()) == (precision, [])
        assert 0 < _difference(exact, given, batch) < 0.1 * np.abs(exact.logits(*batch)).max()
    else:
        what = "fast int8" if precision == "int8" else precision
        sentence = f"precision={precision}: this processor has no {what}; openvino computes in fp32"
        assert (given.precision, said()) == ("fp32", [sentence])
        np.testing.assert_array_equal(given.logits(*batch), exact.logits(*batch))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_torch_rounds_in_every_case_and_says_that_it_emulates(
    checkpoint: Callable[[str], Path], batch: Batch, said: Callable[[], list[str]], precision: str
) -> None:
    found = resolve(str(checkpoint("bert_cased")))
    exact, given = (
        load_engine(found, ModelSettings(engine="torch", device="cpu", precision=one)) for one in ("fp32", precision)
    )
    assert given.precision == precision
    assert 0 < _difference(exact, given, batch) < 0.1 * np.abs(exact.logits(*batch)).max()
    sentence = f"precision={precision}: this processor has no {precision}; torch emulates it, which is slower than fp32"
    assert said() == ([] if openvino_has(precision) else [sentence])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16", "int8"])
def test_the_libraries_agree_about_the_processor(precision: str) -> None:
    has = openvino_has(precision)
    assert openvino_precision(precision) == (precision if has else "fp32")
    if precision != "int8":
        assert torch_emulates(precision) == (not has)


def test_a_library_without_names_for_instructions_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch has them since 2.11."""
    monkeypatch.delattr("torch.cpu.get_capabilities")
    assert not torch_emulates("bf16")


@pytest.mark.parametrize(("asked", "name", "device", "computed", "sentence"), [
    ("bf16", "openvino", "cpu", "bf16", None),
    ("fp16", "openvino", "cpu", "fp32", "precision=fp16: this processor has no fp16; openvino computes in fp32"),
    ("int8", "openvino", "cpu", "fp32", "precision=int8: this processor has no fast int8; openvino computes in fp32"),
    ("bf16", "torch", "cuda:0", "bf16", None),  # of a GPU the processor's instructions tell nothing
    ("fp32", "torch", "cpu", "fp32", None),
])  # fmt: skip
def test_shortfalls(asked: str, name: str, device: str, computed: str, sentence: str | None) -> None:
    assert shortfall(asked, name=name, device=device, computed=computed) == sentence


def test_the_handler_names_what_is_computed(
    checkpoint: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    """The line in the log, and the classifier as it is printed, through the thread that watches the engine."""
    given = "bf16" if openvino_has("bf16") else "fp32"
    with caplog.at_level(logging.INFO, "transforms"):
        classifier = TokenClassificationModelHandler(str(checkpoint("bert_cased")), precision="bf16").load_model()
    (loaded,) = [record.getMessage() for record in caplog.records if "loaded model" in record.getMessage()]
    assert f"openvino on cpu in {given}," in loaded
    assert f"precision={given!r}" in repr(classifier)


def scores(name: str, precision: str) -> tuple[str, np.ndarray]:
    """The precision that the engine names, and the scores of all tokens of some texts."""
    classify = TokenClassifier(name, precision=precision, engine="openvino")
    documents = [Document(str(number), text) for number, text in enumerate(ODD_TEXTS)]
    found = [one.scores for one in classify.classify(documents) if isinstance(one, PreEntities)]
    return classify.scorer.engine.precision, np.concatenate(found)


@pytest.mark.parametrize("model", ["rampart", "rampart_torch"])
@pytest.mark.parametrize(("precision", "agreement"), [("int8", 0.985), ("bf16", 0.985), ("fp16", 0.995)])
def test_real_labels_stay(checkpoint: Callable[[str], Path], model: str, precision: str, agreement: float) -> None:
    name = model if model == "rampart" else str(checkpoint(model))
    (_, exact), (named, given) = scores(name, "fp32"), scores(name, precision)
    if openvino_has(precision):
        assert named == precision
        assert 0 < np.abs(exact - given).max() < 0.6
        assert (exact.argmax(axis=1) == given.argmax(axis=1)).mean() > agreement
    else:
        assert named == "fp32"
        np.testing.assert_array_equal(given, exact)


def test_real_labels_stay_in_bf16_in_torch(checkpoint: Callable[[str], Path], batch: Batch) -> None:
    found = resolve(str(checkpoint("rampart_torch")))
    exact, given = (
        load_engine(found, ModelSettings(engine="torch", device="cpu", precision=one)) for one in ("fp32", "bf16")
    )
    assert 0 < _difference(exact, given, batch) < 1.0
    assert (exact.logits(*batch).argmax(-1) == given.logits(*batch).argmax(-1)).mean() > 0.95


def test_the_program_says_it_once_and_gives_the_rows_of_fp32(tmp_path: Path) -> None:
    """On a processor with bf16 there is no warning, and nothing to compare."""
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": "1", "text": "Ann Smith lives in Paris."}\n' * 3)
    rows, logs = {}, {}
    for precision in ("fp32", "bf16"):
        flags = [f"--input={source}", f"--output={tmp_path}/{precision}/x", f"--precision={precision}"]
        ran = subprocess.run([sys.executable, "-m", "pipeline", *flags], capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        logs[precision] = ran.stderr
        rows[precision] = b"".join(path.read_bytes() for path in sorted((tmp_path / precision).glob("x-*")))
    assert rows["fp32"].count(b'"entities"') == 3
    assert "this processor" not in logs["fp32"]
    if openvino_has("bf16"):
        assert "this processor" not in logs["bf16"]
    else:
        assert logs["bf16"].count("precision=bf16: this processor has no bf16; openvino computes in fp32") == 1
        assert "Smith" not in logs["bf16"]
        assert rows["bf16"] == rows["fp32"]
