"""How far a run is, and the learning rate there. With a time budget, the further of steps and seconds counts."""

from __future__ import annotations

import math

from trainer.spec import TrainingSpec


def total_steps(training: TrainingSpec, rows: int) -> int:
    steps = max(1, math.ceil(training.epochs * math.ceil(rows / training.batch_size) - 1e-9))
    return steps if training.max_steps is None else min(steps, training.max_steps)


def progress(training: TrainingSpec, step: int, total: int, seconds: float) -> float:
    by_steps = step / total
    if training.max_seconds is None:
        return min(1.0, by_steps)
    return min(1.0, max(by_steps, seconds / training.max_seconds))


def learning_rate(training: TrainingSpec, done: float, total: int) -> float:
    """`done` is the progress before the step. The first step has a small rate, as a zero one would be wasted."""
    warmup = training.warmup_ratio
    if done < warmup:
        return training.learning_rate * min(1.0, (done + 1 / total) / warmup)
    if training.scheduler == "constant":
        return training.learning_rate
    after = (done - warmup) / max(1e-9, 1 - warmup)
    if training.scheduler == "linear":
        return training.learning_rate * (1 - after)
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * after))


def every(asked: int, total: int) -> int:
    """The interval of validation or checkpoints: as asked, or about eight times a run."""
    return asked or max(1, math.ceil(total / 8))
