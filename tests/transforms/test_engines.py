from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.checkpoints import Checkpoint, content_hash, resolve
from transforms.engines import Engine, load_engine


@pytest.fixture
def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids = np.random.default_rng(3).integers(5, 200, (3, 17))
    mask = np.ones_like(ids)
    mask[1, 9:] = 0
    return ids, mask, np.zeros_like(ids)


def _difference(first: Engine, second: Engine, batch: tuple[np.ndarray, ...]) -> float:
    one, other = first.logits(*batch), second.logits(*batch)
    assert one.dtype == other.dtype == np.float32
    assert one.shape == other.shape
    return float(np.abs(one - other)[batch[1] == 1].max())


@pytest.mark.parametrize(
    "name", ["bert_cased", "electra_uncased", "distilbert_plain", "roberta", "xlm_roberta", "deberta"]
)
def test_openvino_gives_the_logits_of_torch(
    checkpoint: Callable[[str], Path], name: str, batch: tuple[np.ndarray, ...]
) -> None:
    found = resolve(str(checkpoint(name)))
    torch, openvino = load_engine(found, engine="torch"), load_engine(found, engine="auto")
    assert (torch.name, openvino.name, openvino.device, openvino.precision) == ("torch", "openvino", "cpu", "fp32")
    assert _difference(torch, openvino, batch) < 1e-4


def test_onnx_gives_the_logits_of_the_same_weights_in_torch(
    checkpoint: Callable[[str], Path], batch: tuple[np.ndarray, ...]
) -> None:
    onnx, torch = (
        load_engine(resolve("rampart")),
        load_engine(resolve(str(checkpoint("rampart_torch"))), engine="torch"),
    )
    assert onnx.name == "openvino"
    assert _difference(onnx, torch, batch) < 1e-3


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_bf16_is_near(checkpoint: Callable[[str], Path], engine: str, batch: tuple[np.ndarray, ...]) -> None:
    found = resolve(str(checkpoint("rampart_torch")))
    exact, fast = load_engine(found, engine=engine), load_engine(found, engine=engine, precision="bf16")
    assert fast.precision == "bf16"
    assert 0 < _difference(exact, fast, batch) < 1.0
    agreement = (exact.logits(*batch).argmax(-1) == fast.logits(*batch).argmax(-1)).mean()
    assert agreement > 0.95


def test_token_types_may_be_missing(checkpoint: Callable[[str], Path], batch: tuple[np.ndarray, ...]) -> None:
    for engine in ("torch", "openvino"):
        loaded = load_engine(resolve(str(checkpoint("bert_cased"))), engine=engine)
        np.testing.assert_array_equal(loaded.logits(*batch), loaded.logits(batch[0], batch[1], None))


def test_a_converted_model_is_kept(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.engines import conversion

    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path))
    found = resolve(str(checkpoint("bert_cased")))
    load_engine(found, engine="openvino")
    (kept,) = tmp_path.glob("openvino/*/model.xml")
    assert kept.parent.name.startswith(content_hash(found.folder))
    monkeypatch.setattr(conversion, "_convert", lambda *_, **__: pytest.fail("converted twice"))
    load_engine(found, engine="openvino")


def test_auto_falls_back_on_torch_and_says_why(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path))
    with caplog.at_level(logging.INFO, "transforms"):
        engine = load_engine(resolve(str(checkpoint("canine"))))
    assert engine.name == "torch"
    assert "since " in caplog.text
    assert not list(tmp_path.glob("openvino/*/model.xml"))
    with pytest.raises(ValueError, match="OpenVINO"):
        load_engine(resolve(str(checkpoint("canine"))), engine="openvino")


def test_auto_does_without_openvino(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load_engine(resolve(str(checkpoint("bert_cased")))).name == "torch"


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"engine": "torch"}, "engine='torch' cannot read model='rampart', which has only ONNX weights"),
    ({"device": "cuda:0"}, "device='cuda:0' is not"),
    ({"device": "nonsense"}, "device='nonsense' is not on this machine"),
])  # fmt: skip
def test_what_does_not_go_together(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_engine(resolve("rampart"), **arguments)


def test_a_broken_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"has a model.onnx that OpenVINO cannot read"):
        load_engine(Checkpoint("x", "", tmp_path))
