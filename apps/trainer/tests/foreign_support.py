"""Tiny random models of the families that transformers runs, as folders with the byte tokenizer of `tiny_base`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

Folder = Callable[[str], Path]  # family -> its folder, written once
SMALL: dict[str, Any] = {
    "vocab_size": 260,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 3,
}
GEMMA = {"head_dim": 16, "hidden_activation": "gelu_pytorch_tanh"}
LAYERS = ["sliding_attention", "sliding_attention", "full_attention"]
FAMILIES: dict[str, dict[str, Any]] = {
    "Phi3": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
    "Phi": {"num_key_value_heads": 4, "attention_bias": True},
    "Gemma": {**GEMMA, "hidden_act": "gelu_pytorch_tanh"},
    "Gemma2": {**GEMMA, "query_pre_attn_scalar": 12, "sliding_window": 6, "attn_logit_softcapping": 2.0},
    "Gemma3": {**GEMMA, "query_pre_attn_scalar": 12, "sliding_window": 6, "layer_types": LAYERS},
    "Granite": {"logits_scaling": 4.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    "Olmo2": {},
    "SmolLM3": {"no_rope_layer_interval": 2},
    "Starcoder2": {"use_bias": True, "sliding_window": None},
}


def write_foreign(folder: Path, family: str, tokenizer: Path, **changes: Any) -> Path:
    """`tokenizer`: a folder whose tokenizer it takes."""
    import transformers  # seconds, which the other tests need not wait for

    name = "Gemma3Text" if family == "Gemma3" else family
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **FAMILIES[family], **changes})
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    with torch.no_grad():  # as transformers starts them, nothing but the embeddings would matter
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=1.2 / parameter.shape[1] ** 0.5)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / file, folder / file)
    return folder
