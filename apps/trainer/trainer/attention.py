"""Causal attention over packed rows: a group's prefix looks at itself, its rows at the prefix and at themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from trainer.packing import Group


def attend(q: Tensor, k: Tensor, v: Tensor, groups: tuple[Group, ...]) -> Tensor:
    """q: [tokens, heads, dim], k and v: [tokens, kv heads, dim] -> [tokens, heads * dim]"""
    parts = []
    for group in groups:
        if group.middle > group.begin:
            parts.append(_prefix(*(x[group.begin : group.middle] for x in (q, k, v))))
        parts.append(_rows(q, k, v, group))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = scaled_dot_product_attention(q, k, v, is_causal=True)
    return out[0].transpose(0, 1).flatten(1)


def _rows(q: Tensor, k: Tensor, v: Tensor, group: Group) -> Tensor:
    rows, longest = group.padded.shape
    own, kv_heads, dim = slice(group.middle, group.end), k.shape[1], q.shape[2]
    per_kv = q.shape[1] // kv_heads
    queries = q[own][group.padded].view(rows, longest, kv_heads, per_kv, dim)
    # query heads that share a key head stand behind one another, so keys are never copied per head
    queries = queries.permute(0, 2, 3, 1, 4).reshape(rows, kv_heads, per_kv * longest, dim)
    keys, values = (_with_prefix(x, group) for x in (k, v))
    mask = group.mask.repeat(per_kv, 1)
    out = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    out = out.view(rows, kv_heads, per_kv, longest, dim).permute(0, 3, 1, 2, 4)
    return out.reshape(rows * longest, -1)[group.valid]


def _with_prefix(x: Tensor, group: Group) -> Tensor:
    """[rows, kv heads, prefix + longest, dim]"""
    own = x[group.middle : group.end][group.padded].transpose(1, 2)
    if group.middle == group.begin:
        return own
    prefix = x[group.begin : group.middle].transpose(0, 1)
    return torch.cat([prefix.expand(own.shape[0], -1, -1, -1), own], 2)
