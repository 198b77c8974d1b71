"""For tests: a random Llama of a few thousand weights and a tokenizer of single bytes, as a Hugging Face folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

from lora_py.peft_files import module_shapes

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 260,
    "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
TEMPLATE = (
    "{% for m in messages %}{{ '<|start|>' + m.role + ' ' + m.content + '<|end|>' }}{% endfor %}<|start|>assistant "
)


def write_tiny_base(folder: Path, seed: int = 0, **changes: object) -> Path:
    config = {**CONFIG, **changes}
    generator = torch.Generator().manual_seed(seed)

    def random(*size: int) -> torch.Tensor:
        made: torch.Tensor = torch.randn(*size, generator=generator) / size[-1] ** 0.5
        return made

    hidden = int(str(config["hidden_size"]))
    weights = {"model.embed_tokens.weight": random(260, hidden), "model.norm.weight": torch.ones(hidden)}
    for name, size in module_shapes(config).items():
        weights[f"model.{name}.weight"] = random(*size)
    for i in range(int(str(config["num_hidden_layers"]))):
        if config["model_type"] == "qwen2":
            for name in ("q_proj", "k_proj", "v_proj"):
                out_size = module_shapes(config)[f"layers.{i}.self_attn.{name}"][0]
                weights[f"model.layers.{i}.self_attn.{name}.bias"] = random(out_size)
        if config["model_type"] == "qwen3":
            for name in ("q_norm", "k_norm"):
                weights[f"model.layers.{i}.self_attn.{name}.weight"] = 1 + 0.1 * random(int(str(config["head_dim"])))
        weights[f"model.layers.{i}.input_layernorm.weight"] = 1 + 0.1 * random(hidden)
        weights[f"model.layers.{i}.post_attention_layernorm.weight"] = 1 + 0.1 * random(hidden)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = random(260, hidden)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|start|>", "<|end|>", "<unk>", "<pad>"]
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate([*special, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"eos_token": "<|end|>", "bos_token": "<|start|>", "pad_token": "<|end|>", "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    )
    return folder
