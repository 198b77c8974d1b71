"""A frozen linear of the base, whole or quantized: nothing of it is ever updated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from lora_py.quantized_base import QuantizedWeight
from torch import Tensor

from trainer import native


class Frozen(Protocol):
    @property
    def dtype(self) -> torch.dtype:
        """What the linear is multiplied in."""
        ...

    def dense(self) -> Tensor:
        """[out, in]; of a quantized weight made anew for each product, forward and backward."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    weight: Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    def dense(self) -> Tensor:
        return self.weight


@dataclass(frozen=True, slots=True, eq=False)
class Quantized:
    """Modules whose outputs lie end to end, each quantized by itself as bitsandbytes would."""

    parts: tuple[QuantizedWeight, ...]
    dtype: torch.dtype

    def dense(self) -> Tensor:
        return torch.cat([part.dequantize(self.dtype) for part in self.parts])


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight^T in the weight's precision, given back in that of x."""
    return native.product(x, weight) if native.multiplies(x, weight) else (x.to(weight.dtype) @ weight.t()).to(x.dtype)


def product_back(dy: Tensor, weight: Tensor) -> Tensor:
    """dy @ weight in the weight's precision, given back in that of dy."""
    if native.multiplies(dy, weight):
        return native.product_back(dy, weight)
    return (dy.to(weight.dtype) @ weight).to(dy.dtype)
