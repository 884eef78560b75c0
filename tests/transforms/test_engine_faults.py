"""Engines that fail: for one batch, for want of memory, at a conversion."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import torch
import transformers
from checkpoint_factory import BIO, save, small, wordpiece

from transforms import TokenClassifier
from transforms.checkpoints.resolve import resolve
from transforms.engines import conversion, fallback, loading
from transforms.engines.base import ConversionError, OutOfMemoryError, is_out_of_memory
from transforms.engines.fallback import FallbackEngine
from transforms.engines.loading import load_engine
from transforms.engines.openvino_engine import OpenVinoEngine
from transforms.engines.precisions import stored_precision
from transforms.engines.torch_engine import TorchEngine
from transforms.settings import ModelSettings

TEXT = "Anna Müller wohnt in Berlin, and John O'Neil reads the Times in Saint-Denis."


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of conversions."""
    monkeypatch.setenv("BEAM_NER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("shape", [(2, 7), (1, 8)])
def test_a_batch_that_failed_spoils_no_other_of_its_shape(shape: tuple[int, int]) -> None:
    engine = OpenVinoEngine(resolve("rampart").onnx, precision="fp32")  # type: ignore[arg-type]
    ids = np.random.default_rng(1).integers(5, 200, shape)
    expected = engine.logits(ids, np.ones_like(ids), None)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            engine.logits(ids, np.ones((shape[0], shape[1] + 2), np.int64), None)
        np.testing.assert_array_equal(engine.logits(ids, np.ones_like(ids), None), expected)


class Stub:
    """An engine that fails for some lengths."""

    device, precision = "cpu", "fp32"

    def __init__(self, name: str, *bad: int, error: type[Exception] = RuntimeError) -> None:
        self.name, self.bad, self.error, self.calls = name, bad, error, 0

    def logits(self, ids: np.ndarray, *_: Any) -> np.ndarray:
        self.calls += 1
        if ids.shape[1] in self.bad:
            raise self.error("a text that nobody should read")
        return np.full((*ids.shape, 2), len(self.name), np.float32)


def run(engine: FallbackEngine, length: int) -> float:
    ids = np.ones((1, length), np.int64)
    return float(engine.logits(ids, ids, None)[0, 0, 0])


def test_another_engine_takes_over_from_the_first_failure_on(caplog: pytest.LogCaptureFixture) -> None:
    first, other = Stub("openvino", 5), Stub("torch")
    engine = FallbackEngine(first, lambda: other, "m")
    assert (run(engine, 4), engine.name) == (8, "openvino")
    assert (run(engine, 5), engine.name) == (5, "torch")
    assert (run(engine, 4), first.calls) == (5, 2)
    (line,) = [record.getMessage() for record in caplog.records if record.name == fallback.__name__]
    assert (
        line
        == "engine=auto: torch for model='m' from now on, since openvino failed for a batch of 1 x 5 tokens (RuntimeError)"
    )


def test_a_batch_that_no_engine_can_run_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loads = []
    engine = FallbackEngine(Stub("openvino", 5), lambda: loads.append(1) or Stub("torch", 5), "m")  # type: ignore[func-returns-value]
    for _ in range(3):
        with pytest.raises(RuntimeError):
            run(engine, 5)
    assert (run(engine, 4), engine.name, loads, caplog.text) == (8, "openvino", [1], "")


def test_want_of_memory_is_not_a_fault_of_the_engine() -> None:
    engine = FallbackEngine(Stub("openvino", 5, error=OutOfMemoryError), lambda: pytest.fail("loaded"), "m")
    with pytest.raises(OutOfMemoryError):
        run(engine, 5)


def test_a_classifier_goes_on_in_torch(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkpoint("bert_cased")
    expected = TokenClassifier(folder, engine="torch")(TEXT)
    classify = TokenClassifier(folder)
    assert classify.engine.name == "openvino"

    def fail(*_: Any) -> np.ndarray:
        raise RuntimeError(TEXT)

    monkeypatch.setattr(OpenVinoEngine, "logits", fail)
    found = classify(TEXT)
    assert [{**one, "score": 0} for one in found] == [{**one, "score": 0} for one in expected]
    assert (classify.engine.name, classify.counts.take()) == ("torch", {})
    assert "engine=auto: torch for model=" in caplog.text
    assert "Anna" not in caplog.text


def test_the_allocator_of_a_cpu_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50)
    assert is_out_of_memory(raised.value)
    with pytest.raises(MemoryError) as raised_by_numpy:
        np.empty(1 << 50)
    assert is_out_of_memory(raised_by_numpy.value)
    assert is_out_of_memory(RuntimeError("std::bad_alloc"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("bad_alloc"))


def test_batches_that_a_cpus_memory_does_not_hold_become_smaller(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = TokenClassifier(checkpoint("bert_cased"), engine="torch")
    texts = [f"{TEXT} {number}" for number in range(12)]
    expected = classify(texts)
    engine = classify.engine
    assert isinstance(engine, TorchEngine)
    model, shapes = engine._model, []

    def allocate(**inputs: torch.Tensor) -> Any:
        shapes.append(tuple(inputs["input_ids"].shape))
        if len(inputs["input_ids"]) > 3:
            torch.empty(1 << 50)
        return model(**inputs)

    monkeypatch.setattr(engine, "_model", allocate)
    found = classify(texts)
    assert [[{**one, "score": 0} for one in each] for each in found] == [
        [{**one, "score": 0} for one in each] for each in expected
    ]
    assert classify.counts.take()["batches_out_of_memory"] >= 1
    assert shapes[-1][0] <= 3


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What was converted."""
    done: list[Any] = []
    convert = conversion._convert

    def counted(module: Any, path: Path, **settings: Any) -> Path:
        done.append(type(module).__name__)
        return convert(module, path, **settings)

    monkeypatch.setattr(conversion, "_convert", counted)
    return done


def test_a_conversion_that_failed_is_not_tried_again(
    checkpoint: Callable[[str], Path],
    cache: Path,
    conversions: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "transforms")
    found = resolve(str(checkpoint("canine")))
    for _ in range(3):
        assert load_engine(found).name == "torch"
    assert len(conversions) == 1
    lines = [record.getMessage() for record in caplog.records if record.name == loading.__name__]
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert not list(cache.glob("openvino/*/unchecked*"))
    monkeypatch.setattr(conversion, "_libraries", lambda: {"torch": "another"})
    load_engine(found)
    assert len(conversions) == 2
    (remembered,) = cache.glob("openvino/*/failed.json")
    remembered.write_text("no JSON")
    load_engine(found)
    assert len(conversions) == 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("cannot write")])
def test_a_full_disk_is_not_remembered(
    error: Exception,
    checkpoint: Callable[[str], Path],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "transforms")

    def fail(*_: Any, **__: Any) -> None:
        raise error

    found = resolve(str(checkpoint("bert_cased")))
    with monkeypatch.context() as patch:
        patch.setattr(openvino, "save_model", fail)
        assert load_engine(found).name == "torch"
    assert f"since the converted model cannot be written ({type(error).__name__})" in caplog.text
    assert load_engine(found).name == "openvino"


def test_a_mixture_of_experts_is_not_converted(tmp_path: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "transforms")
    tokenizer = wordpiece(lowercase=False)
    config = transformers.MixtralConfig(
        **small(tokenizer, num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2)
    )
    save(tmp_path / "model", config, tokenizer, BIO)
    assert TokenClassifier(tmp_path / "model").engine.name == "torch"
    assert "chooses experts by the tokens, which OpenVINO cannot trace" in caplog.text


def test_a_decoder_is_converted(tmp_path: Path, cache: Path) -> None:
    """Without a cache of keys and values, which is for the next token."""
    tokenizer = wordpiece(lowercase=False)
    config = transformers.Qwen3Config(**small(tokenizer, num_key_value_heads=2, head_dim=8))
    save(tmp_path / "model", config, tokenizer, BIO)
    ours = TokenClassifier(tmp_path / "model", ignore_labels=[])
    assert ours.engine.name == "openvino"
    theirs = transformers.pipeline("ner", str(tmp_path / "model"), ignore_labels=[])(TEXT)
    assert [(one["word"], one["entity"]) for one in ours(TEXT)] == [(one["word"], one["entity"]) for one in theirs]


def stored(folder: Path, source: Path, dtype: str, *, named: bool) -> Path:
    """A copy of a checkpoint with its weights in another type; the configuration names it or does not."""
    model = transformers.AutoModelForTokenClassification.from_pretrained(str(source), dtype=getattr(torch, dtype))
    shutil.copytree(source, folder)
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config.pop("torch_dtype", None)
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps({**config, **({"dtype": dtype} if named else {})}))
    return folder


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(("dtype", "precision"), [("float32", "fp32"), ("bfloat16", "bf16"), ("float16", "fp16")])
def test_the_stored_precision_is_that_of_transformers(
    dtype: str, precision: str, named: bool, checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = stored(tmp_path / "model", checkpoint("bert_cased"), dtype, named=named)
    pipe = transformers.pipeline("ner", str(folder), ignore_labels=[])
    assert pipe.model.dtype == getattr(torch, dtype)
    assert stored_precision(resolve(str(folder))) == precision
    ours = TokenClassifier(folder, precision="checkpoint", ignore_labels=[])
    assert ours.engine.precision == precision
    theirs = pipe(TEXT)
    found = ours(TEXT)
    assert [(one["word"], one["entity"]) for one in found] == [(one["word"], one["entity"]) for one in theirs]
    tolerance = 1e-4 if precision == "fp32" else 2e-2
    assert [one["score"] for one in found] == pytest.approx([float(one["score"]) for one in theirs], abs=tolerance)
    assert TokenClassifier(folder).engine.precision == "fp32"


def test_a_stored_precision_that_no_engine_has(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = stored(tmp_path / "model", checkpoint("bert_cased"), "float64", named=True)
    with pytest.raises(
        ValueError, match=r"precision='checkpoint': model=.* is stored in float64; expected fp32, bf16 or fp16"
    ):
        TokenClassifier(folder, precision="checkpoint")
    assert TokenClassifier("rampart", precision="checkpoint").engine.precision == "fp32"


def test_a_failed_conversion_is_an_error_where_openvino_was_asked_for(
    checkpoint: Callable[[str], Path], cache: Path
) -> None:
    for _ in range(2):
        with pytest.raises(ConversionError, match="in OpenVINO differ by"):
            load_engine(resolve(str(checkpoint("canine"))), ModelSettings(engine="openvino"))


@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_a_configuration_that_asks_for_tuples(
    engine: str, checkpoint: Callable[[str], Path], tmp_path: Path, cache: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint("bert_cased"), tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text()) | {"return_dict": False}
    (folder / "config.json").write_text(json.dumps(config))
    expected = TokenClassifier(checkpoint("bert_cased"), engine="torch")(TEXT)
    found = TokenClassifier(folder, engine=engine)(TEXT)
    assert [one["word"] for one in found] == [one["word"] for one in expected]
