"""The native grouped LoRA layer: a fast twin of `lora_py.grouped.add_lora`."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from lora_py.grouped import GROUPS, MODULES, SlotTable, module_table


def add_lora_native(
    library: ctypes.CDLL,
    y: Tensor,
    x: Tensor,
    table: SlotTable,
    slots: list[int],
    layer: int,
    group: str,
    dtype: torch.dtype = torch.float16,
) -> None:
    """y: [tokens, out], x: [tokens, in], float32 and contiguous; slots: one for each token; adds to y in place.
    dtype: of the adapters, float16 or int8."""
    modules = GROUPS[group]
    first = MODULES.index(modules[0])
    tables = []
    for slot in slots:
        adapter = table.slots[slot]
        address = 0 if adapter is None else _address(module_table(adapter, dtype))
        tables.append(address and address + (layer * len(MODULES) + first) * 24)
    outs = (ctypes.c_int32 * len(modules))(*(table.widths[module] for module in modules))
    library.grove_lora_add(
        ctypes.c_void_p(y.data_ptr()),
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_int(x.shape[0]),
        ctypes.c_int(x.shape[1]),
        ctypes.c_int(y.shape[1]),
        (ctypes.c_uint64 * len(tables))(*tables),
        ctypes.c_int(len(modules)),
        outs,
        ctypes.c_int(dtype == torch.int8),
    )


def _address(table: Tensor) -> int:
    assert table.dtype == torch.int64
    return int(table.data_ptr())
