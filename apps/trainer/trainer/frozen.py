"""A frozen linear of the base, whole or quantized: nothing of it is ever updated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from lora_py.quantized_base import QuantizedWeight
from torch import Tensor


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
