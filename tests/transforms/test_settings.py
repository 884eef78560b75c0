"""Settings: their checks, and where they are shown."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms import GroupEntities, ModelSettings, TokenClassificationModelHandler, TokenClassifier
from transforms.aggregation.settings import EntitySettings
from transforms.errors import ArgumentError
from transforms.settings import HandlerSettings


@pytest.mark.parametrize(("arguments", "message"), [
    ({"engine": "jax"}, "engine='jax': unknown; expected one of auto, torch, openvino"),
    ({"precision": "fp8"}, "precision='fp8': unknown; expected one of auto, fp32, bf16, fp16, int8"),
    ({"long_text": "cut"}, "long_text='cut': unknown; expected one of window, truncate"),
    ({"special_tokens": "none"}, "special_tokens='none': unknown; expected one of text, special"),
    ({"scores": "worst"}, "scores='worst': unknown; expected one of all, best"),
    ({"max_batch_tokens": 0}, "max_batch_tokens=0: too small; expected at least 1"),
    ({"max_batch_chars": 0}, "max_batch_chars=0: too small; expected at least 1"),
    ({"max_document_chars": 0}, "max_document_chars=0: too small; expected at least 1"),
    ({"max_batch_wait_ms": 0}, "max_batch_wait_ms=0: too small; expected at least 1"),
    ({"threads": 0}, "threads=0: too small; expected at least 1"),
    ({"processes": -1}, "processes=-1: too small; expected at least 0"),
    ({"batch_timeout_seconds": -1}, "batch_timeout_seconds=-1: out of range; expected at least 0, which is no limit"),
    ({"batch_timeout_seconds": float("nan")}, "batch_timeout_seconds=nan: out of range; expected at least 0, which is no limit"),
    ({"model_refresh_seconds": 0}, "model_refresh_seconds=0: out of range; expected a finite number above 0"),
    ({"model": 7}, "model: of type int; expected a checkpoint's name or folder, as written by save_pretrained of a model and its tokenizer"),
    ({"stride": 4.0}, "stride=4.0: of type float; expected a whole number"),
    ({"stride": True}, "stride=True: of type bool; expected a whole number"),
    ({"stride": "4"}, "stride='4': of type str; expected a whole number"),
    ({"max_batch_tokens": None}, "max_batch_tokens=None: of type NoneType; expected a whole number"),
    ({"max_window_tokens": 0}, "max_window_tokens=0: too small; expected at least 1"),
    ({"word_boundaries": "spaces"}, "word_boundaries='spaces': unknown; expected one of hf, tokenizer"),
    ({"batch_timeout_seconds": "1"}, "batch_timeout_seconds='1': of type str; expected a number"),
    ({"allow_pickle_weights": "no"}, "allow_pickle_weights='no': of type str; expected True or False"),
    ({"model": None}, "model: of type NoneType; expected a checkpoint's name or folder"),
    ({"model_revision": 7}, "model_revision: of type int; expected text"),
    ({"tokenizer": object()}, "tokenizer: of type object; expected a checkpoint's name or folder"),
])  # fmt: skip
def test_a_value_that_does_not_fit_is_an_error(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        HandlerSettings(**arguments)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"min_score": float("nan")}, "min_score=nan: out of range"),
    ({"min_score": 1.1}, "min_score=1.1: out of range"),
    ({"ignore_labels": 5}, "ignore_labels: of a wrong type; expected a collection of the names of labels"),
    ({"ignore_labels": [["O"]]}, "ignore_labels: of a wrong type"),
    ({"ignore_labels": [7]}, "ignore_labels: of a wrong type"),
    ({"min_score": "0.5"}, "min_score='0.5': of type str; expected a number"),
    ({"split_lines": 1}, "split_lines=1: of type int; expected True or False"),
    ({"aggregation_strategy": "last"}, "aggregation_strategy='last': unknown"),
    ({"viterbi_calibration": 7, "decoding": "viterbi"}, "viterbi_calibration: of type int; expected text"),
])  # fmt: skip
def test_settings_of_entities_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        EntitySettings(**arguments)
    assert str(raised.value).startswith(message)


def test_a_number_of_numpy_is_a_number() -> None:
    settings = ModelSettings(stride=np.int64(4), batch_timeout_seconds=np.float32(2))  # type: ignore[arg-type]
    assert (settings.stride, type(settings.stride)) == (4, int)
    assert (settings.batch_timeout_seconds, type(settings.batch_timeout_seconds)) == (2.0, float)


def test_a_path_is_a_name() -> None:
    assert ModelSettings(model=Path("m"), tokenizer=Path("t")) == ModelSettings(model="m", tokenizer="t")  # type: ignore[arg-type]


def test_settings_that_load_the_same_model_are_equal() -> None:
    settings = HandlerSettings(stride=8)
    assert hash(settings) == hash(replace(settings, max_batch_chars=5, scores="best"))
    assert settings == replace(settings, max_batch_chars=5, scores="best", max_document_chars=9, max_batch_wait_ms=3)
    for name, value in {"stride": 9, "processes": 2, "model_refresh_seconds": 5, "threads": 1}.items():
        assert settings != replace(settings, **{name: value})
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(("function", "kind", "others"), [
    (TokenClassifier, ModelSettings, {"special_tokens": "special", "batch_timeout_seconds": 0}),
    (TokenClassifier, EntitySettings, {"tagging_scheme": "hf", "aggregation_strategy": "none", "ignore_labels": ("O",)}),
    (GroupEntities, EntitySettings, {"aggregation_strategy": "none"}),
    (TokenClassificationModelHandler, HandlerSettings, {}),
])  # fmt: skip
def test_the_signature_has_all_settings(function: Any, kind: type, others: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    for field in dataclasses.fields(kind):
        assert parameters[field.name].default == others.get(field.name, field.default)
        assert f"\n    {field.name}: " in str(kind.__doc__)
