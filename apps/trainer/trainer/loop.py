"""The training loop: one pass of the base a step over the rows of every job, then each job moves its own adapter.

A job alone is a group of one. Nothing of a job depends on its neighbours: its rows, gradient, clipping, optimizer,
schedule, validation, early stop, checkpoints and failures are its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch

from trainer.batches import micro_batches
from trainer.errors import as_trainer_error
from trainer.events import Cancelled, Failed
from trainer.interrupt import Stopped
from trainer.job import Job
from trainer.lora import masks, noise
from trainer.model import Model, Trained
from trainer.packing import Example, pack, packed_tokens
from trainer.save import save_adapter

MICRO_TOKENS = 1024  # tokens that go through the base at one time; a longer row goes alone
EVALUATION_ROWS = 16

Outcome = Literal["finished", "cancelled", "failed"]
log = logging.getLogger("trainer")


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one job's step that go through the base together."""

    job: Job
    index: int
    rows: list[Example]
    loss_tokens: int  # of the job's whole step


class Group:
    """Jobs that share the base. `check` raises `Stopped` when the process was told to stop."""

    def __init__(self, model: Model, device: torch.device, check: Callable[[], None]) -> None:
        self._model, self._device, self._check = model, device, check
        self.jobs: list[Job] = []
        self.outcomes: dict[str, Outcome] = {}

    def join(self, job: Job) -> None:
        self.jobs.append(job)

    def cancel(self, job_id: str) -> None:
        for job in [job for job in self.jobs if job.spec.job_id == job_id]:
            job.emit(Cancelled(job.step, job.tokens, job.position.seconds))
            self._leave(job, "cancelled")

    def run(self, before_round: Callable[[Group], None] = lambda _: None) -> None:
        """Trains until no job is left. `before_round` may let jobs join and leave."""
        try:
            before_round(self)
            while self.jobs:
                self._round()
                before_round(self)
        except Stopped:
            for job in list(self.jobs):
                self.cancel(job.spec.job_id)

    def _round(self) -> None:
        for job in list(self.jobs):
            self._guarded(job, partial(self._end, job))  # a resumed job may have nothing left to do
        steps = {job: job.next_rows() for job in self.jobs}
        for job, loss in self._losses(steps).items():
            self._guarded(job, partial(self._after_step, job, loss, steps[job]))

    def _losses(self, steps: dict[Job, list[Example]]) -> dict[Job, float]:
        """Leaves each job's gradient in its adapter. Out of memory together, the jobs go one by one."""
        try:
            return gradient_step(self._model, steps, self._device, self._check)
        except (Stopped, BrokenPipeError):
            raise
        except Exception as error:
            if len(steps) == 1:
                self._fail(next(iter(steps)), error)
                return {}
            log.warning("a shared step failed, so each job takes it alone: %s", error)
        losses: dict[Job, float] = {}
        for job in steps:
            job.lora.flat_grad.zero_()
        for job, rows in steps.items():
            self._guarded(job, partial(self._step_alone, job, rows, losses))
        return losses

    def _step_alone(self, job: Job, rows: list[Example], losses: dict[Job, float]) -> None:
        losses.update(gradient_step(self._model, {job: rows}, self._device, self._check))

    def _after_step(self, job: Job, loss: float, rows: list[Example]) -> None:
        job.update(loss, rows)
        self._check()
        ended = job.stopped_by() is not None
        if job.wants_validation(ending=ended):
            job.validated(evaluate(self._model, job, self._device, self._check))
            ended = job.stopped_by() is not None
        if ended:
            self._end(job)
        else:
            job.checkpoint_if_due()

    def _end(self, job: Job) -> None:
        stopped_by = job.stopped_by()
        if stopped_by is not None:
            job.settle()
            job.emit(save_adapter(job, stopped_by))
            self._leave(job, "finished")

    def _guarded(self, job: Job, act: Callable[[], None]) -> None:
        """A failure ends the job that it belongs to and no other."""
        try:
            act()
        except (Stopped, BrokenPipeError):
            raise
        except Exception as error:
            self._fail(job, error)

    def _fail(self, job: Job, error: Exception) -> None:
        log.error("job %s failed", job.spec.job_id, exc_info=error)
        failure = as_trainer_error(error)
        job.emit(Failed(failure.code, failure.message))
        self._leave(job, "failed")

    def _leave(self, job: Job, outcome: Outcome) -> None:
        self.jobs = [other for other in self.jobs if other is not job]
        self.outcomes[job.spec.job_id] = outcome


def gradient_step(
    model: Model, steps: dict[Job, list[Example]], device: torch.device, check: Callable[[], None]
) -> dict[Job, float]:
    """Adds each job's gradient to its adapter's and returns each job's mean loss over its completion tokens."""
    parts = []
    for job, rows in steps.items():
        tokens = sum(len(row.completion) for row in rows)
        parts += [Part(job, i, part, tokens) for i, part in enumerate(micro_batches(rows, MICRO_TOKENS))]
    losses = dict.fromkeys(steps, 0.0)
    for together in combine(parts, MICRO_TOKENS):
        check()
        packed = pack([part.rows for part in together], [part.loss_tokens for part in together], device)
        trained = []
        for part, group in zip(together, packed.groups, strict=True):
            lora, training, step = part.job.lora, part.job.spec.training, part.job.step
            largest = (group.end - group.begin) * model.widest
            dropped = masks(lora, training.seed, step, part.index, largest)
            trained.append(Trained(lora, dropped, noise(training.neftune_alpha, training.seed, step, part.index)))
        shares = model.losses(packed, trained, check)
        shares.sum().backward()  # type: ignore[no-untyped-call]
        for part, group in zip(together, packed.groups, strict=True):
            losses[part.job] += shares.detach()[group.loss_rows].sum().item()
    return losses


def combine(parts: Sequence[Part], token_limit: int) -> list[list[Part]]:
    """Fills passes of the base up to the limit, each job at most once in a pass."""
    passes: list[list[Part]] = []
    room: list[int] = []
    for part in sorted(parts, key=lambda part: part.index):
        size = packed_tokens(part.rows)
        for i, other in enumerate(passes):
            if room[i] >= size and all(part.job is not there.job for there in other):
                other.append(part)
                room[i] -= size
                break
        else:
            passes.append([part])
            room.append(token_limit - size)
    return passes


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
