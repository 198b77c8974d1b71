"""The eight tasks as one group of our trainer, against each alone: gradients, weights, losses, test scores, speed.

`pnpm bench quality --group`, after the table: its runs of seed 1, on one thread, are the tasks alone.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from answers import ROOT
from cells import Cells, is_missing
from engine import server
from evaluation import evaluate
from lora_py.base_model import open_base
from lora_py.peft_files import Weights, read_adapter
from machine import describe
from tasks import TASKS, Task, labels, test_rows
from torch import Tensor
from trainer.job import Job
from trainer.lora import new_lora
from trainer.session import Session
from trainer.spec import parse_spec
from trainer.step import gradient_step
from training import run_trainer, spec, train_own

SEED = 1
ALONE, TWO_THREADS, GROUPED = "own-1", "own-1-two-threads", "own-1-grouped"
CPU = torch.device("cpu")


def gradients(base: Path, work: Path, trained: bool) -> dict[str, tuple[float, float]]:
    """One step from the same state (new adapters, or the trained ones): how far each task's gradient in the group,
    and alone on two threads, is from that alone on one thread, relatively."""
    session = Session(lambda _: lambda _event: None, lambda: None, "fp32")
    ready = [session.ready(parse_spec(_spec(base, work, task, "unused")), lambda _: None) for task in TASKS]
    model = ready[0][2]
    steps = {job: job.next_rows() for _, job, _, _ in ready}
    if trained:
        for task, job in zip(TASKS, steps, strict=True):
            _restore(job, read_adapter(work / task.name / ALONE).weights)

    def step(jobs: list[Job], threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        gradient_step(model, {job: steps[job] for job in jobs}, CPU, lambda: None)
        found = [job.lora.flat_grad.clone() for job in jobs]
        for job in jobs:
            job.lora.flat_grad.zero_()
        return found

    grouped = step(list(steps), 1)
    result = {}
    for task, job, together in zip(TASKS, steps, grouped, strict=True):
        (alone,), (two,) = step([job], 1), step([job], 2)
        size = alone.norm()
        result[task.name] = (float((together - alone).norm() / size), float((two - alone).norm() / size))
    return result


def weights(base: Path, work: Path, task: Task) -> tuple[float, float]:
    """After the whole run: distance of the grouped adapter, and of that alone on two threads, from that alone on one
    thread, as a share of the way that this one went from its start."""
    adapter = parse_spec(_spec(base, work, task, "unused")).adapter
    start = _flat(new_lora(adapter, open_base(base).config, SEED, CPU).weights())
    alone, grouped, two = (
        _flat(read_adapter(work / task.name / name).weights) for name in (ALONE, GROUPED, TWO_THREADS)
    )
    way = (alone - start).norm()
    return float((grouped - alone).norm() / way), float((two - alone).norm() / way)


def train(base: Path, work: Path, cells: Cells) -> None:
    jobs = [_spec(base, work, task, GROUPED) for task in TASKS]
    if any(is_missing(cells, work, task, GROUPED, (GROUPED,)) for task in TASKS):
        for task in TASKS:
            shutil.rmtree(work / task.name / GROUPED, ignore_errors=True)
        file = work / "group.spec.json"
        file.write_text(json.dumps({"version": 1, "jobs": jobs}))
        found = run_trainer(file, work / "group.events.jsonl", threads=1)
        for task, job in zip(TASKS, jobs, strict=True):
            cells.trained(task.name, GROUPED, found[str(job["job_id"])])
    for task in TASKS:
        if is_missing(cells, work, task, TWO_THREADS, (TWO_THREADS,)):
            output = work / task.name / TWO_THREADS
            shutil.rmtree(output, ignore_errors=True)
            cells.trained(
                task.name, TWO_THREADS, train_own(base, work / task.name / "train.jsonl", output, SEED, threads=2)
            )


def run(base: Path, work: Path, data: Path, cells: Cells) -> None:
    if any(cells.scores(task.name, ALONE) is None for task in TASKS):
        raise SystemExit("The tasks alone come first: run `pnpm bench quality` without --group to its end.")
    train(base, work, cells)
    with server(base, work, threads=1) as port:
        for task in TASKS:
            if not cells.is_scored(task, GROUPED):
                rows = test_rows(data, task)
                found = evaluate(base, port, work, task, rows, labels(data, task), [GROUPED])[GROUPED]
                cells.scored(task.name, GROUPED, found.free, found.forced)
    new, later = gradients(base, work, trained=False), gradients(base, work, trained=True)
    cells.grouped(
        {
            "commit": describe(ROOT, 1)["commit"],
            # of each task: the group's distance from the task alone, and that of two threads from one
            "first_gradient": new,
            "trained_gradient": later,
            "weights": {task.name: weights(base, work, task) for task in TASKS},
        }
    )


def _spec(base: Path, work: Path, task: Task, name: str) -> dict[str, object]:
    return spec(base, work / task.name / "train.jsonl", work / task.name / name, SEED)


def _restore(job: Job, values: Weights) -> None:
    with torch.no_grad():
        for name, (a, b) in job.lora.pairs.items():
            a.copy_(values[name][0])
            b.copy_(values[name][1])


def _flat(values: Weights) -> Tensor:
    return torch.cat([tensor.flatten() for name in sorted(values) for tensor in values[name]])
