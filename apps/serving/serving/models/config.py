"""A base model's shape, read once from its config.json; anything we would compute wrongly is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.models.config_file import Fields, ModelError, read_json
from serving.models.rope_config import RopeConfig, max_positions
from serving.models.variant import GEMMA, Variant, activation, full_rope, read_variant

__all__ = ["FAMILIES", "ModelConfig", "ModelError", "read_config"]

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi3", *GEMMA)


@dataclass(frozen=True, slots=True)
class ModelConfig:
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    norm_eps: float
    rope: RopeConfig
    tied: bool
    qkv_bias: bool
    qk_norm: bool
    window: int | None  # how many positions back attention sees, itself included; None sees everything
    eos_ids: frozenset[int]
    variant: Variant
    fused: bool  # the file keeps q, k and v in one tensor, gate and up in another

    @property
    def q_dim(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        return self.kv_heads * self.head_dim

    def linear_shape(self, module: str) -> tuple[int, int] | None:
        """(out, in) of an adaptable module such as "layers.0.mlp.up_proj", or None where there is no such module."""
        parts = module.split(".")
        if len(parts) != 4 or parts[0] != "layers" or not parts[1].isdecimal() or int(parts[1]) >= self.layers:
            return None
        shapes = {
            "self_attn.q_proj": (self.q_dim, self.hidden),
            "self_attn.k_proj": (self.kv_dim, self.hidden),
            "self_attn.v_proj": (self.kv_dim, self.hidden),
            "self_attn.o_proj": (self.hidden, self.q_dim),
            "mlp.gate_proj": (self.intermediate, self.hidden),
            "mlp.up_proj": (self.intermediate, self.hidden),
            "mlp.down_proj": (self.hidden, self.intermediate),
        }
        return shapes.get(f"{parts[2]}.{parts[3]}")


def _eos_ids(folder: Path, config: dict[str, object]) -> frozenset[int]:
    generation = folder / "generation_config.json"
    found = read_json(generation).get("eos_token_id") if generation.exists() else None
    if found is None:
        found = config.get("eos_token_id")
    values = found if isinstance(found, list) else [found]
    return frozenset(value for value in values if isinstance(value, int))


def _window(fields: Fields, family: str, layers: int) -> int | None:
    if family.startswith("qwen") and not fields.flag("use_sliding_window", False):
        return None
    if family in ("gemma2", "gemma3_text") and "sliding_window" not in fields.data:
        return 4096
    if fields.data.get("sliding_window") is None:
        return None
    kinds = fields.data.get("layer_types")
    if family.startswith("qwen") and isinstance(kinds, list) and len(set(kinds)) > 1 and layers > 1:
        raise ModelError(f"{fields.path}: layers with different attention windows are not supported")
    return fields.whole("sliding_window")


def read_config(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    data = read_json(path)
    fields = Fields(data, path)
    family = str(data.get("model_type"))
    if family not in FAMILIES:
        raise ModelError(f"{path}: model_type {family!r} is not supported ({', '.join(FAMILIES)} are)")
    if data.get("quantization_config") is not None:
        raise ModelError(f"{path}: quantized checkpoints are not supported; save the model as plain safetensors")
    activation(fields, family)
    rope = full_rope(fields, family)
    heads, layers = fields.whole("num_attention_heads"), fields.whole("num_hidden_layers")
    hidden = fields.whole("hidden_size")
    named = data.get("head_dim")
    head_dim = named if isinstance(named, int) else 256 if family in GEMMA else hidden // heads
    return ModelConfig(
        family=family,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=fields.whole("num_key_value_heads", heads),
        head_dim=head_dim,
        intermediate=fields.whole("intermediate_size"),
        vocab=fields.whole("vocab_size"),
        max_positions=max_positions(rope, fields.whole("max_position_embeddings")),
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope=rope,
        tied=fields.flag("tie_word_embeddings", family in GEMMA),
        qkv_bias=family == "qwen2" or fields.flag("attention_bias", False),
        qk_norm=family in ("qwen3", "gemma3_text"),
        window=_window(fields, family, layers),
        eos_ids=_eos_ids(folder, data),
        fused=family == "phi3",
        variant=read_variant(fields, family, head_dim),
    )
