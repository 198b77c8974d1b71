# mypy: disallow-untyped-decorators=False, disallow-untyped-defs=False, disallow-incomplete-defs=False
# mypy: disallow-untyped-calls=False
"""The two kernels of `triton_lora`. A tile is up to 16 rows of one adapter; see `Tiles` for its four numbers."""

from __future__ import annotations

import triton
import triton.language as tl

SIDE = tl.constexpr(16)  # rows of a tile, and ranks computed at a time: the least that tensor cores multiply


@triton.jit
def _pair(tiles, tile, entry, dtype: tl.constexpr):
    """A [rank, in], B [rank, out] and the rank, from the table of the tile's adapter; rank 0: it has no such module."""
    table = tl.load(tiles + tile * 4 + 2).to(tl.pointer_type(tl.int64)) + entry * 3
    a = tl.multiple_of(tl.load(table).to(tl.pointer_type(dtype)), 16)  # torch aligns every tensor
    b = tl.multiple_of(tl.load(table + 1).to(tl.pointer_type(dtype)), 16)
    return a, b, tl.load(table + 2).to(tl.int32)


@triton.jit
def _rows(rows, tiles, tile):
    """The tile's places in the batch, and which of the 16 are real."""
    start, count = tl.load(tiles + tile * 4), tl.load(tiles + tile * 4 + 1)
    lane = tl.arange(0, SIDE)
    return tl.load(rows + start + lane, mask=lane < count, other=0).to(tl.int64), lane < count


@triton.jit
def _h(h, tiles, tile, module, block):
    """Where the 16 x 16 numbers of a block of ranks lie: [rows, ranks]."""
    lane = tl.arange(0, SIDE)
    place = tl.load(tiles + tile * 4 + 3) + (block * 3 + module) * SIDE * SIDE
    return h + place + lane[:, None] * SIDE + lane[None, :]


@triton.jit(do_not_specialize=["first"])
def shrink(x, rows, tiles, h, first, width, BLOCK_IN: tl.constexpr):
    """h = x @ A^T. x: [tokens, width]. Programs: [tiles, modules of the group, blocks of 16 ranks]."""
    tile, module, block = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    a, _b, rank = _pair(tiles, tile, first + module, x.dtype.element_ty)
    if block * SIDE < rank:
        row, real = _rows(rows, tiles, tile)
        ranks = block * SIDE + tl.arange(0, SIDE)
        total = tl.zeros((SIDE, SIDE), tl.float32)
        for begin in range(0, width, BLOCK_IN):
            column = begin + tl.arange(0, BLOCK_IN)
            inside = column < width
            xs = tl.load(x + row[:, None] * width + column[None, :], mask=real[:, None] & inside[None, :], other=0)
            own = inside[:, None] & (ranks < rank)[None, :]
            weights = tl.load(a + ranks[None, :] * width + column[:, None], mask=own, other=0)
            total = tl.dot(xs, weights, total, input_precision="ieee")
        tl.store(_h(h, tiles, tile, module, block), total)


@triton.jit(do_not_specialize=["first"])
def expand(
    y,
    rows,
    tiles,
    h,
    first,
    stride,
    place_1,
    place_2,
    width_0,
    width_1,
    width_2,
    BLOCK_OUT: tl.constexpr,
    ALIGNED: tl.constexpr,
):
    """y += h @ B. y: [tokens, stride]; the group's modules are width_0, width_1, width_2 columns wide and begin at 0,
    place_1 and place_2. Programs: [tiles, modules of the group, blocks of the widest module's columns]."""
    tile, module = tl.program_id(0), tl.program_id(1)
    width = tl.where(module == 0, width_0, tl.where(module == 1, width_1, width_2))
    place = tl.where(module == 0, 0, tl.where(module == 1, place_1, place_2))
    if ALIGNED:  # widths picked at run time would lose what Triton knows of each one
        width, place = tl.multiple_of(width, 16), tl.multiple_of(place, 16)
    begin = tl.program_id(2) * BLOCK_OUT
    _a, b, rank = _pair(tiles, tile, first + module, y.dtype.element_ty)
    if (begin < width) & (rank > 0):
        row, real = _rows(rows, tiles, tile)
        column = begin + tl.arange(0, BLOCK_OUT)
        inside = column < width
        total = tl.zeros((SIDE, BLOCK_OUT), tl.float32)
        for block in range(0, tl.cdiv(rank, SIDE)):
            ranks = block * SIDE + tl.arange(0, SIDE)
            own = (ranks < rank)[:, None] & inside[None, :]
            weights = tl.load(b + ranks[:, None] * width + column[None, :], mask=own, other=0)
            hs = tl.load(_h(h, tiles, tile, module, block)).to(y.dtype.element_ty)
            total = tl.dot(hs, weights, total, input_precision="ieee")
        out = y + row[:, None] * stride + place + column[None, :]
        mask = real[:, None] & inside[None, :]
        tl.store(out, (tl.load(out, mask=mask, other=0).to(tl.float32) + total).to(y.dtype.element_ty), mask=mask)
