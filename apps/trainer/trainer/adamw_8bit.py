"""AdamW whose two moments are kept in eight bits, in blocks of 256 with a scale each: the arithmetic and the maps of
bitsandbytes, on CPU and CUDA. A quarter of AdamW's state."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

BLOCK = 256  # values that share a scale: fixed in bitsandbytes
PIECE = 1 << 20  # values whose moments are wide at one time, where there is no kernel that needs none wide


class AdamW8bit(Optimizer):
    def __init__(self, parameters: list[Parameter], lr: float, weight_decay: float) -> None:
        from bitsandbytes import functional  # seconds to import

        defaults = {"lr": lr, "weight_decay": weight_decay, "betas": (0.9, 0.999), "eps": 1e-8}
        super().__init__(parameters, defaults)
        self._update = functional.optimizer_update_8bit_blockwise
        device = parameters[0].device
        self._signed = functional.create_dynamic_map(signed=True).to(device)  # type: ignore[no-untyped-call]
        self._unsigned = functional.create_dynamic_map(signed=False).to(device)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state.update(self._new_state(parameter))
                state["step"] += 1
                for begin in range(0, parameter.numel(), PIECE):
                    self._move(group, parameter, state, begin, min(begin + PIECE, parameter.numel()))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """torch's own would make floats of the eight-bit numbers, to be like the parameter."""
        for parameter, state in zip(self.param_groups[0]["params"], state_dict["state"].values(), strict=True):
            self.state[parameter] = {n: t.clone() if n == "step" else t.to(parameter.device) for n, t in state.items()}

    def _new_state(self, parameter: Parameter) -> dict[str, Tensor]:
        values, blocks = parameter.numel(), -(-parameter.numel() // BLOCK)
        device = parameter.device
        return {
            "step": torch.zeros(()),
            "state1": torch.zeros(values, dtype=torch.uint8, device=device),
            "state2": torch.zeros(values, dtype=torch.uint8, device=device),
            "absmax1": torch.zeros(blocks, device=device),
            "absmax2": torch.zeros(blocks, device=device),
        }

    def _move(
        self, group: dict[str, Any], parameter: Parameter, state: dict[str, Tensor], begin: int, end: int
    ) -> None:
        values, blocks = slice(begin, end), slice(begin // BLOCK, -(-end // BLOCK))
        slow, fast = group["betas"]
        assert parameter.grad is not None
        self._update(
            "adam",
            parameter.grad[values],
            parameter[values],
            state["state1"][values],
            state["state2"][values],
            slow,
            fast,
            0.0,  # of AdEMAMix alone, as the next
            0.0,
            group["eps"],
            int(state["step"]),
            group["lr"],
            self._signed,
            self._unsigned,
            state["absmax1"][blocks],
            state["absmax2"][blocks],
            group["weight_decay"],
        )
