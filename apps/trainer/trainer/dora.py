"""DoRA (arXiv 2402.09353) as PEFT has it: the weights of an output, base and LoRA together, are brought to a trained
length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Dora:
    magnitude: Tensor  # [out], trained
    squares: Tensor  # [out], squared length of the base's weights of each output

    def norm(self, weight: Tensor, a: Tensor, b: Tensor, scaling: float) -> Tensor:
        """[out], the length of weight + scaling * B @ A, which is never formed. A constant of the step, as in PEFT."""
        with torch.no_grad():
            crossed = (b * (weight @ a.t().to(weight.dtype)).to(b.dtype)).sum(1)
            own = ((b @ (a @ a.t())) * b).sum(1)
            return length(self.squares + 2 * scaling * crossed + scaling**2 * own)


def length(squares: Tensor) -> Tensor:
    """Of an output without any weight, not zero: it is divided by."""
    return squares.clamp(min=torch.finfo(squares.dtype).tiny).sqrt()
