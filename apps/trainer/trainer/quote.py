"""What a job will take, before it runs: its tokens exactly, its time and memory from steps taken and thrown away."""

from __future__ import annotations

import json
import math
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from trainer.base import Base
from trainer.batches import epoch_order, micro_batches
from trainer.job import Job
from trainer.memory import adapter_bytes
from trainer.packing import Example, packed_tokens
from trainer.save import publish
from trainer.step import MICRO_TOKENS, evaluate, gradient_step

# Which steps are tried, as places in their order by size: symmetric, so that small and large ones weigh alike.
TRIED = ((0.5, 0.1, 0.9), (0.3, 0.7), (0.2, 0.8), (0.4, 0.6), (0.05, 0.95), (0.25, 0.75), (0.15, 0.85), (0.35, 0.65))
TRIED_SECONDS = 8.0  # after which no more are begun: a shared machine's speed of one second says little of the next


@dataclass(frozen=True, slots=True)
class Quote:
    total_steps: int
    tokens: int  # billable tokens of the whole run: exact, unless a time budget or early stopping ends it sooner
    tokens_per_epoch: int
    train_rows: int
    rows_cut: int
    rows_dropped: int
    max_length: int
    seconds: float
    memory_bytes: int
    memory_available_bytes: int


def quote_line(quote: Quote) -> str:
    return json.dumps({"quote": {**asdict(quote), "seconds": round(quote.seconds, 3)}})


def make_quote(model: Base, job: Job, device: torch.device, free: int, check: Callable[[], None]) -> Quote:
    """free: bytes that were, before the base was loaded."""
    steps = planned_steps(job)
    return Quote(
        total_steps=len(steps),
        tokens=sum(row.length for rows in steps for row in rows),
        tokens_per_epoch=job.train.tokens,
        train_rows=len(job.train.examples),
        rows_cut=job.train.cut,
        rows_dropped=job.train.dropped,
        max_length=job.train.max_length,
        seconds=_seconds(model, job, steps, device, check),
        memory_bytes=_peak_memory(device) + math.ceil(adapter_bytes(job.spec, job.lora.flat.numel(), held=True)),
        memory_available_bytes=free,
    )


def planned_steps(job: Job) -> list[list[Example]]:
    """The rows of every step of the run, in their order."""
    training, examples = job.spec.training, job.train.examples
    lengths = [example.length for example in examples]
    steps: list[list[Example]] = []
    epoch = 0
    while len(steps) < job.total_steps:
        order = epoch_order(lengths, training.batch_size, training.seed, epoch)
        steps += [[examples[row] for row in batch] for batch in order]
        epoch += 1
    return steps[: job.total_steps]


def _seconds(
    model: Base, job: Job, steps: list[list[Example]], device: torch.device, check: Callable[[], None]
) -> float:
    """Seconds for a token that passes through the base, from steps of small to large size, times all such tokens; and
    what the first step of a process takes beyond that."""
    job.emit = lambda _: None
    by_size = sorted(steps, key=_passed)

    def taken(rows: list[Example]) -> float:
        start = time.monotonic()
        job.update(gradient_step(model, {job: rows}, device, check)[job], rows)
        return time.monotonic() - start

    first = taken(by_size[-1])
    tried: list[list[Example]] = []
    spent = 0.0
    for places in TRIED:
        if spent >= TRIED_SECONDS or len(tried) >= len(steps):
            break
        rows = [by_size[int(place * len(by_size))] for place in places]
        spent += sum(map(taken, rows))
        tried += rows
    new = spent / sum(map(_passed, tried))
    # a pair's reference is taken once, in the first epoch
    known = sum(map(taken, tried)) / sum(map(_passed, tried)) if job.spec.training.method == "dpo" else new
    epoch = math.ceil(len(job.train.examples) / job.spec.training.batch_size)
    seconds = new * sum(map(_passed, steps[:epoch])) + known * sum(map(_passed, steps[epoch:]))
    seconds += max(0.0, first - new * _passed(by_size[-1]))
    if job.validation_rows:
        start = time.monotonic()
        evaluate(model, job, device, check)
        seconds += (time.monotonic() - start) * job.evaluations
    seconds += _checkpoint_seconds(job)
    budget = job.spec.training.max_seconds
    return seconds if budget is None else min(seconds, budget)


def _checkpoint_seconds(job: Job) -> float:
    """Two are written to a folder that goes away again: the first of a process also hashes the base."""
    if job.checkpoints == 0:
        return 0.0
    parent = job.spec.checkpoint_dir.parent
    taken = []
    with tempfile.TemporaryDirectory(dir=parent if parent.is_dir() else None) as folder:
        job.spec = replace(job.spec, checkpoint_dir=Path(folder))
        for _ in range(2):
            start = time.monotonic()
            job.save_state()
            publish(job)
            taken.append(time.monotonic() - start)
    return taken[0] + taken[1] * (job.checkpoints - 1)


def _passed(rows: list[Example]) -> int:
    return sum(packed_tokens(part) for part in micro_batches(rows, MICRO_TOKENS))


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
