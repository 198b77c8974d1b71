"""Trains one cell of the table: our trainer through its command line, or SFTTrainer in the peers' environment.

Both see the same rows in the same order, in steps of the same rows, with the same settings. What each makes of a row
(tokens, mask, EOS, length) is its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from lora_py.base_model import open_base
from tasks import BATCH, Row
from trainer.batches import epoch_order
from trainer.data import read_rows
from trainer.encode import encoder

HERE = Path(__file__).parent
PEER_PYTHON = HERE.parent / ".venv-training/bin/python"
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# The defaults of packages/contracts/src/jobs.ts.
ADAPTER = {"rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": MODULES}
OPTIMIZER = {
    "learning_rate": 5e-4,
    "scheduler": "cosine",
    "warmup_ratio": 0.03,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
}
NEVER = 1_000_000  # steps between two checkpoints: they change nothing in the result


def spec(base: Path, file: Path, output: Path, seed: int) -> dict[str, Any]:
    """A job as the worker writes it, one epoch long. `max_length` None is the default: p95 of the rows."""
    return {
        "version": 1,
        "job_id": output.parent.name + "/" + output.name,
        "attempt": 1,
        "base_model": {"id": base.name, "path": str(base)},
        "train_file": str(file),
        "validation_file": None,
        "output_dir": str(output),
        "checkpoint_dir": str(output.with_name(output.name + ".checkpoints")),
        "prompt_format": "raw",
        "adapter": ADAPTER,
        "training": {
            **OPTIMIZER,
            "epochs": 1,
            "max_steps": None,
            "max_seconds": None,
            "batch_size": BATCH,
            "max_length": None,
            "evaluate_every_steps": 0,
            "checkpoint_every_steps": NEVER,
            "early_stopping_patience": None,
            "seed": seed,
        },
        "device": "cpu",
    }


def write_rows(path: Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def order(base: Path, file: Path, seed: int) -> list[int]:
    """The order in which our trainer takes the rows of a file."""
    config = open_base(base).config
    rows = read_rows(file, encoder(base, config, "raw"), None, int(config["max_position_embeddings"]))
    if rows.dropped:
        raise SystemExit(f"{file} has rows that our trainer leaves out, so the two would not see the same ones.")
    lengths = [example.length for example in rows.examples]
    return [row for batch in epoch_order(lengths, BATCH, seed, 0) for row in batch]


def train_own(base: Path, file: Path, output: Path, seed: int, threads: int = 1) -> dict[str, Any]:
    job = output.with_name(output.name + ".spec.json")
    job.write_text(json.dumps(spec(base, file, output, seed)))
    return run_trainer(job, output.with_name(output.name + ".events.jsonl"), threads)[""]


def run_trainer(job: Path, log: Path, threads: int) -> dict[str, dict[str, Any]]:
    """`python -m trainer run`: for each job (of a single one the name is empty) its losses, tokens and seconds."""
    cpu = _run([sys.executable, "-m", "trainer", "run", "--spec", str(job)], log, threads)
    found: dict[str, dict[str, Any]] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        parsed = json.loads(line)
        name, event = (parsed["job_id"], parsed["event"]) if "job_id" in parsed else ("", parsed)
        own = found.setdefault(name, {"losses": [], "cpu_seconds": cpu})
        if event["event"] == "step":
            own["losses"].append(event["loss"])
        elif event["event"] == "finished":
            own |= {"tokens": event["tokens"], "seconds": event["seconds"]}
    return found


def train_sft(base: Path, rows: list[Row], output: Path, seed: int) -> dict[str, Any]:
    """`rows` in the order of training. The answer begins with the space that our trainer puts there too."""
    spaced = [{"prompt": row["prompt"], "completion": " " + row["completion"]} for row in rows]
    plan = {
        "base": str(base),
        "rows": spaced,
        "batch_size": BATCH,
        "steps": len(rows) // BATCH,
        "seed": seed,
        "output": str(output),
        "settings": {**ADAPTER, **OPTIMIZER},
    }
    file = output.with_name(output.name + ".plan.json")
    file.write_text(json.dumps(plan))
    cpu = _run([str(PEER_PYTHON), str(HERE / "sft.py"), str(file)], output.with_name(output.name + ".log"), 1)
    return {**json.loads((output / "training.json").read_text()), "cpu_seconds": cpu}


def _run(command: list[str], log: Path, threads: int) -> float:
    """CPU seconds of the process, its start included. One cell is one core's work, so that two go side by side."""
    settings = {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "MALLOC_TRIM_THRESHOLD_": str(2**33)}
    with log.open("w") as out, log.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env={**os.environ, **settings})
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{' '.join(command)} failed: see {log.with_suffix('.err')}")
    return usage.ru_utime + usage.ru_stime
