"""One adapter's weights in one block of memory, as the engine reads them, and the same block as a file.

Packing into one block saves a few hundred allocations for an adapter; the file saves hashing, parsing and converting
PEFT's file a second time. Its plain twin is `grouped.pack_adapter`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lora_py.grouped import MODULES, LoraPair, PackedAdapter
from lora_py.peft_weights import AdapterError, Weights

FORMAT = 1
ALIGN = 64  # bytes: a cache line, and more than any vector load wants
CHECK = 32  # bytes of SHA-256 at the file's start, over all that follows


@dataclass(frozen=True, slots=True)
class Place:
    """Where one module's pair lies. A is [rank, in], B [rank, out] and already scaled."""

    layer: int
    module: int  # index into MODULES
    rank: int
    in_size: int
    out_size: int


class NotPacked(Exception):
    """The file is not what we wrote: damaged, cut off, or of another adapter, base or format."""


def _steps(places: list[Place], item: int) -> list[int]:
    """Elements that A and B of each place take, rounded up to whole lines: [a0, b0, a1, b1, ...]."""
    line = ALIGN // item
    return [-(-place.rank * size // line) * line for place in places for size in (place.in_size, place.out_size)]


def _assemble(arena: Tensor, places: list[Place], layers: int) -> PackedAdapter:
    item = arena.element_size()
    steps = _steps(places, item)
    parts = torch.split(arena, steps)
    pairs: dict[tuple[int, str], LoraPair] = {}
    nbytes = rank = 0
    for index, place in enumerate(places):
        r, n, m = place.rank, place.in_size, place.out_size
        a, b = parts[2 * index][: r * n].view(r, n), parts[2 * index + 1][: r * m].view(r, m)
        pairs[place.layer, MODULES[place.module]] = LoraPair(a, b)
        nbytes += r * (n + m) * item
        rank = max(rank, r)
    table = torch.zeros(layers, len(MODULES), 3, dtype=torch.int64)
    if places:
        step = torch.tensor(steps, dtype=torch.int64)
        starts = (arena.data_ptr() + (step.cumsum(0) - step) * item).view(-1, 2)
        ranks = torch.tensor([place.rank for place in places]).view(-1, 1)
        where = torch.tensor([(place.layer, place.module) for place in places])
        table[where[:, 0], where[:, 1]] = torch.cat((starts, ranks), 1)
    return PackedAdapter(rank, pairs, nbytes, table.to(arena.device))


def pack_arena(
    weights: Weights, scaling_of: Callable[[str], float], dtype: torch.dtype, device: torch.device, layers: int
) -> tuple[PackedAdapter, Tensor, list[Place]]:
    """The packed adapter, its block on the CPU and what lies in it. Refuses weights that `dtype` can't hold."""
    names = list(weights)
    places = []
    for name in names:
        _, layer, module = name.split(".", 2)
        a, b = weights[name]
        places.append(Place(int(layer), MODULES.index(module), a.shape[0], a.shape[1], b.shape[0]))
    steps = _steps(places, dtype.itemsize)
    arena = torch.zeros(sum(steps), dtype=dtype)
    parts = torch.split(arena, steps)
    for index, (name, place) in enumerate(zip(names, places, strict=True)):
        a, b = weights[name]
        r = place.rank
        parts[2 * index][: a.numel()].view(r, -1).copy_(a)
        torch.mul(b.t(), scaling_of(name), out=parts[2 * index + 1][: b.numel()].view(r, -1))
    if not torch.isfinite(arena.sum(dtype=torch.float32)) and not torch.isfinite(arena).all():
        bad = next(n for i, n in enumerate(names) for p in parts[2 * i : 2 * i + 2] if not torch.isfinite(p).all())
        raise AdapterError("adapter_unsupported", f"{bad} holds numbers too large for {str(dtype)[6:]}.")
    return _assemble(arena.to(device), places, layers), arena, places


def write_packed(path: Path, arena: Tensor, places: list[Place], about: dict[str, Any]) -> None:
    """By one rename. `about` says whose block it is; `read_packed` must be told the same."""
    rows = [[p.layer, p.module, p.rank, p.in_size, p.out_size] for p in places]
    head = json.dumps({"format": FORMAT, "dtype": str(arena.dtype), "places": rows, "about": about}).encode()
    head += b" " * (-(CHECK + 8 + len(head)) % ALIGN)
    body = arena.view(torch.uint8).numpy().data
    digest = hashlib.sha256(len(head).to_bytes(8, "little") + head)
    digest.update(body)
    part = path.with_name(f".part-{os.getpid()}-{os.urandom(4).hex()}-{path.name}")
    try:
        with part.open("wb") as file:
            file.writelines((digest.digest(), len(head).to_bytes(8, "little"), head, body))
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)


def read_packed(
    path: Path, about: dict[str, Any], dtype: torch.dtype, device: torch.device, layers: int
) -> PackedAdapter:
    """Raises FileNotFoundError or NotPacked. Every byte is checked before it is used."""
    with path.open("rb") as file:
        block = torch.empty(os.fstat(file.fileno()).st_size, dtype=torch.uint8)
        bytes_ = block.numpy().data
        if file.readinto(bytes_) != len(bytes_) or len(bytes_) < CHECK + 8:
            raise NotPacked("cut off")
    if hashlib.sha256(bytes_[CHECK:]).digest() != bytes_[:CHECK]:
        raise NotPacked("damaged")
    start = CHECK + 8 + int.from_bytes(bytes_[CHECK : CHECK + 8], "little")
    head = json.loads(bytes(bytes_[CHECK + 8 : start]))
    if (head["format"], head["dtype"], head["about"]) != (FORMAT, str(dtype), about):
        raise NotPacked("of another adapter, base or format")
    places = [Place(*row) for row in head["places"]]
    return _assemble(block[start:].view(dtype).to(device), places, layers)
