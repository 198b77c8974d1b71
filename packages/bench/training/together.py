"""Eight jobs in one step against the same eight one after another, on the same rows, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trainer.lora import Lora, new_lora
from trainer.model import Model, Trained, load_model
from trainer.packing import Example, pack
from trainer.spec import AdapterSpec

from rows import fixed

CPU = torch.device("cpu")
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
JOBS = 8


def measure(
    root: Path, base: Path, encode: Callable[[str], list[int]], eos: int, tokens: int, rounds: int
) -> dict[str, Any]:
    model = load_model(base, CPU, torch.float32)
    jobs = [new_lora(AdapterSpec(8, 16, 0.0, MODULES), model.config, seed, CPU) for seed in range(JOBS)]
    optimizers = [_optimizer(lora) for lora in jobs]
    rows = []
    for seed in range(JOBS):
        batch = fixed(encode, eos, root, tokens, max(1, tokens // 32), seed)
        rows.append([Example(tuple(prompt), tuple(completion)) for prompt, completion in batch])
    worst = _compare(model, jobs, rows)
    together: list[float] = []
    apart: list[float] = []
    for _ in range(rounds):
        for times, groups in ((together, [range(JOBS)]), (apart, [[job] for job in range(JOBS)])):
            start = time.perf_counter()
            for group in groups:
                _step(model, [jobs[i] for i in group], [rows[i] for i in group])
                for i in group:
                    optimizers[i].step()
                    jobs[i].flat_grad.zero_()
            times.append(time.perf_counter() - start)
    total = sum(row.length for job in rows for row in job)
    return {
        "tokens_a_job": tokens,
        "together_tokens_per_second": total / statistics.median(together),
        "apart_tokens_per_second": total / statistics.median(apart),
        "ratio": statistics.median(a / t for a, t in zip(apart, together, strict=True)),
        "worst_relative_gradient_difference": worst,
    }


def _step(model: Model, jobs: list[Lora], rows: list[list[Example]]) -> None:
    packed = pack(rows, [sum(len(row.completion) for row in own) for own in rows], CPU)
    model.losses(packed, [Trained(lora) for lora in jobs]).sum().backward()  # type: ignore[no-untyped-call]


def _compare(model: Model, jobs: list[Lora], rows: list[list[Example]]) -> float:
    """The largest relative difference between a job's gradient in the group and alone."""
    _step(model, jobs, rows)
    worst = 0.0
    for lora, own in zip(jobs, rows, strict=True):
        grouped = lora.flat_grad.clone()
        lora.flat_grad.zero_()
        _step(model, [lora], [own])
        worst = max(worst, float((grouped - lora.flat_grad).norm() / lora.flat_grad.norm()))
        lora.flat_grad.zero_()
    return worst


def _optimizer(lora: Lora) -> torch.optim.Optimizer:
    parameter = torch.nn.Parameter(lora.flat)
    parameter.grad = lora.flat_grad
    return torch.optim.AdamW([parameter], lr=2e-4, fused=True)
