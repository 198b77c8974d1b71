"""Adapters kept in 8 bits, as the native kernels read them beside 8-bit weights: A has a scale for each rank, B one for
each output. `kernels/native/byte_lora.h` says how the bytes lie; the packing here is its plain twin.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from lora_py.kernels import load_library

STEP = 32  # inputs that one vector holds; or 16 outputs of two ranks
PANEL = 16  # outputs side by side
MOST = 127
LINE = 64  # bytes
MAX_RANK = 256


def _lines(size: int) -> int:
    return -(-size // LINE) * LINE


def _padded(size: int) -> int:
    return -(-size // STEP) * STEP


def _panel_bytes(rank: int) -> int:
    return 2 * PANEL + -(-rank // 2) * STEP


def a_bytes(rank: int, in_size: int) -> int:
    return _lines(4 * rank) + _lines(rank * _padded(in_size))


def b_bytes(rank: int, out_size: int) -> int:
    return _lines(-(-out_size // PANEL) * _panel_bytes(rank))


def pack_plain(a: Tensor, b: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """a: [rank, in], b: [out, rank], both float32 and finite -> uint8 blocks of `a_bytes` and `b_bytes`."""
    rank, in_size = a.shape
    scale = _steps(a)
    rows = torch.zeros(rank, _padded(in_size), dtype=torch.int8)
    rows[:, :in_size] = _bytes(a, scale)
    block_a = torch.zeros(a_bytes(rank, in_size), dtype=torch.uint8)
    block_a[: 4 * rank] = scale.view(torch.uint8)
    block_a[_lines(4 * rank) :][: rows.numel()] = rows.flatten().view(torch.uint8)

    out_size, panels, pairs = b.shape[0], -(-b.shape[0] // PANEL), -(-rank // 2)
    scaled = torch.zeros(panels * PANEL, 2 * pairs)
    scaled[:out_size, :rank] = b * scaling
    outputs = _steps(scaled)
    turned = _bytes(scaled, outputs).view(panels, PANEL, pairs, 2).transpose(1, 2).reshape(panels, -1)
    scales = outputs.to(torch.bfloat16).view(torch.uint8).view(panels, -1)
    block_b = torch.zeros(b_bytes(rank, out_size), dtype=torch.uint8)
    block_b[: panels * _panel_bytes(rank)] = torch.cat((scales, turned.view(torch.uint8)), 1).flatten()
    return block_a, block_b


def unpack(block_a: Tensor, block_b: Tensor, rank: int, in_size: int, out_size: int) -> tuple[Tensor, Tensor]:
    """The blocks' A [rank, in] and B [rank, out], already scaled, in float32."""
    rows = block_a[_lines(4 * rank) :][: rank * _padded(in_size)].view(torch.int8).view(rank, -1)
    a = rows[:, :in_size].float() * block_a[: 4 * rank].view(torch.float32)[:, None]
    panels, pairs = -(-out_size // PANEL), -(-rank // 2)
    whole = block_b[: panels * _panel_bytes(rank)].view(panels, -1)
    scales = whole[:, : 2 * PANEL].contiguous().view(torch.bfloat16).float()
    values = whole[:, 2 * PANEL :].contiguous().view(torch.int8).view(panels, pairs, PANEL, 2)
    b = values.permute(1, 3, 0, 2).float() * scales  # [pairs, 2, panels, PANEL]
    return a, b.reshape(2 * pairs, -1)[:rank, :out_size].contiguous()


def pack_native(
    pairs: Sequence[tuple[Tensor, Tensor]], scalings: Sequence[float], block: Tensor, starts: list[int]
) -> int:
    """Fills `block` (uint8) with A and B of each pair at `starts`; float32 tensors as PEFT has them. Returns the first
    pair with a number that is not finite, or -1. The interpreter's lock is not held meanwhile."""
    library, count = load_library(), len(pairs)
    if library is None:
        raise RuntimeError("adapters in 8 bits need the native kernels")
    if any(a.shape[0] > MAX_RANK for a, _ in pairs):
        raise ValueError(f"a rank is over {MAX_RANK}")
    held = [(a.float().contiguous(), b.float().contiguous()) for a, b in pairs]
    ints = ctypes.c_int32 * count
    found = library.grove_lora_pack(
        ctypes.c_int(count),
        (ctypes.c_void_p * count)(*(a.data_ptr() for a, _ in held)),
        (ctypes.c_void_p * count)(*(b.data_ptr() for _, b in held)),
        ints(*(a.shape[0] for a, _ in held)),
        ints(*(a.shape[1] for a, _ in held)),
        ints(*(b.shape[0] for _, b in held)),
        (ctypes.c_float * count)(*scalings),
        ctypes.c_void_p(block.data_ptr()),
        (ctypes.c_int64 * len(starts))(*starts),
    )
    return int(found)


def _steps(x: Tensor) -> Tensor:
    """[rows, n] -> [rows]: a bf16 number, so that packing what was unpacked gives the same bytes."""
    return (x.abs().amax(1) / MOST).bfloat16().float()


def _bytes(x: Tensor, steps: Tensor) -> Tensor:
    inverse = torch.where(steps > 0, 1 / steps, 0.0)
    return (x * inverse[:, None]).round().clamp(-MOST, MOST).to(torch.int8)
