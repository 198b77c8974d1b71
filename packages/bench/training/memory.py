"""Eight jobs in one process against one job in one: resident memory at its most while they train."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures import Figure
from own import spec
from process import MIB, trainer

JOBS = 8
STEPS = 3
COPIES = 4  # adapter, gradient, and AdamW's two moments


@dataclass(frozen=True, slots=True)
class Held:
    started: int  # base, adapters and libraries, before the first step
    most: int
    parameters: int  # of one adapter


def measure(base: Path, work: Path, rows: list[dict[str, str]], batch_size: int) -> Figure:
    """Both take steps of `batch_size` rows a job, as many tokens at one time as the trainer lets through the base."""
    file = work / "rows.jsonl"
    work.mkdir(parents=True)
    file.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    jobs = [spec(base, file, work, f"job-{i}", seed=i, batch_size=batch_size, max_steps=STEPS) for i in range(JOBS)]
    one = _run(jobs[0], work / "one", 1)
    eight = _run({"version": 1, "jobs": jobs}, work / "eight", JOBS)
    each = one.parameters * 4 * COPIES
    allowed = one.most + (JOBS - 1) * each
    return Figure(
        "memory",
        f"memory of {JOBS} jobs against one job's and {JOBS - 1} times adapter, gradient and optimizer "
        f"({round(eight.most / MIB)} and {round(one.most / MIB)} MiB)",
        "<= 1.1",
        round(eight.most / allowed, 3),
        detail={
            "one_job_mib": _mib(one),
            "eight_jobs_mib": _mib(eight),
            "adapter_gradient_and_moments_mib": round(each / MIB, 1),
            "eight_processes_would_hold_mib": round(JOBS * one.most / MIB),
        },
    )


def _run(what: dict[str, Any], folder: Path, jobs: int) -> Held:
    started = finished = parameters = most = held = 0
    with trainer(what, folder) as process:
        for event in process.events():
            match event["event"]:
                case "started":
                    started += 1
                    parameters = event["trainable_parameters"]
                    if started == jobs:
                        held = process.held()
                        process.forget_most()
                case "step" | "finished":
                    most = max(most, process.most_held())
                    finished += event["event"] == "finished"
                    if finished == jobs:
                        break
    return Held(held, most, parameters)


def _mib(held: Held) -> dict[str, int]:
    return {"started": round(held.started / MIB), "most": round(held.most / MIB)}
