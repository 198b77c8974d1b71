"""The tables, with the interval that says whether ours and SFTTrainer's differ by more than chance."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from cells import Cells
from curves import draw
from tasks import BATCH, TASKS, Task

DRAWS = 10_000
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
ALONE, GROUPED = "own-1", "own-1-grouped"


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


def table(cells: Cells, tasks: list[Task], seeds: tuple[int, ...], forced: bool = False) -> str:
    """Of what was generated, or (`forced`) of the choice among a task's labels."""
    lines = [
        "| task | metric | rows trained on, tested | base | ours (seeds) | SFTTrainer (seeds) "
        "| ours less SFTTrainer (95 %) | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    of = cells.forced if forced else cells.scores
    for task in tasks:
        found = {name: [of(task.name, f"{name}-{seed}") for seed in seeds] for name in ("own", "sft")}
        base, own, sft = of(task.name, "base"), _all(found["own"]), _all(found["sft"])
        if base is None or own is None or sft is None:
            continue
        apart, low, high = difference(own, sft)
        verdict = "below" if high < 0 else "above" if low > 0 else "no difference seen"
        lines.append(
            f"| {task.name} | {task.metric} | {task.steps * BATCH}, {len(base)} | {fmean(base):.3f} | {_seeds(own)} "
            f"| {_seeds(sft)} | {apart:+.3f} ({low:+.3f} to {high:+.3f}) | {verdict} |"
        )
    return "\n".join(lines)


def _all(found: list[list[float] | None]) -> list[list[float]] | None:
    whole = [scores for scores in found if scores is not None]
    return whole if len(whole) == len(found) else None


def _seeds(scores: list[list[float]]) -> str:
    return f"{fmean(map(fmean, scores)):.3f} ({', '.join(f'{fmean(own):.3f}' for own in scores)})"


def group_table(cells: Cells) -> str:
    """Of the file alone: what `group.run` left there."""
    found = cells.group() or {}
    lines = [
        "| task | first step's gradient: group, 2 threads | trained adapter's gradient: group, 2 threads "
        "| final weights: group, 2 threads | test score alone, group | rows that score the same |",
        "|---|---|---|---|---|---|",
    ]
    for task in TASKS:
        alone, grouped = cells.scores(task.name, ALONE) or [], cells.scores(task.name, GROUPED) or []
        same = sum(a == b for a, b in zip(alone, grouped, strict=True))
        pairs = [found[key][task.name] for key in ("first_gradient", "trained_gradient", "weights")]
        shown = " | ".join(f"{group:.1e}, {two:.1e}" for group, two in pairs)
        scores = f"{fmean(alone):.3f}, {fmean(grouped):.3f}"
        lines.append(f"| {task.name} | {shown} | {scores} | {same} of {len(alone)} |")
    return "\n".join([*lines, "", _speed(cells)])


def _speed(cells: Cells) -> str:
    alone, grouped = _trainings(cells, ALONE), _trainings(cells, GROUPED)
    tokens = sum(run["tokens"] for run in alone)
    apart, together = sum(run["cpu_seconds"] for run in alone), grouped[0]["cpu_seconds"]
    return (
        f"{tokens:,} tokens: {tokens / apart:.0f} a CPU second one after another (eight starts), "
        f"{tokens / together:.0f} in the group (one start), {apart / together:.2f} times as many."
    )


def _trainings(cells: Cells, subject: str) -> list[dict[str, Any]]:
    return [cells.training(task.name, subject) or {} for task in TASKS]


def write_readme(folder: Path, cells: Cells, seeds: tuple[int, ...]) -> None:
    """The tables between the README's two markers, and the loss curves beside it."""
    about = cells.about()
    machine = about["machine"]
    told = f"{machine['processor']} ({', '.join(machine['flags'])}), torch {machine['torch']}, {about['taken_at']}."
    choice = "By forced choice among the labels, where a task has a closed list of them:"
    parts = [told, "", table(cells, list(TASKS), seeds), "", choice, "", table(cells, list(TASKS), seeds, forced=True)]
    if cells.group() is not None:
        losses = zip(TASKS, _trainings(cells, ALONE), _trainings(cells, GROUPED), strict=True)
        curves = {task.name: (alone["losses"], grouped["losses"]) for task, alone, grouped in losses}
        (folder / "curves.svg").write_text(draw(curves), encoding="utf-8")
        title = "The eight tasks in one group against each alone (fp32 gradients; whole runs as the trainer runs here):"
        parts += ["", title, "", group_table(cells), "", "![loss curves, alone and in the group](curves.svg)"]
    readme = folder / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join(parts)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
