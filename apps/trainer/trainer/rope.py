"""Rotary position tables, in the forms that Llama-family configurations ask for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.errors import TrainerError


def rotary_table(config: Mapping[str, Any], head_dim: int, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, each [tokens, head_dim / 2]"""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0)
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "llama3":
        inverse = _llama3(inverse, rope)
    elif kind == "linear":
        inverse = inverse / float(rope["factor"])
    elif kind != "default":
        raise TrainerError("trainer_bad_spec", f"The base model's rope scaling {kind!r} is not supported.")
    angles = positions[:, None] * inverse.to(positions.device)
    return angles.cos(), angles.sin()


def _llama3(inverse: Tensor, rope: Mapping[str, Any]) -> Tensor:
    """Long waves are stretched by `factor`, short ones kept, those between blended."""
    factor, low, high = float(rope["factor"]), float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    turns = float(rope["original_max_position_embeddings"]) * inverse / (2 * math.pi)
    blend = ((turns - low) / (high - low)).clamp(0, 1)
    return (1 - blend) * inverse / factor + blend * inverse
