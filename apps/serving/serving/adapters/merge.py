"""Several adapters as one: linear, TIES and DARE, on A and B apart, as LoRAX does it.

Missing modules count as zeros. The random choices of DARE come from the merge's own key, so a merge is always the same.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lora_py.arena import pack_arena
from lora_py.grouped import PackedAdapter
from lora_py.peft_weights import AdapterError
from torch import Tensor

from serving.adapters.identity import AdapterFailure
from serving.engine.request import EngineAdapter

KEPT = 32


@dataclass(frozen=True, slots=True)
class Merge:
    weights: tuple[float, ...]
    strategy: str
    density: float
    sign_method: str


def merge_key(adapters: Sequence[EngineAdapter], merge: Merge) -> str:
    text = repr((tuple(adapter.key for adapter in adapters), merge))
    return "merge-" + hashlib.sha256(text.encode()).hexdigest()


def _largest(tensor: Tensor, density: float) -> Tensor:
    keep = int(density * tensor.numel())
    mask = torch.zeros(tensor.numel(), dtype=torch.bool)
    mask[tensor.abs().flatten().topk(keep).indices] = True
    return tensor * mask.view_as(tensor)


def _random(tensor: Tensor, density: float, generator: torch.Generator) -> Tensor:
    return tensor * (torch.rand(tensor.shape, generator=generator) < density) / density


def _agreeing(tensors: Tensor, method: str) -> Tensor:
    votes = (tensors if method == "total" else tensors.sign()).sum(0)
    majority = torch.where(votes >= 0, 1.0, -1.0)
    return tensors.sign() == majority


def merge_tensors(tensors: Sequence[Tensor], merge: Merge, generator: torch.Generator) -> Tensor:
    weights = torch.tensor(merge.weights).view(-1, *[1] * tensors[0].dim())
    if merge.strategy == "linear":
        return (torch.stack(list(tensors)) * weights).sum(0)
    if merge.strategy == "ties":
        stacked = torch.stack([_largest(tensor, merge.density) for tensor in tensors])
    else:
        stacked = torch.stack([_random(tensor, merge.density, generator) for tensor in tensors])
    if merge.strategy == "dare_linear":
        return (stacked * weights).sum(0)
    agreeing = _agreeing(stacked, merge.sign_method)
    return (stacked * weights * agreeing).sum(0) / agreeing.sum(0).clamp_min(1)


def merge_adapters(adapters: Sequence[EngineAdapter], merge: Merge, layers: int) -> EngineAdapter:
    ranks = {pair.a.shape[0] for adapter in adapters for pair in adapter.packed.pairs.values()}
    if len(ranks) != 1:
        raise AdapterFailure(f"merged adapters must share one rank; these have {sorted(ranks)}")
    key = merge_key(adapters, merge)
    generator = torch.Generator()
    generator.manual_seed(int(key[-15:], 16))
    packs: list[PackedAdapter] = [adapter.packed for adapter in adapters]
    merged: dict[str, tuple[Tensor, Tensor]] = {}
    for layer, module in sorted({name for pack in packs for name in pack.pairs}):
        pairs = [pack.pairs.get((layer, module)) for pack in packs]
        like = next(pair for pair in pairs if pair is not None)
        a = [(torch.zeros_like(like.a) if pair is None else pair.a).float().cpu() for pair in pairs]
        b = [(torch.zeros_like(like.b) if pair is None else pair.b).float().cpu() for pair in pairs]
        merged[f"layers.{layer}.{module}"] = (
            merge_tensors(a, merge, generator),
            merge_tensors(b, merge, generator).t(),
        )
    try:
        packed, _, _ = pack_arena(merged, lambda name: 1.0, packs[0].dtype, packs[0].table.device, layers)
    except AdapterError as error:
        raise AdapterFailure(f"the merge was refused: {error}") from error
    return EngineAdapter(key, packed)


class MergeCache:
    """The last merges, up to a number and to a size; the same merge is made once at a time."""

    def __init__(self, layers: int, max_bytes: int = 512 << 20) -> None:
        self._layers = layers
        self._max_bytes = max_bytes
        self._made: OrderedDict[str, EngineAdapter] = OrderedDict()
        self._lock = threading.Lock()
        self._making: dict[str, threading.Lock] = {}

    def get(self, adapters: Sequence[EngineAdapter], merge: Merge) -> EngineAdapter:
        """Blocking, on the caller's thread."""
        key = merge_key(adapters, merge)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                made = self._made.get(key) or merge_adapters(adapters, merge, self._layers)
                with self._lock:
                    self._keep(made)
                return made
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def _keep(self, made: EngineAdapter) -> None:
        self._made[made.key] = made
        self._made.move_to_end(made.key)
        total = sum(one.packed.nbytes for one in self._made.values())
        while len(self._made) > 1 and (len(self._made) > KEPT or total > self._max_bytes):
            _, gone = self._made.popitem(last=False)
            total -= gone.packed.nbytes
