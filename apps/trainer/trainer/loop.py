"""The training loop: packs the rows of a step, runs the base once over them, and lets each job move its own adapter."""

from __future__ import annotations

from collections.abc import Callable

import torch

from trainer.batches import micro_batches
from trainer.events import Emit
from trainer.job import Job
from trainer.lora import masks
from trainer.model import Model, Trained
from trainer.packing import Example, pack
from trainer.save import save_adapter

MICRO_TOKENS = 2048  # tokens that go through the base at one time; a longer row goes alone
EVALUATION_ROWS = 16


def train(model: Model, job: Job, emit: Emit, device: torch.device, check: Callable[[], None]) -> None:
    """Runs the job to its end and writes its adapter. `check` raises when the process was told to stop."""
    ended = job.stopped_by()
    while ended is None:
        rows = job.next_rows()
        loss = gradient_step(model, job, rows, device, check)
        job.update(loss, rows)
        check()
        ended = job.stopped_by()
        if job.wants_validation(ending=ended is not None):
            job.validated(evaluate(model, job, device, check))
            ended = ended or job.stopped_by()
        if ended is None:
            job.checkpoint_if_due()
    job.settle()
    emit(save_adapter(job, ended))


def gradient_step(
    model: Model, job: Job, rows: list[Example], device: torch.device, check: Callable[[], None]
) -> float:
    """Leaves the step's gradient in the adapter and returns the mean loss over the step's completion tokens."""
    loss_tokens = sum(len(row.completion) for row in rows)
    total = 0.0
    for index, part in enumerate(micro_batches(rows, MICRO_TOKENS)):
        check()
        packed = pack([part], [loss_tokens], device)
        drawn = masks(job.lora, job.spec.training.seed, job.step, index, len(packed.ids) * model.widest)
        loss = model.losses(packed, [Trained(job.lora, drawn)], check).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def evaluate(model: Model, job: Job, device: torch.device, check: Callable[[], None]) -> float:
    """Mean loss over the completion tokens of the validation rows, without dropout."""
    rows = job.validation_rows
    tokens = sum(len(row.completion) for row in rows)
    total = 0.0
    with torch.no_grad():
        for at in range(0, len(rows), EVALUATION_ROWS):
            for part in micro_batches(rows[at : at + EVALUATION_ROWS], MICRO_TOKENS):
                check()
                packed = pack([part], [tokens], device)
                total += model.losses(packed, [Trained(job.lora)], check).sum().item()
    return total
