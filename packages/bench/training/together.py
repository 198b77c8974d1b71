"""Eight jobs in one step against the same eight one after another, on the same rows, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figures import Figure, of_rounds
from own import CPU, examples, jobs, step
from rows import fixed
from trainer.job import Job
from trainer.packing import Example
from trainer.session import Precision
from trainer.step import gradient_step

JOBS = 8


def measure(
    row: str,
    wanted: str,
    base: Path,
    work: Path,
    make_rows: Callable[[int, int], list[Example]],
    tokens: int,
    precision: Precision,
    rounds: int,
) -> Figure:
    """`make_rows`: of a job's tokens and number."""
    model, group = jobs(base, work, JOBS, precision)
    rows = {job: make_rows(tokens, i) for i, job in enumerate(group)}
    step(model, rows)
    together: list[float] = []
    apart: list[float] = []
    for _ in range(rounds):
        for times, parts in ((together, [group]), (apart, [[job] for job in group])):
            began = time.perf_counter()
            for part in parts:
                step(model, {job: rows[job] for job in part})
            times.append(time.perf_counter() - began)
    total = sum(row.length for own in rows.values() for row in own)
    how = "" if precision == "auto" else ", fp32 products"
    return of_rounds(
        row,
        f"8 jobs in one step against one after another, {tokens} tokens a job{how}",
        wanted,
        [a / t for a, t in zip(apart, together, strict=True)],
        together_tokens_per_second=round(total / statistics.median(together), 1),
        apart_tokens_per_second=round(total / statistics.median(apart), 1),
    )


def same_gradient(base: Path, work: Path, make_rows: Callable[[int, int], list[Example]]) -> Figure:
    """From the same state, fp32: a job's gradient in the group against its gradient alone."""
    model, group = jobs(base, work, JOBS, "fp32")
    rows = {job: make_rows(64, i) for i, job in enumerate(group)}
    step(model, rows)  # away from B = 0, where half of the gradient is zero
    grouped = _gradients(model, rows)
    worst = 0.0
    for job, mine in rows.items():
        alone = _gradients(model, {job: mine})[job]
        worst = max(worst, float((grouped[job] - alone).norm() / alone.norm()))
    title = "a job's gradient in a group of 8 against alone, fp32, relative difference of the worst job"
    return Figure("gradient", title, "<= 10 ppm", float(f"{1e6 * worst:.2g}"), unit="ppm")


def _gradients(model: Any, rows: dict[Job, list[Example]]) -> dict[Job, Any]:
    gradient_step(model, rows, CPU, lambda: None)
    found = {job: job.lora.flat_grad.clone() for job in rows}
    for job in rows:
        job.lora.flat_grad.zero_()
    return found


def rows_of(root: Path, encode: Callable[[str], list[int]], eos: int) -> Callable[[int, int], list[Example]]:
    return lambda tokens, job: examples(fixed(encode, eos, root, tokens, max(1, tokens // 32), job))
