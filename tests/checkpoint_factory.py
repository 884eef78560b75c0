"""Small checkpoints of many kinds, made on the spot: the real Rampart weights, and chaotic random ones.

A random model with large weights changes its mind from token to token, which is the hardest test of aggregation.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from benchmarks.rampart import rampart_torch

CORPUS = [
    "Anna Müller wohnt in der Straße des 17. Juni 135, 10623 Berlin, und schreibt an anna.mueller@example.org.",
    "The quick brown fox jumps over the lazy dog while John O'Neil reads the New-York Times in Saint-Denis.",
    "Łukasz Żółć kupił chleb w Warszawie; Συγγνώμη, πού είναι το ξενοδοχείο; Москва и Санкт-Петербург.",
    "東京都港区に住んでいます。我住在北京市海淀区中关村大街。 안녕하세요 서울입니다. مرحبا بكم في القاهرة",
    "Call +1 (212) 555-0199 or 555.0142 before 17:30 on 2024-02-29; order #A-1009/B costs $1,299.99 (VAT incl.).",
    "C++ and C# developers at O'Reilly's e-mailed foo_bar@baz.co.uk: “it's—finally—done…” 🙂👍🏽 naïve café déjà-vu",
    "def main(argv): return {'key': [1, 2.5e-3, None]}  # TODO(someone): <b>remove</b> &amp; http://example.com/?q=1&r=2",
] * 3
BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-air-port", "I-air-port"]
PLAIN = ["O", "PER", "LOC", "NOUN", "VERB"]
ODD = ["O", "B-PER", "I-PER", "E-PER", "S-LOC", "per", "-x", "B-"]


def _wrap(backend: Tokenizer, **names: object) -> transformers.PreTrainedTokenizerFast:
    return transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def wordpiece(lowercase: bool) -> transformers.PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    backend.train_from_iterator(CORPUS[:2] + CORPUS[4:6], trainer)  # some scripts stay unknown
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return _wrap(
        backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_max_length=64, model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


def byte_level_bpe(add_prefix_space: bool = False) -> transformers.PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=add_prefix_space
    )
    return _wrap(
        backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=60, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def unigram(prepend: str = "always") -> transformers.PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepend)
    backend.decoder = decoders.Metaspace(prepend_scheme=prepend)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(CORPUS, trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return _wrap(
        backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", cls_token="<s>",
        sep_token="</s>", mask_token="<mask>", model_max_length=58, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def save(
    folder: Path, config: transformers.PretrainedConfig, tokenizer: object, labels: list[str], seed: int = 0
) -> Path:
    """Writes a checkpoint with random weights."""
    torch.manual_seed(seed)
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
    model = transformers.AutoModelForTokenClassification.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                weight.mul_(6.0 if "classifier" in name else 3.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


def small(tokenizer: object, **changes: object) -> dict[str, object]:
    sizes = dict(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,  # type: ignore[arg-type]
        max_position_embeddings=64, pad_token_id=tokenizer.pad_token_id,  # type: ignore[attr-defined]
    )  # fmt: skip
    return {**sizes, **changes}


def bert_cased(folder: Path) -> Path:
    tokenizer = wordpiece(lowercase=False)
    return save(folder, transformers.BertConfig(**small(tokenizer)), tokenizer, BIO, seed=1)


def bert_iobes(folder: Path) -> Path:
    """Labels in IOBES, and a calibration, as openai/privacy-filter has them."""
    tokenizer = wordpiece(lowercase=False)
    labels = ["O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC") for prefix in "BIES")]
    save(folder, transformers.BertConfig(**small(tokenizer)), tokenizer, labels, seed=8)
    names = ("background_stay", "background_to_start", "inside_to_continue", "inside_to_end", "end_to_background", "end_to_start")  # fmt: skip
    points = {
        point: {"biases": {f"transition_bias_{name}": value for name in names}}
        for point, value in (("default", 0.0), ("all_starts", 0.0))
    }
    points["all_starts"]["biases"]["transition_bias_background_to_start"] = 50.0
    points["all_starts"]["biases"]["transition_bias_end_to_start"] = 50.0
    (folder / "viterbi_calibration.json").write_text(json.dumps({"operating_points": points}))
    return folder


def electra_uncased(folder: Path) -> Path:
    tokenizer = wordpiece(lowercase=True)
    config = transformers.ElectraConfig(embedding_size=16, **small(tokenizer))
    return save(folder, config, tokenizer, ODD, seed=2)


def distilbert_plain(folder: Path) -> Path:
    tokenizer = wordpiece(lowercase=True)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    config = transformers.DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64
    )
    return save(folder, config, tokenizer, PLAIN, seed=3)


def roberta(folder: Path) -> Path:
    tokenizer = byte_level_bpe()
    config = transformers.RobertaConfig(**small(tokenizer, max_position_embeddings=66))
    return save(folder, config, tokenizer, BIO, seed=4)


def roberta_prefix_space(folder: Path) -> Path:
    tokenizer = byte_level_bpe(add_prefix_space=True)
    config = transformers.RobertaConfig(**small(tokenizer, max_position_embeddings=66))
    return save(folder, config, tokenizer, ODD, seed=5)


def xlm_roberta(folder: Path) -> Path:
    tokenizer = unigram()
    config = transformers.XLMRobertaConfig(**small(tokenizer, max_position_embeddings=66))
    return save(folder, config, tokenizer, BIO, seed=6)


def deberta(folder: Path) -> Path:
    tokenizer = unigram(prepend="first")
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    config = transformers.DebertaV2Config(
        **small(
            tokenizer,
            relative_attention=True,
            position_buckets=16,
            position_biased_input=False,
            pos_att_type=["p2c", "c2p"],
        )
    )
    return save(folder, config, tokenizer, PLAIN, seed=7)


def canine(folder: Path) -> Path:
    """A slow tokenizer: code points, no offsets."""
    tokenizer = transformers.CanineTokenizer(model_max_length=128)
    config = transformers.CanineConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, max_position_embeddings=256,
        num_hash_buckets=512, local_transformer_stride=8, downsampling_rate=4,
    )  # fmt: skip
    return save(folder, config, tokenizer, BIO, seed=8)


def slow_wordpiece(folder: Path) -> Path:
    """A slow tokenizer in Python with a vocabulary file."""
    backend = wordpiece(lowercase=True)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = sorted(backend.get_vocab().items(), key=lambda item: item[1])
    vocab_file = folder / "vocab.txt"
    vocab_file.write_text("".join(f"{token}\n" for token, _ in vocabulary), encoding="utf-8")
    tokenizer = transformers.BertJapaneseTokenizer(
        str(vocab_file), word_tokenizer_type="basic", subword_tokenizer_type="wordpiece", do_lower_case=True,
        model_max_length=64,
    )  # fmt: skip
    return save(folder, transformers.BertConfig(**small(backend)), tokenizer, BIO, seed=9)


__all__ = ["RANDOM_CHECKPOINTS", "SLOW", "rampart_torch"]

RANDOM_CHECKPOINTS = {
    function.__name__: function
    for function in (
        bert_cased, electra_uncased, distilbert_plain, roberta, roberta_prefix_space, xlm_roberta, deberta, canine,
        slow_wordpiece,
    )
}  # fmt: skip
SLOW = ("canine", "slow_wordpiece")
