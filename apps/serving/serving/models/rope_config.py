"""How far and in what form a base's positions turn its queries and keys."""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.models.config_file import Fields, ModelError

ROPE_KINDS = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")


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
    slowed: tuple[float, ...] = ()  # longrope: by how much each dimension turns slower


def read_rope(fields: Fields, default_theta: float = 10000.0) -> RopeConfig:
    inner = fields.inner("rope_parameters") or fields.inner("rope_scaling") or Fields({}, fields.path)
    theta = inner.number("rope_theta", fields.number("rope_theta", default_theta))
    kind = str(inner.data.get("rope_type", inner.data.get("type", "default")))
    kind = "longrope" if kind == "su" else kind  # its name in Phi-3's first files
    if kind not in ROPE_KINDS:
        raise ModelError(f"{fields.path}: rope type {kind!r} is not supported ({', '.join(ROPE_KINDS)} are)")
    longest = fields.whole("max_position_embeddings")
    stretched = kind in ("yarn", "longrope")
    usual = longest if stretched else 8192
    if kind == "longrope":  # Phi-3 keeps it beside the rope's own settings
        usual = fields.whole("original_max_position_embeddings", usual)
    original = inner.whole("original_max_position_embeddings", usual)
    factor = inner.number("factor", longest / original if stretched else 1.0)
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
        attention_factor=_attention_factor(inner, kind, factor, original),
        slowed=inner.numbers("short_factor") if kind == "longrope" else (),
    )


def max_positions(rope: RopeConfig, longest: int) -> int:
    """How far the positions go. `longest`: as config.json has it."""
    if rope.kind == "yarn":  # Qwen's model cards leave max_position_embeddings as it was before the stretch
        return max(longest, round(rope.original_max * rope.factor))
    # Beyond its original length a longrope model turns all positions otherwise, those before it included: what was
    # computed of a sequence would be wrong from then on.
    return min(longest, rope.original_max) if rope.kind == "longrope" else longest


def _attention_factor(scaling: Fields, kind: str, factor: float, original: int) -> float:
    """YaRN and LongRoPE make attention a little sharper the further they stretch."""

    def sharpness(strength: float) -> float:
        return 0.1 * strength * math.log(factor) + 1.0 if factor > 1 else 1.0

    if kind not in ("yarn", "longrope"):
        return 1.0
    if scaling.data.get("attention_factor") is not None:
        return scaling.number("attention_factor")
    if kind == "longrope":
        return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    if scaling.data.get("mscale") and scaling.data.get("mscale_all_dim"):
        return sharpness(scaling.number("mscale")) / sharpness(scaling.number("mscale_all_dim"))
    return sharpness(1.0)
