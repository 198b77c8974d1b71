"""Attention over paged KV, the plain way: gather each sequence's blocks, then one SDPA call for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from serving.models.batch import BLOCK, Batch, Chunk, KvCache


def _mask(chunk: Chunk, length: int, window: int | None, device: torch.device) -> Tensor | None:
    if chunk.count == 1 and window is None:
        return None
    query = torch.arange(chunk.position, length, device=device)[:, None]
    key = torch.arange(length, device=device)[None, :]
    mask = key <= query
    return mask if window is None else mask & (key > query - window)


def paged_attention(
    q: Tensor, k: Tensor, v: Tensor, batch: Batch, cache: KvCache, layer: int, window: int | None
) -> Tensor:
    """q: [tokens, heads, d]; k, v: [tokens, kv_heads, d], written to the cache first. Returns [tokens, heads * d]."""
    out = torch.empty_like(q)
    keys, values = cache.keys[layer], cache.values[layer]
    for chunk in batch.chunks:
        span = slice(chunk.start, chunk.start + chunk.count)
        length = chunk.position + chunk.count
        table = torch.tensor(chunk.blocks[: (length + BLOCK - 1) // BLOCK], device=q.device)
        position = torch.arange(chunk.position, length, device=q.device)
        block, offset = table[position // BLOCK], position % BLOCK
        keys[block, :, offset] = k[span]
        values[block, :, offset] = v[span]
        ks = keys[table].transpose(0, 1).flatten(1, 2)[:, :length]
        vs = values[table].transpose(0, 1).flatten(1, 2)[:, :length]
        mask = _mask(chunk, length, window, q.device)
        y = F.scaled_dot_product_attention(
            q[span].transpose(0, 1)[None], ks[None], vs[None], attn_mask=mask, enable_gqa=True
        )
        out[span] = y[0].transpose(0, 1)
    return out.flatten(1, 2)
