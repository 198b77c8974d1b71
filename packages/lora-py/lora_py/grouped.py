"""The grouped LoRA layer: one linear whose rows each add the low-rank product of their own adapter slot.

This file is the plain twin (torch, any device). `lora_py.kernels` has the native one, which reads the same tables.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

# The fused linears of a decoder layer and the PEFT modules that lie in each, in the order of their output rows.
GROUPS: dict[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
LARGE_PAGE = 2 << 20  # bytes
MODULES: tuple[str, ...] = tuple(module for group in GROUPS.values() for module in group)
Span = tuple[int, int, int]  # adapter slot, first row, rows


@dataclass(frozen=True, slots=True)
class LoraPair:
    a: Tensor  # [rank, in]
    b: Tensor  # [rank, out], already scaled


@dataclass(frozen=True, slots=True, eq=False)
class PackedAdapter:
    """One adapter's weights as the engine reads them; only the modules that it has, at the rank that it has."""

    rank: int
    pairs: Mapping[tuple[int, str], LoraPair]  # (layer, module)
    nbytes: int
    table: Tensor  # [layers, modules, (address of a, address of b, rank)] for the kernels, beside the weights
    dtype: torch.dtype  # of the weights at those addresses; int8: as `byte_lora` keeps them


def module_table(adapter: PackedAdapter, dtype: torch.dtype) -> Tensor:
    """The adapter's addresses, for a kernel that reads weights of `dtype` from main memory."""
    if adapter.dtype != dtype or adapter.table.device.type != "cpu":
        raise TypeError(f"the native kernel reads {dtype} on the CPU, not {adapter.dtype} on {adapter.table.device}")
    return adapter.table


def _addresses(pairs: Mapping[tuple[int, str], LoraPair], layers: int) -> Tensor:
    table = torch.zeros(layers, len(MODULES), 3, dtype=torch.int64)
    for (layer, module), pair in pairs.items():
        row = [pair.a.data_ptr(), pair.b.data_ptr(), pair.a.shape[0]]
        table[layer, MODULES.index(module)] = torch.tensor(row, dtype=torch.int64)
    return table


def place_of(name: str) -> tuple[int, str]:
    """layers.N.self_attn.q_proj -> N, self_attn.q_proj"""
    _, layer, module = name.split(".", 2)
    return int(layer), module


def large_pages(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[count] values in one piece; a step reads all of an adapter, and in small pages the look-ups cost as much."""
    size = count * dtype.itemsize
    if device.type != "cpu" or size < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(count, dtype=dtype, device=device)
    memory = mmap.mmap(-1, (size + LARGE_PAGE - 1) // LARGE_PAGE * LARGE_PAGE)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=dtype, count=count)


def pack_adapter(
    weights: Mapping[str, tuple[Tensor, Tensor]], scaling: float, dtype: torch.dtype, device: torch.device, layers: int
) -> PackedAdapter:
    """weights: "layers.N.self_attn.q_proj" -> (A [rank, in], B [out, rank]), as PEFT stores them."""
    order = sorted(weights, key=lambda name: (place_of(name)[0], MODULES.index(place_of(name)[1])))
    sizes = [-(-half.numel() // 32) * 32 for name in order for half in weights[name]]  # kernels read aligned lines
    parts = iter(torch.split(large_pages(sum(sizes), dtype, device), sizes))
    pairs: dict[tuple[int, str], LoraPair] = {}
    for name in order:
        a, b = weights[name]
        held_a, held_b = next(parts)[: a.numel()], next(parts)[: b.numel()]
        pair = LoraPair(a=held_a.view(a.shape), b=held_b.view(b.shape[1], b.shape[0]))
        pair.a.copy_(a)
        pair.b.copy_(b.to(torch.float32).mul(scaling).t())
        pairs[place_of(name)] = pair
    nbytes = sum(t.numel() * t.element_size() for pair in pairs.values() for t in (pair.a, pair.b))
    return PackedAdapter(
        max((pair.a.shape[0] for pair in pairs.values()), default=0),
        pairs,
        nbytes,
        _addresses(pairs, layers).to(device),
        dtype,
    )


@dataclass(slots=True)
class SlotTable:
    """Adapters by slot; slot 0 is the base model and stays empty."""

    widths: Mapping[str, int]  # module -> output rows
    slots: list[PackedAdapter | None] = field(default_factory=lambda: [None])

    def put(self, slot: int, adapter: PackedAdapter | None) -> None:
        if slot < 1:
            raise ValueError("slot 0 is the base model")
        while len(self.slots) <= slot:
            self.slots.append(None)
        self.slots[slot] = adapter


def group_rows(spans: Sequence[Span], device: torch.device) -> dict[int, Tensor]:
    """(slot, start, count) spans -> the batch rows of each slot, base rows left out."""
    rows: dict[int, list[int]] = {}
    for slot, start, count in spans:
        if slot:
            rows.setdefault(slot, []).extend(range(start, start + count))
    return {slot: torch.tensor(indices, device=device) for slot, indices in rows.items()}


def add_lora(y: Tensor, x: Tensor, table: SlotTable, rows: Mapping[int, Tensor], layer: int, group: str) -> None:
    """y: [tokens, out of the group], x: [tokens, in]; adds each row's own adapter to y in place."""
    for slot, indices in rows.items():
        adapter = table.slots[slot]
        if adapter is None:
            raise LookupError(f"adapter slot {slot} is empty")
        inputs, start = x[indices], 0
        for module in GROUPS[group]:
            end = start + table.widths[module]
            pair = adapter.pairs.get((layer, module))
            if pair is not None:
                h = inputs @ pair.a.to(x.dtype).t()
                y[indices, start:end] += h @ pair.b.to(x.dtype)
            start = end


AddLora = Callable[[Tensor, Tensor, int, str], None]  # (y, x, layer, group): as `add_lora`
PlanLora = Callable[[Sequence[Span], SlotTable, torch.device], AddLora]


def plan_plain(spans: Sequence[Span], table: SlotTable, device: torch.device) -> AddLora:
    """What one step needs to know of its rows, found once for all its layers."""
    rows = group_rows(spans, device)
    return lambda y, x, layer, group: add_lora(y, x, table, rows, layer, group)
