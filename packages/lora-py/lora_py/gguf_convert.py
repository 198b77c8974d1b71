"""Turns a llama-architecture GGUF into a Hugging Face folder, without loading a model.

transformers can read a GGUF too, but takes half a minute and refuses to save what it read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

CONTROL_TOKEN = 3  # GGUF's token type of <|im_start|> and the like

LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}


class GgufError(Exception):
    """The file is not something this converter can turn into a folder."""


def convert(gguf_file: Path, out: Path) -> None:
    """Writes config, weights (fp32) and tokenizer of `gguf_file` into the existing folder `out`."""
    reader = GGUFReader(str(gguf_file))
    meta = {name: field.contents() for name, field in reader.fields.items()}
    if meta.get("general.architecture") != "llama" or meta.get("tokenizer.ggml.model") != "gpt2":
        raise GgufError("Only llama-architecture GGUF files with a byte-level BPE tokenizer can be converted.")
    config = _config(meta, tied="output.weight" not in {t.name for t in reader.tensors})
    weights = {_hf_name(t.name): _tensor(t, config) for t in reader.tensors if t.name != "rope_freqs.weight"}
    save_file(weights, str(out / "model.safetensors"), metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors writes 0600, and serving may run as another user
    _write_json(out / "config.json", config)
    ends = {k: config[k] for k in ("bos_token_id", "eos_token_id", "pad_token_id")}
    _write_json(out / "generation_config.json", ends)
    _write_tokenizer(meta, out)


def _config(meta: dict[str, Any], tied: bool) -> dict[str, Any]:
    def llama(key: str) -> Any:
        return meta[f"llama.{key}"]

    heads = int(llama("attention.head_count"))
    theta = float(llama("rope.freq_base"))
    eos = int(meta["tokenizer.ggml.eos_token_id"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": int(llama("embedding_length")),
        "intermediate_size": int(llama("feed_forward_length")),
        "num_hidden_layers": int(llama("block_count")),
        "num_attention_heads": heads,
        "num_key_value_heads": int(llama("attention.head_count_kv")),
        "head_dim": int(llama("embedding_length")) // heads,
        "vocab_size": int(llama("vocab_size")),
        "max_position_embeddings": int(llama("context_length")),
        # stored as a float32, so 1e-5 comes back as 9.99999974e-06
        "rms_norm_eps": float(f"{float(llama('attention.layer_norm_rms_epsilon')):.6g}"),
        "rope_theta": theta,
        "rope_parameters": {"rope_theta": theta, "rope_type": "default"},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": tied,
        "bos_token_id": int(meta["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": eos,
        "pad_token_id": int(meta.get("tokenizer.ggml.padding_token_id", eos)),
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _hf_name(name: str) -> str:
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    parts = name.split(".")
    if len(parts) != 4 or parts[0] != "blk" or parts[2] not in LAYER_NAMES:
        raise GgufError(f"Unknown tensor {name} in the GGUF file.")
    return f"model.layers.{parts[1]}.{LAYER_NAMES[parts[2]]}.{parts[3]}"


def _tensor(tensor: Any, config: dict[str, Any]) -> NDArray[np.float32]:
    values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
    if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
        heads = config["num_attention_heads" if "attn_q" in tensor.name else "num_key_value_heads"]
        # GGUF interleaves the two halves of each rotary pair; Hugging Face keeps them apart
        paired = values.reshape(heads, config["head_dim"] // 2, 2, values.shape[1])
        values = paired.swapaxes(1, 2).reshape(values.shape)
    return np.ascontiguousarray(values)


def _write_tokenizer(meta: dict[str, Any], out: Path) -> None:
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ", 1)) for m in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if meta["tokenizer.ggml.pre"] == "smollm" else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*digits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    kinds: list[int] = meta["tokenizer.ggml.token_type"]
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind == CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.save(str(out / "tokenizer.json"))

    def named(key: str) -> str:
        return tokens[int(meta[f"tokenizer.ggml.{key}_token_id"])]

    _write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": named("bos"),
            "eos_token": named("eos"),
            "pad_token": named("padding") if "tokenizer.ggml.padding_token_id" in meta else named("eos"),
            "unk_token": named("unknown") if "tokenizer.ggml.unknown_token_id" in meta else None,
            "add_bos_token": bool(meta.get("tokenizer.ggml.add_bos_token", False)),
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": int(meta["llama.context_length"]),
            "chat_template": meta.get("tokenizer.chat_template"),
        },
    )


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
