"""Every architecture of transformers for token classification, beside transformers' own pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers
from architectures import ARCHITECTURES, architecture, config_of
from checkpoint_factory import BIO, CORPUS, byte_level_bpe, save, wordpiece

from transforms import TokenClassifier
from transforms.errors import ArgumentError

TEXTS = ["Ann lives in Rome, and Bob in Paris.", CORPUS[1], CORPUS[3], CORPUS[5], " ".join(CORPUS[:7])]

REFUSED = {
    "bros": "a test sentence cannot be classified: ValueError: You have to specify bbox",
    "layoutlmv2": "LayoutLMv2Model requires the detectron2 library",
}
"""Architectures whose models read more than a text; transformers' own pipeline fails too."""


IN_TORCH = set(
    "axk1 axk2 deepseek_v3 gpt_oss minimax mistral4 mixtral openai_privacy_filter qwen2_moe qwen3_moe qwen3_next"  # experts
    " big_bird canine flaubert funnel longformer qwen3_5 t5gemma2 xlm xlnet yoso".split()
)
"""Architectures that OpenVINO does not convert, so that ``engine="auto"`` is PyTorch."""


def entities(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(one.get("entity", one.get("entity_group")), one["word"], one["start"], one["end"]) for one in found]


@pytest.mark.architectures
@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(REFUSED)))
def test_answers_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    folder = architecture(tmp_path / "model", name)
    for strategy in ("none", "first"):
        pipe = transformers.pipeline("ner", str(folder), aggregation_strategy=strategy, ignore_labels=[], device=-1)
        expected = [pipe(text) for text in TEXTS]
        for engine in ("torch", "auto"):
            classify = TokenClassifier(
                folder, engine=engine, aggregation_strategy=strategy, ignore_labels=[], long_text="truncate"
            )
            assert classify.engine.name == ("torch" if engine == "torch" or name in IN_TORCH else "openvino")
            for ours, theirs in zip(classify(TEXTS), expected, strict=True):
                assert entities(ours) == entities(theirs)
                scores = [float(one["score"]) for one in theirs]
                assert [one["score"] for one in ours] == pytest.approx(scores, abs=1e-4)


@pytest.mark.architectures
def test_a_model_that_reads_boxes_is_rejected(tmp_path: Path) -> None:
    folder = architecture(tmp_path / "model", "bros")
    with pytest.raises(ArgumentError, match=REFUSED["bros"]):
        TokenClassifier(folder)


@pytest.mark.architectures
def test_a_model_that_needs_another_library_is_rejected(tmp_path: Path) -> None:
    folder = architecture(tmp_path / "model", "bert")
    tokenizer = byte_level_bpe()
    config = config_of("layoutlmv2", len(tokenizer), 1).to_dict() | {
        "architectures": ["LayoutLMv2ForTokenClassification"]
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArgumentError, match=REFUSED["layoutlmv2"]):
        TokenClassifier(folder)


def roc_bert(folder: Path) -> Path:
    """A tokenizer that gives each token a shape and a pronunciation too."""
    vocabulary = sorted(wordpiece(lowercase=False).get_vocab().items(), key=lambda item: item[1])
    folder.mkdir()
    files = [folder / name for name in ("vocab.txt", "word_shape.json", "word_pronunciation.json")]
    files[0].write_text("\n".join(word for word, _ in vocabulary))
    for path in files[1:]:
        path.write_text(json.dumps({word: number % 20 for word, number in vocabulary}))
    tokenizer = transformers.RoCBertTokenizer(*map(str, files), do_lower_case=False, model_max_length=64)
    return save(folder, config_of("roc_bert", len(vocabulary), 0), tokenizer, BIO)


def markuplm(folder: Path) -> Path:
    """A tokenizer that takes texts for nodes of a page."""
    backend = byte_level_bpe()
    state = json.loads(backend.backend_tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in state["merges"]]
    tokenizer = transformers.MarkupLMTokenizer({"html": 0, "body": 1}, state["vocab"], merges, model_max_length=60)
    return save(folder, config_of("markuplm", len(backend), 1), tokenizer, BIO)


@pytest.mark.parametrize(("make", "inputs"), [
    (roc_bert, "RoCBertTokenizer makes inputs that are not supported: input_pronunciation_ids, input_shape_ids"),
    (markuplm, "MarkupLMTokenizer makes inputs that are not supported: xpath_subs_seq, xpath_tags_seq"),
])  # fmt: skip
def test_a_tokenizer_with_more_inputs_is_rejected(make: Any, inputs: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "model")
    with pytest.raises(ArgumentError, match=f"^model='{folder}': its {inputs}$"):
        TokenClassifier(folder, engine="torch")


def ctrl(folder: Path) -> Path:
    """A slow tokenizer without special tokens, and with no token for unknown characters."""
    words = ["A", "n", "l", "i", "v", "e", "s", "R", "o", "m", "B", "b"]
    pieces = [f"{word}{end}" for word in words for end in ("", "@@")]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(["<unk>", *pieces])}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CTRLTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=64)
    return save(folder, config_of("gpt2", len(tokenizer), 0), tokenizer, BIO)


def test_a_slow_tokenizer_without_special_tokens(tmp_path: Path) -> None:
    folder = ctrl(tmp_path / "model")
    pipe = transformers.pipeline("ner", str(folder), ignore_labels=[], device=-1)
    ours = TokenClassifier(folder, engine="torch", ignore_labels=[])
    for text in ("Ann lives Rome", "Bob"):
        assert entities(ours(text)) == entities(pipe(text))
    shutil.rmtree(folder)
