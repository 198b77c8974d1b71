"""Tiny models and adapters with random weights, and a tokenizer of bytes: enough to run everything for real."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from lora_py.peft_files import AdapterSettings, write_adapter
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PARENT = {name: "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn" for name in MODULES}
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 259,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "eos_token_id": 258,
    "bos_token_id": 257,
}


def write_tokenizer(folder: Path) -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {char: index for index, char in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    for text in ("<|endoftext|>", "<|im_start|>", "<|im_end|>"):
        tokenizer.add_special_tokens([AddedToken(text, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "chat_template": CHAT_TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def shapes(config: dict) -> dict[str, tuple[int, int]]:
    hidden, head = config["hidden_size"], config["head_dim"]
    q, kv, inner = (
        config["num_attention_heads"] * head,
        config["num_key_value_heads"] * head,
        config["intermediate_size"],
    )
    return {
        "q_proj": (q, hidden),
        "k_proj": (kv, hidden),
        "v_proj": (kv, hidden),
        "o_proj": (hidden, q),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }


def sixteen_levels(matrix: torch.Tensor) -> torch.Tensor:
    """As a 4-bit file would hold it: each 32 weights between their least and largest in 15 steps."""
    groups = matrix.reshape(-1, 32)
    least, most = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    step = (most - least) / 15
    return (((groups - least) / step).round() * step + least).view_as(matrix)


def write_model(folder: Path, seed: int = 0, four_bits: bool = False, **changes: object) -> dict:
    """Weights large enough that the next token is rarely a near-tie."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**LLAMA, **changes}
    random = torch.Generator().manual_seed(seed)

    def matrix(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random) / shape[-1] ** 0.5

    hidden, head = config["hidden_size"], config["head_dim"]
    tensors = {
        "model.embed_tokens.weight": torch.randn(config["vocab_size"], hidden, generator=random),
        "model.norm.weight": 1 + 0.1 * torch.randn(hidden, generator=random),
    }
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = torch.randn(config["vocab_size"], hidden, generator=random)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}{norm}.weight"] = 1 + 0.1 * torch.randn(hidden, generator=random)
        for name, shape in shapes(config).items():
            tensors[f"{prefix}{PARENT[name]}.{name}.weight"] = 1.5 * matrix(*shape)
            if config["model_type"] == "qwen2" and name in ("q_proj", "k_proj", "v_proj"):
                tensors[f"{prefix}self_attn.{name}.bias"] = 0.3 * torch.randn(shape[0], generator=random)
        if config["model_type"] == "qwen3":
            for norm in ("q_norm", "k_norm"):
                tensors[f"{prefix}self_attn.{norm}.weight"] = 1 + 0.1 * torch.randn(head, generator=random)
    if four_bits:
        tensors = {name: sixteen_levels(t) if t.dim() == 2 else t for name, t in tensors.items()}
    save_file(tensors, str(folder / "model.safetensors"))
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)
    return config


def write_lora(
    folder: Path, seed: int, rank: int = 4, modules: tuple[str, ...] = MODULES, rslora: bool = False, **changes: object
) -> str:
    """Weights that half precision holds exactly, scaled by powers of two: the kernel's storage costs nothing here."""
    config = {**LLAMA, **changes}
    random = torch.Generator().manual_seed(1000 + seed)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        for name in modules:
            out_dim, in_dim = shapes(config)[name]
            a = torch.randn(rank, in_dim, generator=random) / in_dim**0.5
            b = 0.4 * torch.randn(out_dim, rank, generator=random)
            weights[f"layers.{layer}.{PARENT[name]}.{name}"] = (a.half().float(), b.half().float())
    settings = AdapterSettings(
        rank=rank,
        alpha=2.0 * rank,
        dropout=0.0,
        target_modules=tuple(modules),
        prompt_format="raw",
        base_model="tiny",
        use_rslora=rslora,
    )
    return write_adapter(folder, settings, weights, "# tiny\n", {})
