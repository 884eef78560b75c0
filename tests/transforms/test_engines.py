from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.checkpoints.files import Checkpoint, content_hash
from transforms.checkpoints.resolve import resolve
from transforms.engines.base import Engine
from transforms.engines.loading import load_engine
from transforms.engines.weights import round_groups, unpack_weights
from transforms.settings import ModelSettings


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
    torch, openvino = (
        load_engine(found, ModelSettings(engine="torch")),
        load_engine(found, ModelSettings(engine="auto")),
    )
    assert (torch.name, openvino.name, openvino.device, openvino.precision) == ("torch", "openvino", "cpu", "fp32")
    assert _difference(torch, openvino, batch) < 1e-4


def test_onnx_gives_the_logits_of_the_same_weights_in_torch(
    checkpoint: Callable[[str], Path], batch: tuple[np.ndarray, ...]
) -> None:
    onnx, torch = (
        load_engine(resolve("rampart")),
        load_engine(resolve(str(checkpoint("rampart_torch"))), ModelSettings(engine="torch")),
    )
    assert onnx.name == "openvino"
    assert _difference(onnx, torch, batch) < 1e-3


def test_weights_of_four_bits_are_unpacked_once() -> None:
    import openvino

    model = openvino.Core().read_model(resolve("rampart").onnx)
    few_bits = ("u4", "i4", "u8", "i8")

    def packed() -> int:
        constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
        return sum(node.get_element_type().get_type_name() in few_bits for node in constants)

    assert packed() > 30
    unpack_weights(model)
    assert packed() < 5, "a matrix is still unpacked in every call"


def test_weights_are_rounded_in_groups() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 256)).astype(np.float32)
    weights[2, :128] = 0
    weights[3, 7] = 50  # costs its own group its precision, and no other
    rounded, scales = round_groups(weights)
    assert (rounded.dtype, rounded.shape, scales.shape) == (np.int8, (6, 2, 128), (6, 2, 1))
    error = np.abs((rounded * scales).reshape(weights.shape) - weights)
    assert error[3, :128].max() > 0.1
    error[3, :128] = 0
    assert error.max() < 0.02
    assert round_groups(weights[:, :100])[0].shape == (6, 1, 100)


def test_int8_is_for_openvino(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(ValueError, match="precision='int8': only for engine='openvino'"):
        load_engine(resolve(str(checkpoint("bert_cased"))), ModelSettings(engine="torch", precision="int8"))


def test_token_types_may_be_missing(checkpoint: Callable[[str], Path], batch: tuple[np.ndarray, ...]) -> None:
    for engine in ("torch", "openvino"):
        loaded = load_engine(resolve(str(checkpoint("bert_cased"))), ModelSettings(engine=engine))
        np.testing.assert_array_equal(loaded.logits(*batch), loaded.logits(batch[0], batch[1], None))


def test_a_converted_model_is_kept(
    checkpoint: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.engines import conversion

    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path))
    found = resolve(str(checkpoint("bert_cased")))
    load_engine(found, ModelSettings(engine="openvino"))
    (kept,) = tmp_path.glob("openvino/*/model.xml")
    assert kept.parent.name.startswith(content_hash(found.folder))
    monkeypatch.setattr(conversion, "_convert", lambda *_, **__: pytest.fail("converted twice"))
    load_engine(found, ModelSettings(engine="openvino"))


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
        load_engine(resolve(str(checkpoint("canine"))), ModelSettings(engine="openvino"))


def test_auto_does_without_openvino(checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load_engine(resolve(str(checkpoint("bert_cased")))).name == "torch"


@pytest.mark.parametrize(("arguments", "sentence"), [
    ({"engine": "torch"}, "engine='torch': cannot read the ONNX weights of model='rampart'; expected openvino"),
    ({"device": "cuda:0"}, "device='cuda:0': not"),
    ({"device": "nonsense"}, "device='nonsense': not on this machine"),
])  # fmt: skip
def test_what_does_not_go_together(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_engine(resolve("rampart"), ModelSettings(**arguments))


def test_a_broken_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r": OpenVINO cannot read model.onnx"):
        load_engine(Checkpoint("x", "", tmp_path))


SIGNAL_AFTER_AN_ENGINE = """
import signal, threading
from pathlib import Path
from transforms.checkpoints.resolve import resolve
from transforms.engines.openvino_engine import OpenVinoEngine

engines = [OpenVinoEngine(resolve("rampart").onnx, precision="fp32")]
thread = threading.Thread(target=engines.clear)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def test_signals_are_handled_after_another_thread_let_go_of_an_engine() -> None:
    """As it does when a model takes the place of another: OpenVINO's end takes the stack of signal handlers away."""
    ran = subprocess.run([sys.executable, "-c", SIGNAL_AFTER_AN_ENGINE], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "handled\n"), ran.stderr
