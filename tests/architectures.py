"""A small random checkpoint of each architecture that transformers has for token classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from checkpoint_factory import BIO, byte_level_bpe, save
from transformers import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES

ARCHITECTURES: tuple[str, ...] = tuple(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES)
"""The values of `model_type`."""

# Sizes by the names that configurations have for them. A configuration gets those that it has.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(["hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size", "embed_dim"], 32),
    **dict.fromkeys(["num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "encoder_layers"], 2),
    **dict.fromkeys(["num_attention_heads", "n_head", "n_heads", "num_heads"], 4),
    **dict.fromkeys(["intermediate_size", "ffn_dim", "hidden_dim", "d_ff", "n_inner", "d_inner"], 64),
    **dict.fromkeys(["head_dim", "d_kv", "d_head", "linear_key_head_dim", "linear_value_head_dim"], 8),
    **dict.fromkeys(["num_experts", "num_local_experts", "n_routed_experts"], 4),
    **dict.fromkeys(["moe_intermediate_size", "shared_expert_intermediate_size"], 16),
    "num_experts_per_tok": 2,
    "num_key_value_heads": 2,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "hidden_size_per_layer_input": 8,
}  # fmt: skip
_LATENT = {  # attention with latent keys and values
    "head_dim": 4, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "qk_head_dim": 8, "v_head_dim": 8, "kv_lora_rank": 8,
    "q_lora_rank": 8, "num_key_value_heads": 4, "n_group": 1, "topk_group": 1,
}  # fmt: skip
_SPECIAL: dict[str, dict[str, Any]] = {
    "axk1": _LATENT,
    "axk2": {**_LATENT, "n_group": None, "topk_group": None, "index_head_dim": 8, "index_n_heads": 2},
    "deepseek_v3": _LATENT,
    "mistral4": _LATENT,
    "esm": {"mask_token_id": 4, "pad_token_id": 1, "position_embedding_type": "rotary", "token_dropout": False},
    "esmc": {"num_key_value_heads": 4},
    "falcon": {"head_dim": ...},
    "funnel": {"num_hidden_layers": ..., "block_sizes": [1, 1]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "layoutlmv3": {"coordinate_size": 4, "shape_size": 8},
    "lilt": {"hidden_size": 48},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 8},
    "qwen3_next": {"layer_types": ["linear_attention", "full_attention"]},
    "qwen3_5_text": {"layer_types": ["linear_attention", "full_attention"]},
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20, "pronunciation_embed_dim": 8, "shape_embed_dim": 8},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
}  # fmt: skip
_VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "depth": 1, "num_heads": 2, "out_hidden_size": 32}  # fmt: skip
_AUDIO = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16, "output_dim": 32, "downsample_hidden_size": 8}  # fmt: skip


def config_of(name: str, vocab_size: int, pad_token_id: int) -> Any:
    """A configuration of an architecture, as small as it can be."""
    return CONFIG_MAPPING[name](**_arguments(CONFIG_MAPPING[name](), name, vocab_size, pad_token_id))


def _arguments(default: Any, name: str, vocab_size: int, pad_token_id: int) -> dict[str, Any]:
    sizes = {**_SIZES, "vocab_size": vocab_size, "vocab_size_per_layer_input": vocab_size}
    tokens = {"pad_token_id": pad_token_id, "bos_token_id": 0, "eos_token_id": 2}
    arguments = {size: value for size, value in sizes.items() if hasattr(default, size)} | tokens
    if getattr(default, "rope_parameters", None):
        arguments["max_position_embeddings"] = 40  # less than the tokenizer's 60 tokens: no limit for these models
    for part, config in vars(default).items():
        if not isinstance(config, transformers.PretrainedConfig):
            continue
        if part in ("vision_config", "audio_config"):
            small = _VISION if part == "vision_config" else _AUDIO
            chosen = {size: value for size, value in small.items() if hasattr(config, size)}
        else:
            chosen = _arguments(config, config.model_type, vocab_size, pad_token_id)
        arguments[part] = {"model_type": config.model_type, **chosen}
    arguments |= _SPECIAL.get(default.model_type, {})
    return {size: value for size, value in arguments.items() if value is not ...}


def architecture(folder: Path, name: str) -> Path:
    """Writes a checkpoint of an architecture with a byte-level tokenizer."""
    tokenizer = byte_level_bpe()
    return save(folder, config_of(name, len(tokenizer), tokenizer.pad_token_id), tokenizer, BIO, seed=3)
