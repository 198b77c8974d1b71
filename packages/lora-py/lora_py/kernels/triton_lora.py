"""The grouped LoRA layer on a GPU, in Triton: the twin of `lora_py.grouped.add_lora` that reads each adapter in place.

A step's rows are sorted by adapter and cut into tiles of at most 16 rows of one adapter. `shrink` makes each tile's
h = x @ A^T, `expand` adds h @ B to y. Adapters are never stacked: a tile carries the address of its adapter's table
(addresses of A and B, and the rank, for each layer and module), so a rank costs its own size rounded up to 16, whatever
the largest one is. Every sum has one order and no two programs write one place: a row's result is independent of its
neighbours.

Importing this needs the `triton` package. On a machine without a GPU set TRITON_INTERPRET=1 before triton is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
from torch import Tensor

from lora_py.grouped import GROUPS, MODULES, AddLora, SlotTable, Span
from lora_py.kernels.triton_kernels import SIDE, expand, shrink

BLOCK = SIDE.value
BLOCK_IN = 128  # inputs read at a time
BLOCK_OUT = 128  # outputs written by one program


@dataclass(frozen=True, slots=True)
class Tiles:
    """One step's work, the same for every layer and module."""

    rows: Tensor  # [rows with an adapter], int32: their places in the batch, sorted by adapter
    tiles: Tensor  # [tiles, 4], int64: first of `rows`, how many, address of the adapter's table, place in `h`
    h: Tensor  # float32: for each tile [blocks of 16 ranks, 3 modules, 16 rows, 16 ranks]
    rank_blocks: int  # of the largest adapter in the batch


def plan_tiles(spans: Sequence[Span], table: SlotTable, device: torch.device) -> Tiles:
    """spans: (slot, first row, rows); base rows are left out. LookupError for a slot that holds no adapter."""
    by_slot: dict[int, list[int]] = {}
    for slot, start, count in spans:
        if slot:
            by_slot.setdefault(slot, []).extend(range(start, start + count))
    rows: list[int] = []
    tiles: list[tuple[int, int, int, int]] = []
    place = rank_blocks = 0
    for slot in sorted(by_slot):
        adapter = table.slots[slot]
        if adapter is None:
            raise LookupError(f"adapter slot {slot} is empty")
        blocks = triton.cdiv(adapter.rank, BLOCK)
        rank_blocks = max(rank_blocks, blocks)
        for start in range(0, len(by_slot[slot]), BLOCK):
            count = min(BLOCK, len(by_slot[slot]) - start)
            tiles.append((len(rows) + start, count, adapter.table.data_ptr(), place))
            place += 3 * blocks * BLOCK * BLOCK
        rows.extend(by_slot[slot])
    return Tiles(
        rows=torch.tensor(rows, dtype=torch.int32, device=device),
        tiles=torch.tensor(tiles, dtype=torch.int64, device=device).view(-1, 4),
        h=torch.empty(place, dtype=torch.float32, device=device),
        rank_blocks=rank_blocks,
    )


def add_lora_triton(y: Tensor, x: Tensor, table: SlotTable, tiles: Tiles, layer: int, group: str) -> None:
    """y: [tokens, out of the group], x: [tokens, in], contiguous and of the adapters' dtype; adds to y in place."""
    count = tiles.tiles.shape[0]
    if count == 0:
        return
    if not (x.is_contiguous() and y.is_contiguous()):
        raise ValueError("the Triton kernel reads and writes contiguous rows")
    modules = GROUPS[group]
    widths = [table.widths[module] for module in modules]
    first = layer * len(MODULES) + MODULES.index(modules[0])
    work = (tiles.rows, tiles.tiles, tiles.h, first)
    shrink[count, len(modules), tiles.rank_blocks](x, *work, x.shape[1], BLOCK_IN=BLOCK_IN)
    widths += [0] * (3 - len(widths))
    places = (widths[0], widths[0] + widths[1])
    expand[count, len(modules), triton.cdiv(max(widths), BLOCK_OUT)](
        y, *work, y.shape[1], *places, *widths, BLOCK_OUT=BLOCK_OUT, ALIGNED=all(width % 16 == 0 for width in widths)
    )


def plan_triton(spans: Sequence[Span], table: SlotTable, device: torch.device) -> AddLora:
    """The twin of `lora_py.grouped.plan_plain`."""
    tiles = plan_tiles(spans, table, device)
    return lambda y, x, layer, group: add_lora_triton(y, x, table, tiles, layer, group)
