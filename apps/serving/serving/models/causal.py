"""The plain forward pass (torch, any device) of every family that is served, with per-row LoRA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from lora_py.grouped import PlanLora, SlotTable
from lora_py.kernels.choose import plan_lora_for
from torch import Tensor

from serving.models.attention import AttentionPlan, paged_attention, plan_attention
from serving.models.batch import Batch, KvCache, Logits
from serving.models.config import ModelConfig
from serving.models.rope import rope_tables, rotate
from serving.models.weights import ModelWeights


class Model(Protocol):
    config: ModelConfig
    adapter_dtype: torch.dtype
    weight_name: str  # as /info tells it
    row_tile: int  # rows of a step that are multiplied together; one that is begun costs as much as a full one

    def new_cache(self, blocks: int) -> KvCache: ...

    def forward(self, batch: Batch, cache: KvCache, slots: SlotTable) -> Logits: ...


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
}


@dataclass(frozen=True, slots=True)
class Sight:
    """What a step's tokens see in a layer, and how their positions turn there."""

    plan: AttentionPlan
    cos: Tensor
    sin: Tensor


class TorchModel:
    """Computes in the dtype of its weights; keys and values, and the adapters, are of that dtype too."""

    row_tile = 1

    def __init__(
        self, config: ModelConfig, weights: ModelWeights, max_positions: int, plan_lora: PlanLora | None = None
    ) -> None:
        self.config = config
        self.weights = weights
        self.device = weights.embed.device
        self.adapter_dtype = weights.embed.dtype
        self.weight_name = str(weights.embed.dtype).removeprefix("torch.")
        self.plan_lora = plan_lora or plan_lora_for(self.device)
        variant = config.variant
        self._scale = torch.tensor(variant.embed_scale, dtype=weights.embed.dtype, device=self.device)
        self._activation = ACTIVATIONS[variant.activation]
        open_layers = range(config.layers) if config.window is None else variant.open_layers
        self._opens = [index in open_layers for index in range(config.layers)]
        turned = variant.rotary_dim or config.head_dim
        ropes = {is_open: config.rope if is_open else variant.window_rope or config.rope for is_open in self._opens}
        self._turns = {
            is_open: [table.to(self.device) for table in rope_tables(rope, turned, max_positions)]
            for is_open, rope in ropes.items()
        }

    def new_cache(self, blocks: int) -> KvCache:
        config = self.config
        return KvCache(config.layers, config.kv_heads, config.head_dim, blocks, self.device, self.adapter_dtype)

    @torch.inference_mode()
    def forward(self, batch: Batch, cache: KvCache, slots: SlotTable) -> Logits:
        weights, eps = self.weights, self.config.norm_eps
        tokens = torch.tensor(batch.tokens, device=self.device)
        sights = self._sights(batch)
        add_lora = self.plan_lora([(c.slot, c.start, c.count) for c in batch.chunks], slots, self.device)
        x = F.embedding(tokens, weights.embed) * self._scale
        for index, layer in enumerate(weights.layers):
            h = _norm(x, layer.input_norm, eps)
            y = F.linear(h, layer.qkv, layer.qkv_bias)
            add_lora(y, h, index, "qkv")
            a = self._attend(y, sights[self._opens[index]], cache, index)
            o = F.linear(a, layer.o)
            add_lora(o, a, index, "o")
            x = x + (o if layer.after_attention is None else _norm(o, layer.after_attention, eps))
            h = _norm(x, layer.post_norm, eps)
            y = F.linear(h, layer.gate_up)
            add_lora(y, h, index, "gate_up")
            gate, up = y.chunk(2, -1)
            h = self._activation(gate) * up
            d = F.linear(h, layer.down)
            add_lora(d, h, index, "down")
            x = x + (d if layer.after_mlp is None else _norm(d, layer.after_mlp, eps))
        wanted = torch.tensor(batch.logit_rows, device=self.device, dtype=torch.long)
        logits = F.linear(_norm(x[wanted], weights.norm, eps), weights.head).float()
        if cap := self.config.variant.logit_cap:
            logits = torch.tanh(logits / cap) * cap
        if not len(logits):
            return Logits(logits.cpu(), torch.empty(0), [])
        return Logits(logits.cpu(), logits.logsumexp(-1).cpu(), logits.argmax(-1).tolist())

    def _sights(self, batch: Batch) -> dict[bool, Sight]:
        """By whether a layer sees everything; the others have the window."""
        config = self.config
        positions = torch.cat([torch.arange(c.position, c.position + c.count) for c in batch.chunks]).to(self.device)
        found = {}
        for is_open, (cos, sin) in self._turns.items():
            plan = plan_attention(batch, config.kv_heads, None if is_open else config.window, self.device)
            found[is_open] = Sight(plan, cos[positions][:, None], sin[positions][:, None])
        return found

    def _attend(self, y: Tensor, sight: Sight, cache: KvCache, index: int) -> Tensor:
        config, layer = self.config, self.weights.layers[index]
        q, k, v = torch.split(y, [config.q_dim, config.kv_dim, config.kv_dim], -1)
        q = q.reshape(-1, config.heads, config.head_dim)
        k = k.reshape(-1, config.kv_heads, config.head_dim)
        v = v.reshape(-1, config.kv_heads, config.head_dim)
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = _norm(q, layer.q_norm, config.norm_eps), _norm(k, layer.k_norm, config.norm_eps)
        q, k = rotate(q, sight.cos, sight.sin), rotate(k, sight.cos, sight.sin)
        if config.variant.query_scale != 1:
            q = q * config.variant.query_scale
        keys, values = cache.keys[index], cache.values[index]
        return paged_attention(q, k, v, sight.plan, keys, values, config.variant.attention_cap)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """In the precision of the weight."""
    return F.rms_norm(x.to(weight.dtype), weight.shape, weight, eps).to(x.dtype)
