"""safetensors files of a base model, as fused tensors of one dtype, ready for the forward pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from serving.models.config import ModelConfig, ModelError


@dataclass(frozen=True, slots=True)
class LayerWeights:
    input_norm: Tensor
    qkv: Tensor  # [q_dim + 2 * kv_dim, hidden]
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Tensor  # [hidden, q_dim]
    post_norm: Tensor  # before the MLP
    gate_up: Tensor  # [2 * intermediate, hidden]
    down: Tensor  # [hidden, intermediate]
    after_attention: Tensor | None = None  # norms of what attention and the MLP add, where a family has them
    after_mlp: Tensor | None = None


@dataclass(frozen=True, slots=True)
class ModelWeights:
    embed: Tensor  # [vocab, hidden]
    layers: tuple[LayerWeights, ...]
    norm: Tensor
    head: Tensor  # [vocab, hidden]; the embedding itself where they are tied


class _Files:
    """Tensors by name over one or many safetensors files, read when asked for."""

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        index = folder / "model.safetensors.index.json"
        if index.exists():
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        else:
            names = ["model.safetensors"]
        self.where: dict[str, Path] = {}
        self.open: dict[Path, Any] = {}
        for name in names:
            path = folder / name
            if path.parent != folder or not path.exists():
                raise ModelError(f"{path} is missing; a base model is served from safetensors only")
            try:
                handle: Any = safe_open(str(path), framework="pt")
            except SafetensorError as error:
                raise ModelError(f"{path} is not a safetensors file: {error}") from error
            self.open[path] = handle
            self.where.update(dict.fromkeys(handle.keys(), path))

    def has(self, name: str) -> bool:
        return name in self.where

    def read(self, name: str, *shape: int, exact: bool = False) -> Tensor:
        """`exact`: in float32, whatever the others are in."""
        if name not in self.where:
            raise ModelError(f"the base model has no tensor {name}")
        tensor: Tensor = self.open[self.where[name]].get_tensor(name)
        if tuple(tensor.shape) != shape:
            raise ModelError(f"{name} has shape {tuple(tensor.shape)}, config.json says {shape}")
        return tensor.to(device=self.device, dtype=torch.float32 if exact else self.dtype)


def _layer(files: _Files, config: ModelConfig, index: int) -> LayerWeights:
    prefix = f"model.layers.{index}."

    def linear(module: str) -> Tensor:
        shape = config.linear_shape(f"layers.{index}.{module}")
        assert shape is not None
        return files.read(f"{prefix}{module}.weight", *shape)

    def fused(name: str, parts: Sequence[str]) -> Tensor:
        if not config.fused:
            return torch.cat([linear(part) for part in parts])
        shapes = [config.linear_shape(f"layers.{index}.{part}") or (0, 0) for part in parts]
        return files.read(f"{prefix}{name}.weight", sum(rows for rows, _ in shapes), shapes[0][1])

    def bias(module: str, size: int) -> Tensor:
        return files.read(f"{prefix}self_attn.{module}.bias", size)

    def norm(name: str, size: int = config.hidden) -> Tensor:
        return _norm(files, config, f"{prefix}{name}.weight", size)

    sandwich = config.variant.sandwich
    return LayerWeights(
        input_norm=norm("input_layernorm"),
        qkv=fused("self_attn.qkv_proj", ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
        qkv_bias=torch.cat([bias("q_proj", config.q_dim), bias("k_proj", config.kv_dim), bias("v_proj", config.kv_dim)])
        if config.qkv_bias
        else None,
        q_norm=norm("self_attn.q_norm", config.head_dim) if config.qk_norm else None,
        k_norm=norm("self_attn.k_norm", config.head_dim) if config.qk_norm else None,
        o=linear("self_attn.o_proj"),
        post_norm=norm("pre_feedforward_layernorm" if sandwich else "post_attention_layernorm"),
        gate_up=fused("mlp.gate_up_proj", ["mlp.gate_proj", "mlp.up_proj"]),
        down=linear("mlp.down_proj"),
        after_attention=norm("post_attention_layernorm") if sandwich else None,
        after_mlp=norm("post_feedforward_layernorm") if sandwich else None,
    )


def _norm(files: _Files, config: ModelConfig, name: str, size: int) -> Tensor:
    """In float32 where a family adds to it: of one and a small weight, 16 bits would lose the weight."""
    weight = files.read(name, size, exact=config.variant.norm_offset != 0)
    return weight + config.variant.norm_offset if config.variant.norm_offset else weight


def load_weights(
    folder: Path, config: ModelConfig, device: torch.device, dtype: torch.dtype = torch.float32
) -> ModelWeights:
    files = _Files(folder, device, dtype)
    embed = files.read("model.embed_tokens.weight", config.vocab, config.hidden)
    if files.has("model.layers.0.self_attn.o_proj.bias") or files.has("model.layers.0.mlp.up_proj.bias"):
        raise ModelError("biases on o_proj or the MLP are not supported")
    return ModelWeights(
        embed=embed,
        layers=tuple(_layer(files, config, index) for index in range(config.layers)),
        norm=_norm(files, config, "model.norm.weight", config.hidden),
        head=embed if config.tied else files.read("lm_head.weight", config.vocab, config.hidden),
    )
