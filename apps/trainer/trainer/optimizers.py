"""The optimizers a job may ask for. Each works on the job's one flat tensor; checkpoints hold its state by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer

from trainer.adamw_8bit import BLOCK, AdamW8bit
from trainer.spec import OptimizerName, TrainingSpec

MOMENTUM = 0.9
STATE_BYTES: dict[OptimizerName, float] = {  # of each trained number, from the first step on
    "adamw": 8,
    "adamw_8bit": 2 + 8 / BLOCK,
    "adam": 8,
    "sgd": 4,
    "lion": 4,
}


class Lion(Optimizer):
    """Moves each weight by the sign of a momentum (arXiv 2302.06675): half of Adam's state. Its rate should be 3 to 10
    times lower than AdamW's."""

    def __init__(self, parameters: list[Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "betas": (0.9, 0.99)})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            slow, fast = group["betas"]
            for parameter in group["params"]:
                gradient, state = parameter.grad, self.state[parameter]
                if not state:
                    state["exp_avg"] = torch.zeros_like(parameter)
                average = state["exp_avg"]
                move = (average * slow).add_(gradient, alpha=1 - slow).sign_()
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(move, alpha=-group["lr"])
                average.mul_(fast).add_(gradient, alpha=1 - fast)


def make_optimizer(training: TrainingSpec, parameter: Parameter) -> Optimizer:
    rate, decay = training.learning_rate, training.weight_decay
    match training.optimizer:
        case "adamw":
            return AdamW([parameter], lr=rate, weight_decay=decay, fused=True)
        case "adamw_8bit":
            return AdamW8bit([parameter], lr=rate, weight_decay=decay)
        case "adam":
            return Adam([parameter], lr=rate, weight_decay=decay, fused=True)
        case "sgd":
            return SGD([parameter], lr=rate, weight_decay=decay, momentum=MOMENTUM)
        case "lion":
            return Lion([parameter], lr=rate, weight_decay=decay)


def optimizer_state(optimizer: Optimizer, parameter: Parameter) -> dict[str, Tensor]:
    """What must come back on resume. A fresh optimizer has nothing yet."""
    found = optimizer.state[parameter]
    return {f"optimizer.{name}": value for name, value in found.items() if isinstance(value, Tensor)}


def restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state = {n.removeprefix("optimizer."): t for n, t in tensors.items() if n.startswith("optimizer.")}
    if state:
        optimizer.load_state_dict({"state": {0: state}, "param_groups": optimizer.state_dict()["param_groups"]})
