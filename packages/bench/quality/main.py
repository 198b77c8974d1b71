"""`pnpm bench quality [--quick | --group] [--json FILE]`: what our adapters and those of TRL's SFTTrainer are worth.

Eight tasks, one metric each; base, ours and SFTTrainer's on the same test rows, two seeds. Each finished cell is
written to the JSON file at once and not run again; --fresh begins anew.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path[1:1] = [str(Path(__file__).parents[1] / name) for name in ("training", "serving")]

import group
from cells import Cells, is_missing
from engine import server
from evaluation import evaluate
from lora_py.base_model import ensure_default
from machine import describe
from peers import peer_environment
from report import group_table, table, write_readme
from tasks import TASKS, Row, Task, labels, test_rows, train_rows
from training import order, train_own, train_sft, write_rows

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SEEDS = (1, 2)
SUBJECTS = ("base", *(f"{name}-{seed}" for seed in SEEDS for name in ("own", "sft")))


def train(base: Path, work: Path, task: Task, rows: list[Row], subject: str) -> dict[str, Any]:
    name, seed = subject.split("-")
    commit = describe(ROOT, 1)["commit"]
    file, output = work / task.name / "train.jsonl", work / task.name / subject
    if output.exists():
        shutil.rmtree(output)  # of a run that was ended before its cell was written
    if name == "own":
        return {**train_own(base, file, output, int(seed)), "commit": commit}
    return train_sft(base, [rows[i] for i in order(base, file, int(seed))], output, int(seed))


def run(
    base: Path, work: Path, data: Path, tasks: list[Task], cells: Cells, lanes_wanted: int, kept: tuple[str, ...]
) -> None:
    with ThreadPoolExecutor(lanes_wanted) as lanes, server(base, work, threads=1) as port:
        started: dict[tuple[str, str], Future[dict[str, Any]]] = {}
        for task in tasks:
            rows = train_rows(data, task)
            write_rows(work / task.name / "train.jsonl", rows)
            for subject in SUBJECTS[1:]:
                if is_missing(cells, work, task, subject, kept):
                    started[task.name, subject] = lanes.submit(train, base, work, task, rows, subject)
        try:
            for task in tasks:
                for subject in SUBJECTS[1:]:
                    if (task.name, subject) in started:
                        cells.trained(task.name, subject, started[task.name, subject].result())
                missing = [subject for subject in SUBJECTS if not cells.is_scored(task, subject)]
                if missing:
                    rows = test_rows(data, task)
                    found = evaluate(base, port, work, task, rows, labels(data, task), missing)
                    for subject, scores in found.items():
                        cells.scored(task.name, subject, scores.free, scores.forced)
                print(table(cells, [task], SEEDS), flush=True)
        finally:
            lanes.shutdown(cancel_futures=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="pnpm bench quality", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the first task alone")
    parser.add_argument("--group", action="store_true", help="then our eight runs of seed 1 again, as one group")
    parser.add_argument("--lanes", type=int, default=2, help="trainings side by side, one core each")
    parser.add_argument("--fresh", action="store_true", help="forget the cells of an earlier run")
    parser.add_argument("--json", type=Path, help="the cells; cells.json in the work folder where absent")
    parser.add_argument("--readme", action="store_true", help="only put the cells into this folder's README.md")
    parser.add_argument("--data", type=Path, default=Path("/work/shared/data"), help="a folder a task")
    parser.add_argument("--base", type=Path, default=ROOT / ".data/models/smollm2-135m-instruct")
    parser.add_argument("--work", type=Path, default=ROOT / ".data/bench-quality", help="adapters and answers")
    arguments = parser.parse_args()
    file = arguments.json or arguments.work / "cells.json"
    if arguments.readme:
        write_readme(HERE, Cells(file), SEEDS)
        return
    if not arguments.data.is_dir():
        parser.error(f"{arguments.data} does not exist: --data says where the tasks' folders are.")
    base = ensure_default(arguments.base, lambda text: print(text, file=sys.stderr)).path
    peer_environment()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        file.unlink(missing_ok=True)
    tasks, cells = list(TASKS[:1] if arguments.quick else TASKS), Cells(file)
    cells.taken(describe(ROOT, 1), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    kept = (group.ALONE,) if arguments.group else ()
    run(base, arguments.work, arguments.data, tasks, cells, arguments.lanes, kept)
    print(table(cells, tasks, SEEDS), table(cells, tasks, SEEDS, forced=True), sep="\n\n")
    if arguments.group:
        group.run(base, arguments.work, arguments.data, cells)
        print(group_table(cells))


if __name__ == "__main__":
    main()
