"""Rotary position tables in the Hugging Face half-split form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from serving.models.rope_config import RopeConfig


def _frequencies(rope: RopeConfig, head_dim: int) -> Tensor:
    inverse = 1.0 / (rope.theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
    if rope.kind == "linear":
        return inverse / rope.factor
    if rope.kind == "longrope":
        return inverse / torch.tensor(rope.slowed)
    if rope.kind == "yarn":
        return _yarn(rope, head_dim, inverse)
    if rope.kind != "llama3":  # "dynamic" changes nothing up to max_position_embeddings, which is as far as we go
        return inverse
    wavelength = 2 * math.pi / inverse
    low, high = rope.original_max / rope.low_freq_factor, rope.original_max / rope.high_freq_factor
    smooth = (rope.original_max / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
    middle = (1 - smooth) * inverse / rope.factor + smooth * inverse
    scaled = torch.where(wavelength > low, inverse / rope.factor, inverse)
    return torch.where((wavelength <= low) & (wavelength >= high), middle, scaled)


def _yarn(rope: RopeConfig, head_dim: int, inverse: Tensor) -> Tensor:
    """Dimensions that turn often within the original length keep their speed, those that don't are slowed down by the
    factor, and those between the two are blended."""

    def dimension(turns: float) -> float:
        return head_dim * math.log(rope.original_max / (turns * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = dimension(rope.beta_fast), dimension(rope.beta_slow)
    if rope.whole_dims:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    steps = torch.arange(head_dim // 2, dtype=torch.float32)
    slowed = ((steps - low) / (high - low or 0.001)).clamp(0, 1)
    return inverse / rope.factor * slowed + inverse * (1 - slowed)


def rope_tables(rope: RopeConfig, head_dim: int, positions: int) -> tuple[Tensor, Tensor]:
    """cos and sin, each [positions, head_dim / 2]. `head_dim`: the dimensions of a head that turn."""
    angles = torch.arange(positions, dtype=torch.float32)[:, None] * _frequencies(rope, head_dim)
    return angles.cos() * rope.attention_factor, angles.sin() * rope.attention_factor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x: [tokens, heads, head_dim]; cos, sin: [tokens, 1, half of the dimensions that turn], float32, in which the turn
    is computed."""
    a, b, rest = torch.split(x, [cos.shape[-1], cos.shape[-1], x.shape[-1] - 2 * cos.shape[-1]], -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1).to(x.dtype)
