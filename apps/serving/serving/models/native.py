"""The forward pass in the native library: one call a step, weights in panels, its own threads.

Its plain twin is `causal.TorchModel`. With `fp32` weights the two differ by rounding alone; `int8` keeps weights in 8
bits with a scale for each 32 of them, and each row's activations likewise, so rows never share a scale.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import torch
from lora_py.byte_lora import MAX_RANK
from lora_py.grouped import SlotTable, module_table
from torch import Tensor

from serving.models.batch import BLOCK, Batch, KvCache, Logits
from serving.models.config import ModelConfig, ModelError
from serving.models.rope import rope_tables
from serving.models.variant import Variant
from serving.models.weights import LayerWeights, ModelWeights

TILE_ROWS = 16  # of a matrix tile (AMX)


_SHAPE_FIELDS = (
    "hidden",
    "layers",
    "heads",
    "kv_heads",
    "head_dim",
    "intermediate",
    "vocab",
    "window",
    "positions",
    "int8",
    "threads",
)


class _Shape(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in _SHAPE_FIELDS)


class _Step(ctypes.Structure):
    _fields_ = (
        ("tokens", ctypes.c_int32),
        ("chunks", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("ids", ctypes.c_void_p),
        ("start", ctypes.c_void_p),
        ("position", ctypes.c_void_p),
        ("count", ctypes.c_void_p),
        ("adapters", ctypes.c_void_p),
        ("block_start", ctypes.c_void_p),
        ("blocks", ctypes.c_void_p),
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("kv_blocks", ctypes.c_int64),
        ("logit_rows", ctypes.c_void_p),
        ("logits", ctypes.c_void_p),
        ("norms", ctypes.c_void_p),
        ("best", ctypes.c_void_p),
    )


def supports(config: ModelConfig) -> bool:
    return config.head_dim % 16 == 0 and config.variant == Variant()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


class NativeModel:
    def __init__(
        self,
        library: ctypes.CDLL,
        config: ModelConfig,
        weights: ModelWeights,
        max_positions: int,
        int8: bool,
        threads: int,
    ) -> None:
        self.config = config
        self.weight_name = "int8" if int8 else "float32"
        self.adapter_dtype = torch.int8 if int8 else torch.float16
        self._library = library
        library.grove_model_new.restype = ctypes.c_void_p
        threads = threads or len(os.sched_getaffinity(0))
        self._shape = _Shape(
            config.hidden,
            config.layers,
            config.heads,
            config.kv_heads,
            config.head_dim,
            config.intermediate,
            config.vocab,
            config.window or 0,
            max_positions,
            int(int8),
            threads,
        )
        cos, sin = rope_tables(config.rope, config.head_dim, max_positions)
        # The library reads these where they lie, for as long as the model lives.
        self._kept: list[Tensor | None] = [cos.contiguous(), sin.contiguous(), weights.embed.contiguous()]
        addresses = [ctypes.c_void_p(_pointer(tensor)) for tensor in self._kept]
        made = library.grove_model_new(ctypes.byref(self._shape), ctypes.c_float(config.norm_eps), *addresses)
        self._model = ctypes.c_void_p(made)
        for index, layer in enumerate(weights.layers):
            self._add_layer(index, layer)
        self.row_tile = TILE_ROWS if self._tiled else 1
        norm = weights.norm.contiguous()
        self._kept.append(norm)
        head = weights.head.contiguous()
        library.grove_model_head(
            self._model, ctypes.c_void_p(norm.data_ptr()), ctypes.c_void_p(head.data_ptr()), ctypes.byref(self._shape)
        )

    def _add_layer(self, index: int, layer: LayerWeights) -> None:
        kept = [layer.input_norm, layer.post_norm, layer.qkv_bias, layer.q_norm, layer.k_norm]
        packed = [tensor.contiguous() for tensor in (layer.qkv, layer.o, layer.gate_up, layer.down)]
        self._kept.extend(kept)
        tensors = (ctypes.c_void_p * 9)(*(_pointer(tensor) for tensor in (*kept, *packed)))
        self._library.grove_model_layer(self._model, ctypes.c_int(index), tensors, ctypes.byref(self._shape))

    def __del__(self) -> None:
        if hasattr(self, "_model"):
            self._library.grove_model_free(self._model)

    @property
    def _tiled(self) -> bool:
        """Whether the library multiplies in matrix tiles; it keeps keys and values in 16 bits then."""
        return bool(self._library.grove_model_kv_bytes(self._model) == 2)

    def new_cache(self, blocks: int) -> KvCache:
        config = self.config
        dtype = torch.bfloat16 if self._tiled else torch.float32
        return KvCache(config.layers, config.kv_heads, config.head_dim, blocks, torch.device("cpu"), dtype)

    def forward(self, batch: Batch, cache: KvCache, slots: SlotTable) -> Logits:
        chunks = batch.chunks
        tables = {chunk.slot: _table(slots, chunk.slot, self.config, self.adapter_dtype) for chunk in chunks}
        ends = [(chunk.position + chunk.count + BLOCK - 1) // BLOCK for chunk in chunks]
        blocks: list[int] = []
        block_start = []
        for chunk, end in zip(chunks, ends, strict=True):
            block_start.append(len(blocks))
            blocks.extend(chunk.blocks[:end])
        rows = len(batch.logit_rows)
        logits = torch.empty(rows, self.config.vocab)
        norms, best = torch.empty(rows), torch.empty(rows, dtype=torch.int32)
        held: list[Any] = [
            _ints(batch.tokens),
            _ints([chunk.start for chunk in chunks]),
            _ints([chunk.position for chunk in chunks]),
            _ints([chunk.count for chunk in chunks]),
            (ctypes.c_uint64 * len(chunks))(*(tables[chunk.slot] for chunk in chunks)),
            _ints(block_start),
            _ints(blocks),
        ]
        logit_rows = _ints(batch.logit_rows)
        step = _Step(
            len(batch.tokens),
            len(chunks),
            rows,
            *(ctypes.addressof(array) for array in held),
            cache.keys.data_ptr(),
            cache.values.data_ptr(),
            cache.blocks,
            ctypes.addressof(logit_rows),
            logits.data_ptr(),
            norms.data_ptr(),
            best.data_ptr(),
        )
        self._library.grove_model_forward(self._model, ctypes.byref(step))
        return Logits(logits, norms, best.tolist())


def _ints(values: Any) -> Any:
    return (ctypes.c_int32 * len(values))(*values)


def _table(slots: SlotTable, slot: int, config: ModelConfig, dtype: torch.dtype) -> int:
    if slot == 0:
        return 0
    adapter = slots.slots[slot]
    if adapter is None:
        raise LookupError(f"adapter slot {slot} is empty")
    if adapter.rank > MAX_RANK:
        raise ModelError(f"rank {adapter.rank} is over {MAX_RANK}")
    table = module_table(adapter, dtype)
    if table.shape[0] != config.layers:
        raise LookupError("the adapter's table was made for another base")
    return table.data_ptr()
