"""Ten short jobs that differ in what a quote must foresee: rows with and without a common template, short and long
ones, batches of few and many rows, steps that end within an epoch, validation, checkpoints, methods and ways to keep
the base."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from own import spec
from rows import KINDS, TEMPLATE, definitions

VALIDATION_ROWS = 24


@dataclass(frozen=True, slots=True)
class Run:
    name: str
    rows: int
    shape: str = "plain"  # plain, template, long, pairs
    training: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    top: dict[str, Any] = field(default_factory=dict)
    validated: bool = False


RUNS = (
    Run(
        "16 rows a step, a common template, two epochs",
        160,
        "template",
        {"epochs": 2, "batch_size": 16},
    ),
    Run(
        "8 rows a step, nothing in common, with validation",
        96,
        "plain",
        {"epochs": 2, "batch_size": 8},
        validated=True,
    ),
    Run("4 long rows a step", 32, "long", {"epochs": 1, "batch_size": 4}),
    Run("1 row a step", 24, "plain", {"epochs": 2, "batch_size": 1}),
    Run(
        "steps that end within the second epoch",
        120,
        "template",
        {"epochs": 3, "max_steps": 13, "batch_size": 12},
    ),
    Run(
        "rows cut at 48 tokens",
        128,
        "plain",
        {"epochs": 2, "batch_size": 16, "max_length": 48},
    ),
    Run(
        "rank 64 on two layers, checkpoints every 3 steps, with validation",
        96,
        "template",
        {
            "epochs": 2,
            "batch_size": 16,
            "checkpoint_every_steps": 3,
            "evaluate_every_steps": 4,
        },
        {"rank": 64, "alpha": 64, "target_modules": ["q_proj", "v_proj"]},
        validated=True,
    ),
    Run(
        "a base in four bits",
        64,
        "plain",
        {"epochs": 1, "batch_size": 8},
        top={"quantization": {"bits": 4}},
    ),
    Run("pairs, by DPO", 48, "pairs", {"epochs": 1, "batch_size": 8, "method": "dpo"}),
    Run(
        "Lion with NEFTune and dropout",
        96,
        "plain",
        {"epochs": 2, "batch_size": 16, "optimizer": "lion", "neftune_alpha": 5},
        {"dropout": 0.1},
    ),
)


def write_spec(run: Run, number: int, root: Path, base: Path, work: Path) -> Path:
    """The spec file of a run beside its rows, as a worker leaves them."""
    folder = work / f"run-{number}"
    folder.mkdir(parents=True)
    rows = _rows(run.shape, root, run.rows + VALIDATION_ROWS, seed=number)
    train, validation = folder / "train.jsonl", folder / "validation.jsonl"
    _write(train, rows[: run.rows])
    _write(validation, rows[run.rows :])
    made = spec(
        base,
        train,
        folder,
        "job",
        **{"max_steps": None, "checkpoint_every_steps": 0, **run.training},
    )
    made["adapter"] |= run.adapter
    made["validation_file"] = str(validation) if run.validated else None
    file = folder / "spec.json"
    file.write_text(json.dumps({**made, **run.top}), encoding="utf-8")
    return file


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _rows(shape: str, root: Path, count: int, seed: int) -> list[dict[str, str]]:
    texts = definitions(root, seed)
    made = []
    for i in range(count):
        text, kind = texts[i], KINDS[i % len(KINDS)]
        match shape:
            case "template":
                made.append({"prompt": f"{TEMPLATE}{text}\nKind:", "completion": f" {kind}"})
            case "long":
                many = "\n".join(texts[i * 6 : i * 6 + 2 + i % 9])
                made.append({"prompt": f"{many}\nKinds:", "completion": f" {kind}"})
            case "pairs":
                made.append(
                    {
                        "prompt": f"{text}:",
                        "chosen": f" {kind}",
                        "rejected": f" no {kind}",
                    }
                )
            case _:
                made.append({"prompt": f"{text}:", "completion": f" {kind}"})
    return made
