"""One adapter's weights in one block of memory, as the engine reads them, and the same block as a file.

Packing into one block saves a few hundred allocations for an adapter; the file saves hashing, parsing and converting
PEFT's file a second time. Its checksum guards against damage, not against who may write there. The plain twin of all
this is `grouped.pack_adapter`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_py import byte_lora
from lora_py.grouped import MODULES, LoraPair, PackedAdapter, large_pages, place_of
from lora_py.peft_weights import AdapterError, Weights

FORMAT = 3
ALIGN = 64  # bytes: a cache line, and more than any vector load wants
CHECK = 8  # bytes at the file's start: the CRC-32 of all that follows


@dataclass(frozen=True, slots=True)
class Place:
    """One module's pair. A is [rank, in], B [rank, out] and already scaled; or both as `byte_lora` keeps them."""

    layer: int
    module: int  # index into MODULES
    rank: int
    in_size: int
    out_size: int


class NotPacked(Exception):
    """The file is not what we wrote: damaged, cut off, or of another adapter, base or format."""


def _steps(places: list[Place], dtype: torch.dtype) -> list[int]:
    """Elements that A and B of each place take, rounded up to whole lines: [a0, b0, a1, b1, ...]."""
    if dtype == torch.int8:
        return [
            n for p in places for n in (byte_lora.a_bytes(p.rank, p.in_size), byte_lora.b_bytes(p.rank, p.out_size))
        ]
    line = ALIGN // dtype.itemsize
    return [-(-place.rank * size // line) * line for place in places for size in (place.in_size, place.out_size)]


class _Pairs(Mapping[tuple[int, str], LoraPair]):
    """The pairs of a block, each made when it is asked for, as views or out of 8 bits: the native kernel never asks."""

    def __init__(self, arena: Tensor, places: list[Place], starts: list[int]) -> None:
        self._arena = arena
        self._where = {
            (p.layer, MODULES[p.module]): (p, starts[2 * i], starts[2 * i + 1]) for i, p in enumerate(places)
        }

    def __getitem__(self, key: tuple[int, str]) -> LoraPair:
        place, a, b = self._where[key]
        r, n, m = place.rank, place.in_size, place.out_size
        if self._arena.dtype == torch.int8:
            block = self._arena.view(torch.uint8)
            return LoraPair(*byte_lora.unpack(block[a:], block[b:], r, n, m))
        return LoraPair(self._arena[a : a + r * n].view(r, n), self._arena[b : b + r * m].view(r, m))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


def _assemble(arena: Tensor, places: list[Place], layers: int) -> PackedAdapter:
    steps = _steps(places, arena.dtype)
    starts = [0, *accumulate(steps)][: 2 * len(places)]
    table = torch.zeros(layers, len(MODULES), 3, dtype=torch.int64)
    if places:
        addresses = torch.tensor(starts, dtype=torch.int64).view(-1, 2) * arena.element_size() + arena.data_ptr()
        ranks = torch.tensor([place.rank for place in places]).view(-1, 1)
        where = torch.tensor([(place.layer, place.module) for place in places])
        table[where[:, 0], where[:, 1]] = torch.cat((addresses, ranks), 1)
    return PackedAdapter(
        rank=max((place.rank for place in places), default=0),
        pairs=_Pairs(arena, places, starts),
        nbytes=_nbytes(places, steps, arena.dtype),
        table=table.to(arena.device),
        dtype=arena.dtype,
    )


def _nbytes(places: list[Place], steps: list[int], dtype: torch.dtype) -> int:
    if dtype == torch.int8:
        return sum(steps)
    return sum(place.rank * (place.in_size + place.out_size) for place in places) * dtype.itemsize


def pack_arena(
    weights: Weights, scaling_of: Callable[[str], float], dtype: torch.dtype, device: torch.device, layers: int
) -> tuple[PackedAdapter, Tensor, list[Place]]:
    """The packed adapter, its block on the CPU and what lies in it. Refuses weights that `dtype` can't hold."""
    found = {}
    for name, (a, b) in weights.items():
        layer, module = place_of(name)
        found[name] = Place(layer, MODULES.index(module), a.shape[0], a.shape[1], b.shape[0])
    names = sorted(found, key=lambda name: (found[name].layer, found[name].module))  # as a step reads them
    places = [found[name] for name in names]
    steps = _steps(places, dtype)
    arena = large_pages(sum(steps), dtype, torch.device("cpu"))
    fill = _fill_bytes if dtype == torch.int8 else _fill
    bad = fill(arena, steps, [weights[name] for name in names], [scaling_of(name) for name in names])
    if bad >= 0:
        name = "float32" if dtype == torch.int8 else str(dtype)[6:]  # bytes have a scale in float32
        raise AdapterError("adapter_unsupported", f"{names[bad]} holds numbers too large for {name}.")
    return _assemble(arena.to(device), places, layers), arena, places


def _fill(arena: Tensor, steps: list[int], pairs: list[tuple[Tensor, Tensor]], scalings: list[float]) -> int:
    """Index of the first pair that the block's type can't hold, or -1."""
    parts = torch.split(arena.zero_(), steps)
    for index, ((a, b), scaling) in enumerate(zip(pairs, scalings, strict=True)):
        r = a.shape[0]
        parts[2 * index][: a.numel()].view(r, -1).copy_(a)
        torch.mul(b.t(), scaling, out=parts[2 * index + 1][: b.numel()].view(r, -1))
    if torch.isfinite(arena.sum(dtype=torch.float32)) or torch.isfinite(arena).all():
        return -1
    return next(i // 2 for i, part in enumerate(parts) if not torch.isfinite(part).all())


def _fill_bytes(arena: Tensor, steps: list[int], pairs: list[tuple[Tensor, Tensor]], scalings: list[float]) -> int:
    return byte_lora.pack_native(pairs, scalings, arena, [0, *accumulate(steps)][: 2 * len(pairs)])


def write_packed(path: Path, arena: Tensor, places: list[Place], about: dict[str, Any]) -> None:
    """By one rename. `about` says whose block it is; `read_packed` must be told the same."""
    rows = [[p.layer, p.module, p.rank, p.in_size, p.out_size] for p in places]
    head = json.dumps({"format": FORMAT, "dtype": str(arena.dtype), "places": rows, "about": about}).encode()
    head += b" " * (-(CHECK + 8 + len(head)) % ALIGN)
    body = arena.view(torch.uint8).numpy().data
    size = len(head).to_bytes(8, "little")
    check = zlib.crc32(body, zlib.crc32(size + head)).to_bytes(CHECK, "little")
    part = path.with_name(f".part-{os.getpid()}-{os.urandom(4).hex()}-{path.name}")
    try:
        with part.open("wb") as file:
            file.writelines((check, size, head, body))
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def read_packed(
    path: Path, about: dict[str, Any], dtype: torch.dtype, device: torch.device, layers: int
) -> PackedAdapter:
    """Raises FileNotFoundError or NotPacked. Every byte is checked before it is used."""
    with path.open("rb") as file:
        block = large_pages(os.fstat(file.fileno()).st_size, torch.uint8, torch.device("cpu"))
        bytes_ = block.numpy().data
        if file.readinto(bytes_) != len(bytes_) or len(bytes_) < CHECK + 8:
            raise NotPacked("cut off")
    if zlib.crc32(bytes_[CHECK:]) != int.from_bytes(bytes_[:CHECK], "little"):
        raise NotPacked("damaged")
    start = CHECK + 8 + int.from_bytes(bytes_[CHECK : CHECK + 8], "little")
    head = json.loads(bytes(bytes_[CHECK + 8 : start]))
    if (head["format"], head["dtype"], head["about"]) != (FORMAT, str(dtype), about):
        raise NotPacked("of another adapter, base or format")
    places = [Place(*row) for row in head["places"]]
    return _assemble(block[start:].view(dtype).to(device), places, layers)
