"""Attention over paged KV, the plain way: gather the cells that each query sees, then SDPA.

Sequences with one new token share one SDPA call for each power of two of cells seen; every other chunk has its own
call. A cell is one position's key or value of one head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from serving.models.batch import BLOCK, Batch, Chunk


@dataclass(frozen=True, slots=True)
class Decodes:
    """Sequences with one new token each, and about equally many cells to see."""

    rows: Tensor  # [n], their places in the batch
    cells: Tensor  # [kv_heads, n, length]; past a sequence's end its own first cell, which is finite, stands in
    mask: Tensor  # [1, n, 1, length], which of them are seen


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of several tokens."""

    start: int
    count: int
    cells: Tensor  # [kv_heads, length]
    mask: Tensor | None  # [count, length]; None: causal from the first token on


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """What one step writes and reads, the same in every layer."""

    written: Tensor  # [tokens * kv_heads], the cells of the step's own tokens
    decodes: tuple[Decodes, ...]
    pieces: tuple[Piece, ...]


def plan_attention(batch: Batch, kv_heads: int, window: int | None, device: torch.device) -> AttentionPlan:
    buckets: dict[int, list[Chunk]] = {}
    pieces = []
    written = []
    for chunk in batch.chunks:
        end = chunk.position + chunk.count
        written += [(chunk.blocks[p // BLOCK], p % BLOCK) for p in range(chunk.position, end)]
        if chunk.count == 1:
            seen = min(end, window or end)
            buckets.setdefault(max(BLOCK, 1 << (seen - 1).bit_length()), []).append(chunk)
        else:
            pieces.append(_piece(chunk, kv_heads, window, device))
    block, offset = torch.tensor(written, device=device).unbind(1)
    return AttentionPlan(
        written=(
            (block[:, None] * kv_heads + torch.arange(kv_heads, device=device)) * BLOCK + offset[:, None]
        ).flatten(),
        decodes=tuple(_decodes(chunks, length, kv_heads, window, device) for length, chunks in buckets.items()),
        pieces=tuple(pieces),
    )


def _decodes(chunks: Sequence[Chunk], length: int, kv_heads: int, window: int | None, device: torch.device) -> Decodes:
    ends = [chunk.position + 1 for chunk in chunks]
    starts = [max(0, end - window) if window else 0 for end in ends]
    widest = max((end + BLOCK - 1) // BLOCK for end in ends)
    tables = [list(chunk.blocks[:widest]) + [0] * (widest - len(chunk.blocks)) for chunk in chunks]
    rows, start, end = torch.tensor([[c.start for c in chunks], starts, ends], device=device)
    positions = start[:, None] + torch.arange(length, device=device)
    mask = positions < end[:, None]
    positions = torch.where(mask, positions, start[:, None])
    cells = _cells(torch.tensor(tables, device=device), positions, kv_heads)
    return Decodes(rows, cells, mask[None, :, None])


def _piece(chunk: Chunk, kv_heads: int, window: int | None, device: torch.device) -> Piece:
    end = chunk.position + chunk.count
    start = max(0, chunk.position - window + 1) if window else 0
    key = torch.arange(start, end, device=device)
    cells = _cells(torch.tensor([chunk.blocks], device=device), key[None], kv_heads)[:, 0]
    if chunk.position == 0 and (window is None or end <= window):
        return Piece(chunk.start, chunk.count, cells, None)
    query = torch.arange(chunk.position, end, device=device)[:, None]
    mask = key <= query
    return Piece(chunk.start, chunk.count, cells, mask & (key > query - window) if window else mask)


def _cells(tables: Tensor, positions: Tensor, kv_heads: int) -> Tensor:
    """tables: [n, blocks], positions: [n, length] -> [kv_heads, n, length]"""
    heads = torch.arange(kv_heads, device=tables.device)[:, None, None]
    return (tables.gather(1, positions // BLOCK) * kv_heads + heads) * BLOCK + positions % BLOCK


def paged_attention(
    q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, keys: Tensor, values: Tensor, cap: float | None = None
) -> Tensor:
    """q: [tokens, heads, d]; k, v: [tokens, kv_heads, d]; keys, values: one layer of the cache,
    [blocks, kv_heads, BLOCK, d], into which k and v are written first. `cap`: what scores are bent under. Returns
    [tokens, heads * d]."""
    tokens, kv_heads, d = k.shape
    keys, values = keys.view(-1, d), values.view(-1, d)
    keys.index_copy_(0, plan.written, k.reshape(-1, d))
    values.index_copy_(0, plan.written, v.reshape(-1, d))
    q = q.view(tokens, kv_heads, -1, d)  # the heads that share one key head lie together
    out = torch.empty_like(q)
    for group in plan.decodes:
        ks, vs = keys[group.cells], values[group.cells]  # [kv_heads, n, length, d]
        y = _attend(q[group.rows].transpose(0, 1), ks, vs, group.mask, cap)
        out[group.rows] = y.transpose(0, 1)
    for piece in plan.pieces:
        rows = slice(piece.start, piece.start + piece.count)
        qs = q[rows].permute(1, 2, 0, 3)  # [kv_heads, heads of one, count, d]
        ks, vs = (cells[piece.cells][:, None].expand(-1, q.shape[2], -1, -1) for cells in (keys, values))
        y = _attend(qs, ks, vs, piece.mask, cap)
        out[rows] = y.permute(2, 0, 1, 3)
    return out.flatten(1)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, cap: float | None) -> Tensor:
    """mask None: causal from the first token on."""
    if cap is None:
        return sdpa(q, k, v, attn_mask=mask, is_causal=mask is None)
    if mask is None:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    scores = torch.tanh(q @ k.transpose(-1, -2) / (q.shape[-1] ** 0.5 * cap)) * cap
    return scores.masked_fill(~mask, float("-inf")).softmax(-1, dtype=torch.float32).to(v.dtype) @ v
