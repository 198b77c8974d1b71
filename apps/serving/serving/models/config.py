"""A base model's shape, read once from its config.json; anything we would compute wrongly is refused by name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

ROPE_KINDS = ("default", "linear", "dynamic", "llama3", "yarn")
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")


class ModelError(Exception):
    """The base model folder can't be served; the message says why."""


@dataclass(frozen=True, slots=True)
class RopeConfig:
    theta: float
    kind: str  # of ROPE_KINDS
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    whole_dims: bool = True  # yarn's two borders lie between dimensions
    attention_factor: float = 1.0  # what cosines and sines are multiplied by


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


def _read_json(path: Path) -> dict[str, object]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise ModelError(f"{path} is not a JSON object")
    return data


class _Fields:
    def __init__(self, data: dict[str, object], path: Path) -> None:
        self.data = data
        self.path = path

    def number(self, name: str, default: float | None = None) -> float:
        value = self.data.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ModelError(f"{self.path}: {name} is missing or not a number")
        return float(value)

    def whole(self, name: str, default: int | None = None) -> int:
        return int(self.number(name, default))

    def flag(self, name: str, default: bool) -> bool:
        value = self.data.get(name, default)
        return default if value is None else bool(value)


def _rope(fields: _Fields) -> RopeConfig:
    old = fields.data.get("rope_scaling")
    new = fields.data.get("rope_parameters")
    scaling = new if isinstance(new, dict) else old if isinstance(old, dict) else {}
    inner = _Fields(scaling, fields.path)
    theta = inner.number("rope_theta", fields.number("rope_theta", 10000.0))
    kind = str(scaling.get("rope_type", scaling.get("type", "default")))
    if kind not in ROPE_KINDS:
        raise ModelError(f"{fields.path}: rope type {kind!r} is not supported ({', '.join(ROPE_KINDS)} are)")
    longest = fields.whole("max_position_embeddings")
    original = inner.whole("original_max_position_embeddings", longest if kind == "yarn" else 8192)
    factor = inner.number("factor", longest / original if kind == "yarn" else 1.0)
    return RopeConfig(
        theta=theta,
        kind=kind,
        factor=factor,
        low_freq_factor=inner.number("low_freq_factor", 1.0),
        high_freq_factor=inner.number("high_freq_factor", 4.0),
        original_max=original,
        beta_fast=inner.number("beta_fast", 32.0),
        beta_slow=inner.number("beta_slow", 1.0),
        whole_dims=inner.flag("truncate", True),
        attention_factor=_attention_factor(inner, factor) if kind == "yarn" else 1.0,
    )


def _attention_factor(scaling: _Fields, factor: float) -> float:
    """YaRN makes attention a little sharper the further it stretches."""

    def sharpness(strength: float) -> float:
        return 0.1 * strength * math.log(factor) + 1.0 if factor > 1 else 1.0

    if scaling.data.get("attention_factor") is not None:
        return scaling.number("attention_factor")
    if scaling.data.get("mscale") and scaling.data.get("mscale_all_dim"):
        return sharpness(scaling.number("mscale")) / sharpness(scaling.number("mscale_all_dim"))
    return sharpness(1.0)


def _eos_ids(folder: Path, config: dict[str, object]) -> frozenset[int]:
    generation = folder / "generation_config.json"
    found = _read_json(generation).get("eos_token_id") if generation.exists() else None
    if found is None:
        found = config.get("eos_token_id")
    values = found if isinstance(found, list) else [found]
    return frozenset(value for value in values if isinstance(value, int))


def _window(fields: _Fields, family: str, layers: int) -> int | None:
    if family.startswith("qwen") and not fields.flag("use_sliding_window", False):
        return None
    if fields.data.get("sliding_window") is None:
        return None
    kinds = fields.data.get("layer_types")
    if family.startswith("qwen") and isinstance(kinds, list) and len(set(kinds)) > 1 and layers > 1:
        raise ModelError(f"{fields.path}: layers with different attention windows are not supported")
    return fields.whole("sliding_window")


def read_config(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    data = _read_json(path)
    fields = _Fields(data, path)
    family = str(data.get("model_type"))
    if family not in FAMILIES:
        raise ModelError(f"{path}: model_type {family!r} is not supported ({', '.join(FAMILIES)} are)")
    if data.get("quantization_config") is not None:
        raise ModelError(f"{path}: quantized checkpoints are not supported; save the model as plain safetensors")
    if str(data.get("hidden_act", "silu")) != "silu":
        raise ModelError(f"{path}: hidden_act {data.get('hidden_act')!r} is not supported (silu is)")
    rope = _rope(fields)
    heads, layers = fields.whole("num_attention_heads"), fields.whole("num_hidden_layers")
    hidden = fields.whole("hidden_size")
    head_dim = fields.data.get("head_dim")
    return ModelConfig(
        family=family,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=fields.whole("num_key_value_heads", heads),
        head_dim=head_dim if isinstance(head_dim, int) else hidden // heads,
        intermediate=fields.whole("intermediate_size"),
        vocab=fields.whole("vocab_size"),
        # Qwen's model cards leave max_position_embeddings as it was before the stretch.
        max_positions=max(fields.whole("max_position_embeddings"), round(rope.original_max * rope.factor))
        if rope.kind == "yarn"
        else fields.whole("max_position_embeddings"),
        norm_eps=fields.number("rms_norm_eps", 1e-6),
        rope=rope,
        tied=fields.flag("tie_word_embeddings", False),
        qkv_bias=family == "qwen2" or fields.flag("attention_bias", False),
        qk_norm=family == "qwen3",
        window=_window(fields, family, layers),
        eos_ids=_eos_ids(folder, data),
    )
