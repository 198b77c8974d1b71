"""What the loop asks of a frozen base, however its forward pass is written: by hand (`model`) or by transformers
(`foreign`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from trainer.model import Trained
from trainer.packing import Packed
from trainer.spec import AdapterSpec

Shapes = Mapping[str, tuple[int, int]]  # "layers.0.self_attn.q_proj" -> (out, in)


class Base(Protocol):
    @property
    def config(self) -> Mapping[str, Any]: ...

    @property
    def max_length(self) -> int: ...

    @property
    def widest(self) -> int:
        """The widest input of any linear."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What of this base belongs to the description of the machine, since other bits come of it."""
        ...

    def shapes(self, adapter: AdapterSpec) -> Shapes:
        """The linears that an adapter of these settings touches."""
        ...

    def squares(self, name: str) -> Tensor:
        """[out], of a linear that `shapes` names: the squared length of each output's weights, which DoRA starts at."""
        ...

    def losses(self, packed: Packed, jobs: Sequence[Trained], check: Callable[[], None] = ...) -> Tensor:
        """Each loss token's share of its job's mean loss. `check` may raise between two layers to stop the step."""
        ...
