"""Optimizer states: their arithmetic against a library's, their size, and their way through a checkpoint."""

from __future__ import annotations

import typing
from typing import Any

import bitsandbytes as bnb
import pytest
import torch
from safetensors.torch import load, save
from torch.nn import Parameter
from trainer_support import MakeSpec

from trainer import adamw_8bit
from trainer.adamw_8bit import AdamW8bit
from trainer.optimizers import STATE_BYTES, make_optimizer, optimizer_state, restore_optimizer
from trainer.spec import OptimizerName, TrainingSpec, parse_spec


def gradients(size: int, steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, generator=generator) * 10 ** -(n % 3) for n in range(steps)]


def moved(optimizer: torch.optim.Optimizer, parameter: Parameter, steps: list[torch.Tensor]) -> torch.Tensor:
    for gradient in steps:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach().clone()


def test_eight_bit_adamw_is_that_of_bitsandbytes_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    size, steps = 5000, gradients(5000, 6)
    start = torch.linspace(-1, 1, size)
    theirs, ours, pieces = (Parameter(start.clone()) for _ in range(3))
    expected = moved(bnb.optim.AdamW8bit([theirs], lr=0.01, weight_decay=0.1), theirs, steps)
    assert torch.equal(moved(AdamW8bit([ours], lr=0.01, weight_decay=0.1), ours, steps), expected)
    monkeypatch.setattr(adamw_8bit, "PIECE", 1024)
    assert torch.equal(moved(AdamW8bit([pieces], lr=0.01, weight_decay=0.1), pieces, steps), expected)


def test_eight_bit_adamw_goes_where_adamw_goes() -> None:
    size, steps = 4096, gradients(4096, 20)
    wide, narrow = Parameter(torch.zeros(size)), Parameter(torch.zeros(size))
    expected = moved(torch.optim.AdamW([wide], lr=0.01, weight_decay=0.1), wide, steps)
    found = moved(AdamW8bit([narrow], lr=0.01, weight_decay=0.1), narrow, steps)
    assert float((found - expected).norm() / expected.norm()) < 0.05


def training(make_spec: MakeSpec, **changes: Any) -> TrainingSpec:
    return parse_spec(make_spec(**changes)).training


@pytest.mark.parametrize("name", typing.get_args(OptimizerName))
def test_the_state_takes_the_bytes_that_a_quote_counts(make_spec: MakeSpec, name: OptimizerName) -> None:
    size = 256 * 64
    parameter = Parameter(torch.zeros(size))
    optimizer = make_optimizer(training(make_spec, optimizer=name), parameter)
    moved(optimizer, parameter, gradients(size, 2))
    held = sum(tensor.nbytes for tensor in optimizer_state(optimizer, parameter).values() if tensor.ndim)
    assert held == size * STATE_BYTES[name]


@pytest.mark.parametrize("name", typing.get_args(OptimizerName))
def test_a_state_comes_back_from_a_checkpoint_bit_by_bit(make_spec: MakeSpec, name: OptimizerName) -> None:
    size, steps = 3000, gradients(3000, 6)
    settings = training(make_spec, optimizer=name, weight_decay=0.1)
    parameter = Parameter(torch.ones(size))
    whole = make_optimizer(settings, parameter)
    moved(whole, parameter, steps[:3])
    kept = {"adapter": parameter.detach().clone(), **optimizer_state(whole, parameter)}
    stored = load(save(kept))
    expected = moved(whole, parameter, steps[3:])

    again = Parameter(stored["adapter"])
    resumed = make_optimizer(settings, again)
    restore_optimizer(resumed, stored)
    assert torch.equal(moved(resumed, again, steps[3:]), expected)
