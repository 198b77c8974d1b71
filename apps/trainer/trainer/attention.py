"""Causal attention over packed rows: a group's prefix looks at itself, its rows at the prefix and at themselves."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from trainer.layers import Pad, Unpad
from trainer.packing import Group


def attend(q: Tensor, k: Tensor, v: Tensor, groups: tuple[Group, ...]) -> Tensor:
    """q: [tokens, heads, dim], k and v: [tokens, kv heads, dim] -> [tokens, heads * dim]"""
    # split, not sliced: the gradient of a slice is a zeroed tensor of the whole size
    sizes = [size for group in groups for size in (group.middle - group.begin, group.end - group.middle)]
    pieces = list(zip(*(x.split_with_sizes(sizes) for x in (q, k, v)), strict=True))
    parts = []
    for index, group in enumerate(groups):
        prefix, own = pieces[2 * index], pieces[2 * index + 1]
        if group.middle > group.begin:
            parts.append(_prefix(*prefix))
        parts.append(_rows(own, prefix, group))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _prefix(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = scaled_dot_product_attention(q, k, v, is_causal=True)
    return out[0].transpose(0, 1).flatten(1)


def _rows(own: tuple[Tensor, ...], prefix: tuple[Tensor, ...], group: Group) -> Tensor:
    rows, longest = group.padded.shape
    q, k, v = (Pad.apply(x, group.padded, group.valid) for x in own)  # type: ignore[no-untyped-call]
    kv_heads, dim = k.shape[2], k.shape[3]
    per_kv = q.shape[2] // kv_heads
    # query heads that share a key head stand behind one another, so keys are never copied per head
    queries = q.view(rows, longest, kv_heads, per_kv, dim).permute(0, 2, 3, 1, 4)
    queries = queries.reshape(rows, kv_heads, per_kv * longest, dim)
    keys, values = (_behind(first, x) for first, x in ((prefix[1], k), (prefix[2], v)))
    out = scaled_dot_product_attention(queries, keys, values, attn_mask=group.mask.repeat(per_kv, 1))
    out = out.view(rows, kv_heads, per_kv, longest, dim).permute(0, 3, 1, 2, 4)
    packed: Tensor = Unpad.apply(out.reshape(rows, longest, -1), group.valid)  # type: ignore[no-untyped-call]
    return packed


def _behind(prefix: Tensor, own: Tensor) -> Tensor:
    """[rows, kv heads, prefix + longest, dim]"""
    own = own.transpose(1, 2)
    if prefix.shape[0] == 0:
        return own
    return torch.cat([prefix.transpose(0, 1).expand(own.shape[0], -1, -1, -1), own], 2)
