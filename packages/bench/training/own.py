"""Our trainer's jobs and steps, as its loop takes them, without the process around."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import open_base
from lora_py.peft_files import AdapterSettings, read_adapter, write_adapter
from trainer.job import Job
from trainer.lora import new_lora
from trainer.packing import Example
from trainer.session import Precision, Session
from trainer.spec import parse_spec
from trainer.step import gradient_step

CPU = torch.device("cpu")
RANK, ALPHA, RATE = 8, 16, 2e-4
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
NEVER = 1_000_000
Batch = list[tuple[list[int], list[int]]]  # prompt ids, completion ids with EOS


def spec(base: Path, rows: Path, folder: Path, job_id: str, **training: Any) -> dict[str, Any]:
    """A job's spec file as the worker writes it. Its folders are named after it under `folder`."""
    return {
        "version": 1,
        "job_id": job_id,
        "attempt": 1,
        "base_model": {"id": base.name, "path": str(base)},
        "train_file": str(rows),
        "validation_file": None,
        "output_dir": str(folder / job_id / "adapter"),
        "checkpoint_dir": str(folder / job_id / "checkpoints"),
        "prompt_format": "raw",
        "adapter": {"rank": RANK, "alpha": ALPHA, "dropout": 0.0, "target_modules": list(MODULES)},
        "training": {
            "epochs": 1000,
            "max_steps": NEVER,
            "max_seconds": None,
            "batch_size": 8,
            "learning_rate": RATE,
            "scheduler": "constant",
            "warmup_ratio": 0.0,
            "weight_decay": 0.0,
            "max_grad_norm": 1.0,
            "max_length": None,
            "evaluate_every_steps": 0,
            "checkpoint_every_steps": NEVER,
            "early_stopping_patience": None,
            "seed": 0,
            **training,
        },
        "device": "cpu",
    }


def jobs(base: Path, work: Path, count: int, precision: Precision) -> tuple[Any, list[Job]]:
    """The base and jobs that have not begun. The rows of each step are given to `step`, not read from a file."""
    file = work / "unused.jsonl"
    file.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n", encoding="utf-8")
    session = Session(lambda _: lambda _event: None, lambda: None, precision)
    made = [
        session.ready(parse_spec(spec(base, file, work, f"job-{i}", seed=i)), lambda _event: None) for i in range(count)
    ]
    return made[0][2], [job for _, job, _, _ in made]


def step(model: Any, rows: dict[Job, list[Example]]) -> list[float]:
    """One step of these jobs together; each one's loss."""
    measured = gradient_step(model, rows, CPU, lambda: None)
    for job, found in measured.items():
        job.update(found, rows[job])
    return [found.loss for found in measured.values()]


def examples(batch: Batch) -> list[Example]:
    return [Example(tuple(prompt), tuple(completion)) for prompt, completion in batch]


def write_start(base: Path, folder: Path) -> None:
    """The adapter that every contender starts from: B is zero."""
    settings = AdapterSettings(RANK, ALPHA, 0.0, MODULES, "raw", base.name)
    adapter = parse_spec(spec(base, folder, folder, "start")).adapter
    lora = new_lora(adapter, open_base(base).config, 0, CPU)
    write_adapter(folder, settings, lora.weights(), "Where the contenders of a benchmark start.\n", {})


def restore(job: Job, folder: Path) -> None:
    values = read_adapter(folder).weights
    with torch.no_grad():
        for name, (a, b) in job.lora.pairs.items():
            a.copy_(values[name][0])
            b.copy_(values[name][1])
