"""The plain forward pass (torch, any device): Llama, Mistral, Qwen2 and Qwen3 with per-row LoRA."""

from __future__ import annotations

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
        cos, sin = rope_tables(config.rope, config.head_dim, max_positions)
        self.cos, self.sin = cos.to(self.device), sin.to(self.device)

    def new_cache(self, blocks: int) -> KvCache:
        config = self.config
        return KvCache(config.layers, config.kv_heads, config.head_dim, blocks, self.device, self.adapter_dtype)

    @torch.inference_mode()
    def forward(self, batch: Batch, cache: KvCache, slots: SlotTable) -> Logits:
        config, weights = self.config, self.weights
        eps, hidden = config.norm_eps, (config.hidden,)
        tokens = torch.tensor(batch.tokens, device=self.device)
        positions = torch.cat([torch.arange(c.position, c.position + c.count) for c in batch.chunks]).to(self.device)
        plan = plan_attention(batch, config.kv_heads, config.window, self.device)
        add_lora = self.plan_lora([(c.slot, c.start, c.count) for c in batch.chunks], slots, self.device)
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]
        x = F.embedding(tokens, weights.embed)
        for index, layer in enumerate(weights.layers):
            h = F.rms_norm(x, hidden, layer.input_norm, eps)
            y = F.linear(h, layer.qkv, layer.qkv_bias)
            add_lora(y, h, index, "qkv")
            a = self._attend(y, cos, sin, plan, cache, index)
            o = F.linear(a, layer.o)
            add_lora(o, a, index, "o")
            x = x + o
            h = F.rms_norm(x, hidden, layer.post_norm, eps)
            y = F.linear(h, layer.gate_up)
            add_lora(y, h, index, "gate_up")
            gate, up = y.chunk(2, -1)
            h = F.silu(gate) * up
            d = F.linear(h, layer.down)
            add_lora(d, h, index, "down")
            x = x + d
        wanted = torch.tensor(batch.logit_rows, device=self.device, dtype=torch.long)
        logits = F.linear(F.rms_norm(x[wanted], hidden, weights.norm, eps), weights.head).float()
        if not len(logits):
            return Logits(logits.cpu(), torch.empty(0), [])
        return Logits(logits.cpu(), logits.logsumexp(-1).cpu(), logits.argmax(-1).tolist())

    def _attend(self, y: Tensor, cos: Tensor, sin: Tensor, plan: AttentionPlan, cache: KvCache, index: int) -> Tensor:
        config, layer = self.config, self.weights.layers[index]
        q, k, v = torch.split(y, [config.q_dim, config.kv_dim, config.kv_dim], -1)
        q = q.reshape(-1, config.heads, config.head_dim)
        k = k.reshape(-1, config.kv_heads, config.head_dim)
        v = v.reshape(-1, config.kv_heads, config.head_dim)
        if layer.q_norm is not None and layer.k_norm is not None:
            q = F.rms_norm(q, (config.head_dim,), layer.q_norm, config.norm_eps)
            k = F.rms_norm(k, (config.head_dim,), layer.k_norm, config.norm_eps)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        return paged_attention(q, k, v, plan, cache.keys[index], cache.values[index])
