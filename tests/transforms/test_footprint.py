from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import transformers

from transforms.footprint import count_parameters, process_bytes


def test_parameters_are_counted_without_weights(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_cased")
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(transformers.AutoConfig.from_pretrained(folder)) == expected


def test_a_large_model_takes_more(checkpoint: Callable[[str], Path]) -> None:
    base = transformers.BertConfig(vocab_size=24000)  # the one that was measured
    openvino, torch = process_bytes(base, "auto"), process_bytes(base, "torch")
    assert 2.0e9 <= (openvino or 0) < 2.2e9
    assert 1.05e9 <= (torch or 0) < 1.3e9


def test_a_model_that_cannot_be_built_has_no_size() -> None:
    assert process_bytes(transformers.CLIPTextConfig(), "auto") is None
