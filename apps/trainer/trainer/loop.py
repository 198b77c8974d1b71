"""The training loop: one pass of the base a step over the rows of every job, then each job moves its own adapter.

A job alone is a group of one. Nothing of a job depends on its neighbours: its rows, gradient, clipping, optimizer,
schedule, validation, early stop, checkpoints and failures are its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

import torch

from trainer.base import Base
from trainer.errors import as_trainer_error
from trainer.events import Cancelled, Failed, StoppedBy, Warning
from trainer.interrupt import Stopped
from trainer.job import Job
from trainer.objectives import Measured
from trainer.packing import Example
from trainer.save import publish, save_adapter, take_published
from trainer.step import evaluate, gradient_step
from trainer.team import PeerLost, Team

PAUSED_POLL = 0.05  # seconds between two looks at the commands while every job is paused
Outcome = Literal["finished", "cancelled", "failed"]
T = TypeVar("T")
log = logging.getLogger("trainer")


class Group:
    """Jobs that share the base. `check` raises `Stopped` when the process was told to stop."""

    def __init__(self, model: Base, device: torch.device, check: Callable[[], None], team: Team | None = None) -> None:
        self._model, self._device, self._check = model, device, check
        self._team = team or Team()
        self.jobs: list[Job] = []
        self.outcomes: dict[str, Outcome] = {}

    def join(self, job: Job) -> None:
        self.jobs.append(job)

    def cancel(self, job_id: str) -> None:
        for job in [job for job in self.jobs if job.spec.job_id == job_id]:
            job.emit(Cancelled(job.step, job.tokens, job.position.seconds))
            self._leave(job, "cancelled")

    def finish(self, job_id: str, step: int) -> None:
        """Ends the job in good order, with the adapter of its checkpoint of that step."""
        for job in [job for job in self.jobs if job.spec.job_id == job_id]:
            if self._guarded(job, partial(self._save_as_of, job, step)):
                self._leave(job, "finished")

    def pause(self, job_id: str) -> None:
        """The job keeps its memory and its place; what it would lose to a kill is nothing."""
        for job in [job for job in self.jobs if job.spec.job_id == job_id and not job.paused]:
            if self._guarded(job, partial(self._checkpoint, job)):
                job.pause()

    def resume(self, job_id: str) -> None:
        for job in [job for job in self.jobs if job.spec.job_id == job_id and job.paused]:
            job.resume()

    def run(self, before_round: Callable[[Group], None] = lambda _: None) -> None:
        """Trains until no job is left. `before_round` may let jobs join and leave."""
        try:
            before_round(self)
            while self.jobs:
                if all(job.paused for job in self.jobs):
                    self._team.together(self._check)
                    time.sleep(PAUSED_POLL)
                else:
                    self._round()
                before_round(self)
        except Stopped:
            for job in list(self.jobs):
                self.cancel(job.spec.job_id)
        except PeerLost as error:
            self.fail_all(error)

    def fail_all(self, error: Exception) -> None:
        for job in list(self.jobs):
            self._fail(job, error)

    def _round(self) -> None:
        for job in self._running():
            self._end(job)  # a resumed job may have nothing left to do
        steps = {job: job.next_rows() for job in self._running()}
        for job, measured in self._losses(steps).items():
            self._after_step(job, measured, steps[job])

    def _running(self) -> list[Job]:
        return [job for job in self.jobs if not job.paused]

    def _losses(self, steps: dict[Job, list[Example]]) -> dict[Job, Measured]:
        """Leaves each job's gradient in its adapter. Out of memory together, the jobs go one by one."""
        try:
            found = self._team.together(partial(self._gradients, steps))
        except (Stopped, BrokenPipeError, PeerLost):
            raise
        except Exception as error:
            if len(steps) == 1:
                self._fail(next(iter(steps)), error)
                return {}
            log.warning("a shared step failed, so each job takes it alone: %s", error)
            found = self._one_by_one(steps)
        for job in found:
            self._team.add(job.lora.flat_grad)
        return {job: measured.summed(self._team) for job, measured in found.items()}

    def _one_by_one(self, steps: dict[Job, list[Example]]) -> dict[Job, Measured]:
        found: dict[Job, Measured] = {}
        for job in steps:
            job.lora.flat_grad.zero_()
        for job, rows in steps.items():
            found |= self._guarded(job, partial(self._gradients, {job: rows})) or {}
        return found

    def _gradients(self, steps: dict[Job, list[Example]]) -> dict[Job, Measured]:
        return gradient_step(self._model, steps, self._device, self._check, self._team)

    def _after_step(self, job: Job, measured: Measured, rows: list[Example]) -> None:
        if not self._guarded(job, partial(self._update, job, measured, rows)):
            return
        if job.wants_validation(ending=job.stopped_by() is not None):
            found = self._guarded(job, partial(evaluate, self._model, job, self._device, self._check, self._team))
            if found is None or not self._guarded(job, partial(job.validated, found.summed(self._team))):
                return
        if job.stopped_by() is not None:
            self._end(job)
        elif job.checkpoint_due:
            self._guarded(job, partial(self._checkpoint, job))

    def _update(self, job: Job, measured: Measured, rows: list[Example]) -> bool:
        job.update(measured, rows)
        self._check()
        return True

    def _checkpoint(self, job: Job) -> bool:
        if self._team.leads:
            job.save_state()
            job.emit(publish(job))
        return True

    def _end(self, job: Job) -> None:
        stopped_by = job.stopped_by()
        if stopped_by is not None and self._guarded(job, partial(self._save, job, stopped_by)):
            self._leave(job, "finished")

    def _save(self, job: Job, stopped_by: StoppedBy) -> bool:
        job.settle()
        if self._team.leads:
            job.emit(save_adapter(job, stopped_by))
        return True

    def _save_as_of(self, job: Job, step: int) -> bool:
        if not self._team.leads:
            return True
        if not take_published(job, step):
            text = f"The checkpoint of step {step} is no longer kept, so the adapter is that of step {job.step}."
            job.emit(Warning("checkpoint_missing", text))
            step = job.step
        job.emit(save_adapter(job, "task_metric", step))
        return True

    def _guarded(self, job: Job, act: Callable[[], T]) -> T | None:
        """A failure ends the job that it belongs to and no other. None: it failed."""
        try:
            return self._team.together(act)
        except (Stopped, BrokenPipeError, PeerLost):
            raise
        except Exception as error:
            self._fail(job, error)
            return None

    def _fail(self, job: Job, error: Exception) -> None:
        log.error("job %s failed", job.spec.job_id, exc_info=error)
        failure = as_trainer_error(error)
        job.emit(Failed(failure.code, failure.message))
        self._leave(job, "failed")

    def _leave(self, job: Job, outcome: Outcome) -> None:
        self.jobs = [other for other in self.jobs if other is not job]
        self.outcomes[job.spec.job_id] = outcome
