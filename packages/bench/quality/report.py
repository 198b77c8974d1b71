"""The table, with the interval that says whether ours and SFTTrainer's differ by more than chance."""

from __future__ import annotations

from statistics import fmean

import numpy as np

from cells import Cells
from tasks import BATCH, Task

DRAWS = 10_000


def difference(ours: list[list[float]], theirs: list[list[float]]) -> tuple[float, float, float]:
    """Ours less theirs and its 95 % interval: test rows and seeds (one list of scores each) are drawn with
    replacement, the rows the same for both sides."""
    a, b = np.array(ours), np.array(theirs)  # [seeds, rows]
    random = np.random.default_rng(0)
    drawn = np.empty(DRAWS)
    for i in range(DRAWS):
        rows = random.integers(0, a.shape[1], a.shape[1])
        drawn[i] = a[random.integers(0, len(a), len(a))][:, rows].mean()
        drawn[i] -= b[random.integers(0, len(b), len(b))][:, rows].mean()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(a.mean() - b.mean()), float(low), float(high)


def table(cells: Cells, tasks: list[Task], seeds: tuple[int, ...]) -> str:
    lines = [
        "| task | metric | rows trained on, tested | base | ours (seeds) | SFTTrainer (seeds) | ours − SFTTrainer (95 %) | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        found = {name: [cells.scores(task.name, f"{name}-{seed}") for seed in seeds] for name in ("own", "sft")}
        base, own, sft = cells.scores(task.name, "base"), _all(found["own"]), _all(found["sft"])
        if base is None or own is None or sft is None:
            continue
        apart, low, high = difference(own, sft)
        verdict = "below" if high < 0 else "above" if low > 0 else "no difference seen"
        lines.append(
            f"| {task.name} | {task.metric} | {task.steps * BATCH}, {len(base)} | {fmean(base):.3f} | {_seeds(own)} | {_seeds(sft)} "
            f"| {apart:+.3f} ({low:+.3f} to {high:+.3f}) | {verdict} |"
        )
    return "\n".join(lines)


def _all(found: list[list[float] | None]) -> list[list[float]] | None:
    whole = [scores for scores in found if scores is not None]
    return whole if len(whole) == len(found) else None


def _seeds(scores: list[list[float]]) -> str:
    return f"{fmean(map(fmean, scores)):.3f} ({', '.join(f'{fmean(own):.3f}' for own in scores)})"
