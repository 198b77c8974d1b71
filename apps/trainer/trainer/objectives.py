"""What a step minimizes: the answers' cross-entropy, or for preference pairs DPO (arXiv 2305.18290) or ORPO
(arXiv 2403.07691). Each is a sum over rows divided by a total of the whole step, so a step may go in parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.base import Base
from trainer.lora import no_lora
from trainer.model import Trained
from trainer.packing import Example, pack
from trainer.spec import TrainingSpec
from trainer.team import Team

CERTAIN = -1e-6  # the mean log-probability is kept below: a certain answer has infinite odds


@dataclass(frozen=True, slots=True)
class Totals:
    """Of a job's whole step, of which one pass may hold a part."""

    loss_tokens: int
    chosen_tokens: int
    rows: int

    @staticmethod
    def of(rows: Sequence[Example]) -> Totals:
        chosen = sum(len(row.completion) for row in rows)
        return Totals(sum(row.loss_tokens for row in rows), chosen, len(rows))

    def divisor(self, training: TrainingSpec) -> int:
        """By what `pack` divides each token's loss: preferences need it whole."""
        return self.loss_tokens if training.method == "sft" else 1


@dataclass(frozen=True, slots=True)
class Measured:
    loss: float
    preferred: float | None = None  # share of pairs whose chosen answer has the higher reward

    def __add__(self, other: Measured) -> Measured:
        both = None if self.preferred is None or other.preferred is None else self.preferred + other.preferred
        return Measured(self.loss + other.loss, both)

    def summed(self, team: Team) -> Measured:
        """Over the processes that each measured their own rows."""
        if team.size == 1:
            return self
        values = torch.tensor([self.loss, self.preferred or 0.0], dtype=torch.float64)
        team.add(values)
        return Measured(float(values[0]), None if self.preferred is None else float(values[1]))


def start(training: TrainingSpec) -> Measured:
    return Measured(0.0, None if training.method == "sft" else 0.0)


def objective(
    training: TrainingSpec, losses: Tensor, sequences: Tensor, totals: Totals, reference: Tensor | None
) -> tuple[Tensor, Measured]:
    """losses: [loss tokens], each divided by `totals.divisor`; sequences: [loss tokens]; reference: [pairs, 2],
    log-probabilities under the base, of DPO only. The first result is what to differentiate."""
    if training.method == "sft":
        loss = losses.sum()
        return loss, Measured(float(loss.detach()))
    logps, lengths = answers(losses, sequences)
    if training.method == "dpo":
        assert reference is not None
        gains = logps - reference
        loss = -logsigmoid(training.beta * (gains[:, 0] - gains[:, 1])).sum() / totals.rows
    else:
        gains = (logps / lengths).clamp(max=CERTAIN)
        odds = gains - log1mexp(gains)
        ratio = logsigmoid(odds[:, 0] - odds[:, 1])
        loss = -logps[:, 0].sum() / totals.chosen_tokens - training.beta * ratio.sum() / totals.rows
    won = float((gains[:, 0] > gains[:, 1]).sum()) / totals.rows
    return loss, Measured(float(loss.detach()), won)


def answers(losses: Tensor, sequences: Tensor) -> tuple[Tensor, Tensor]:
    """Summed log-probability and number of tokens of each answer, both [pairs, 2]: chosen, rejected."""
    count = int(sequences[-1]) + 1
    sums = losses.new_zeros(count).index_add(0, sequences, -losses)
    return sums.view(-1, 2), torch.bincount(sequences, minlength=count).to(losses).view(-1, 2)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, by the form that keeps its digits."""
    near = x > -math.log(2)
    return torch.where(near, torch.log(-torch.expm1(x)), torch.log1p(-torch.exp(torch.where(near, -1.0, x))))


@dataclass(slots=True)
class Reference:
    """Log-probabilities of the pairs under the base alone, each taken once. A pair goes through the base by itself, so
    the numbers do not depend on the batch that it first came up in, and a resumed run finds the same."""

    _known: dict[Example, tuple[float, float]] = field(default_factory=dict)

    def of(self, model: Base, rows: Sequence[Example], device: torch.device, check: Callable[[], None]) -> Tensor:
        """[pairs, 2]"""
        base = Trained(no_lora(device))
        for row in rows:
            if row not in self._known:
                packed = pack([[row]], [1], device)
                with torch.no_grad():
                    logps, _ = answers(model.losses(packed, [base], check), packed.groups[0].sequences)
                chosen, rejected = logps[0].tolist()
                self._known[row] = (chosen, rejected)
        return torch.tensor([self._known[row] for row in rows], device=device)
