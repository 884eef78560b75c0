from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from transforms.engines.memory import count_parameters, machine_bytes


def test_parameters_are_counted_without_weights(checkpoint: Callable[[str], Path]) -> None:
    folder = checkpoint("bert_cased")
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder)
    expected = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(transformers.AutoConfig.from_pretrained(folder)) == expected


def test_a_large_model_takes_more(checkpoint: Callable[[str], Path]) -> None:
    base = count_parameters(transformers.BertConfig(vocab_size=24000))  # the one that was measured
    assert base
    assert 2.0e9 <= machine_bytes(base, "auto") < 2.2e9
    assert 1.05e9 <= machine_bytes(base, "torch") < 1.3e9


def test_openvinos_processes_share_most_of_a_model() -> None:
    """As docs/runners.md has it: 718 MiB of a process's own; PyTorch copies its weights into each."""
    further = machine_bytes(104_000_000, "openvino", 3) - machine_bytes(104_000_000, "openvino", 2)
    assert further == pytest.approx(718 * 1024**2, rel=0.05)
    assert machine_bytes(104_000_000, "torch", 8) == 8 * machine_bytes(104_000_000, "torch")


def test_a_model_that_cannot_be_built_has_no_size() -> None:
    assert count_parameters(transformers.CLIPTextConfig()) is None
