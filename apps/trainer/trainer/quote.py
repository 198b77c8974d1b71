"""What a job will take, before it runs: its tokens exactly, its time and memory from steps taken and thrown away."""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from trainer.base import Base
from trainer.batches import epoch_order, micro_batches
from trainer.job import Job
from trainer.memory import adapter_bytes
from trainer.packing import Example, packed_tokens
from trainer.step import MICRO_TOKENS, evaluate, gradient_step


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
    """Seconds for a token that passes through the base, from a few steps of different size, times all such tokens."""
    job.emit = lambda _: None

    def each(tried: list[list[Example]]) -> float:
        start = time.monotonic()
        for rows in tried:
            job.update(gradient_step(model, {job: rows}, device, check)[job], rows)
        return (time.monotonic() - start) / sum(map(_passed, tried))

    by_size = sorted(steps, key=_passed)
    tried = [by_size[-1], by_size[len(by_size) // 2], by_size[len(by_size) // 4]]
    each(by_size[:1])  # the first step also sets things up
    new = each(tried)
    known = each(tried) if job.spec.training.method == "dpo" else new  # whose reference is taken once a row
    first = math.ceil(len(job.train.examples) / job.spec.training.batch_size)  # steps of the first epoch
    seconds = new * sum(map(_passed, steps[:first])) + known * sum(map(_passed, steps[first:]))
    if job.validation_rows:
        start = time.monotonic()
        evaluate(model, job, device, check)
        seconds += (time.monotonic() - start) * job.evaluations
    budget = job.spec.training.max_seconds
    return seconds if budget is None else min(seconds, budget)


def _passed(rows: list[Example]) -> int:
    return sum(packed_tokens(part) for part in micro_batches(rows, MICRO_TOKENS))


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
