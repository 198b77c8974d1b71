"""One step's passes of the base: the rows of all jobs together, each job's gradient and loss its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.base import Base
from trainer.batches import micro_batches
from trainer.job import Job
from trainer.lora import masks, noise
from trainer.model import Trained
from trainer.objectives import Measured, Totals, objective, start
from trainer.packing import Example, Group, pack, packed_tokens
from trainer.team import Team

MICRO_TOKENS = 1024  # tokens that go through the base at one time; a longer row goes alone
EVALUATION_ROWS = 16


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one job's step that go through the base together."""

    job: Job
    index: int
    rows: list[Example]
    totals: Totals


def gradient_step(
    model: Base,
    steps: dict[Job, list[Example]],
    device: torch.device,
    check: Callable[[], None],
    team: Team | None = None,
) -> dict[Job, Measured]:
    """Adds each job's gradient to its adapter's, and returns each job's mean loss. In a team, of this process's rows:
    the sum over all is that of the step."""
    team = team or Team()
    parts = []
    for job, rows in steps.items():
        totals, own = Totals.of(rows), team.share(rows)
        numbered = enumerate(micro_batches(own, MICRO_TOKENS))  # each with a number of its own, as its dropout has it
        parts += [Part(job, team.rank + team.size * i, part, totals) for i, part in numbered]
    found = {job: start(job.spec.training) for job in steps}
    for together in combine(parts, MICRO_TOKENS):
        check()
        for part, measured in zip(together, _pass(model, together, device, check), strict=True):
            found[part.job] += measured
    return found


def _pass(model: Base, together: list[Part], device: torch.device, check: Callable[[], None]) -> list[Measured]:
    """One forward and backward of the base. Whatever it holds ends with this function: were it alive in the next pass,
    the peak of memory would be higher by a fifth."""
    references = [_reference(model, part.job, part.rows, device, check) for part in together]
    divisors = [part.totals.divisor(part.job.spec.training) for part in together]
    packed = pack([part.rows for part in together], divisors, device)
    trained = [_trained(part, group, model.widest) for part, group in zip(together, packed.groups, strict=True)]
    losses = model.losses(packed, trained, check)
    sums, found = [], []
    for part, group, reference in zip(together, packed.groups, references, strict=True):
        training = part.job.spec.training
        loss, measured = objective(training, losses[group.loss_rows], group.sequences, part.totals, reference)
        sums.append(loss)
        found.append(measured)
    torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    return found


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


def evaluate(
    model: Base, job: Job, device: torch.device, check: Callable[[], None], team: Team | None = None
) -> Measured:
    """Mean loss of the validation rows, without dropout. In a team, this process's share of it."""
    rows, training = (team or Team()).share(job.validation_rows), job.spec.training
    totals = Totals.of(job.validation_rows)
    found = start(training)
    with torch.no_grad():
        for at in range(0, len(rows), EVALUATION_ROWS):
            for part in micro_batches(rows[at : at + EVALUATION_ROWS], MICRO_TOKENS):
                check()
                reference = _reference(model, job, part, device, check)
                packed = pack([part], [totals.divisor(training)], device)
                losses = model.losses(packed, [Trained(job.lora)], check)
                found += objective(training, losses, packed.groups[0].sequences, totals, reference)[1]
    return found


def _trained(part: Part, group: Group, widest: int) -> Trained:
    lora, training, step = part.job.lora, part.job.spec.training, part.job.step
    largest = (group.end - group.begin) * widest
    dropped = masks(lora, training.seed, step, part.index, largest)
    return Trained(lora, dropped, noise(training.neftune_alpha, training.seed, step, part.index))


def _reference(
    model: Base, job: Job, rows: Sequence[Example], device: torch.device, check: Callable[[], None]
) -> Tensor | None:
    return job.reference.of(model, rows, device, check) if job.spec.training.method == "dpo" else None
