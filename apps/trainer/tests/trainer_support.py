"""What several tests of the trainer need: the path to its packages, rows, and a job run in process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[3]
PATHS = [str(ROOT / "apps/trainer"), str(ROOT / "packages/lora-py")]
sys.path[:0] = PATHS

from lora_py.tiny_base import write_tiny_base  # noqa: E402

from trainer import native  # noqa: E402 - found through the paths above
from trainer.data import read_rows  # noqa: E402
from trainer.encode import encoder  # noqa: E402
from trainer.events import Event, Finished  # noqa: E402
from trainer.foreign_load import load_base  # noqa: E402
from trainer.job import Job  # noqa: E402
from trainer.loop import Group  # noqa: E402
from trainer.lora import new_lora  # noqa: E402
from trainer.spec import parse_spec  # noqa: E402
from trainer.start_adapter import go_on_from  # noqa: E402

CPU = torch.device("cpu")
KERNELS = native.fits(torch.zeros(1))  # torch's own products round a row by what stands beside it
ENVIRONMENT = {**os.environ, "PYTHONPATH": ":".join(PATHS), "OMP_NUM_THREADS": "1"}  # of a trainer started as a process
MakeSpec = Callable[..., dict[str, Any]]


def tiny_folder(path: Path) -> Path:
    return write_tiny_base(path)


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def sums(count: int) -> list[tuple[str, str]]:
    return [(f"Add the numbers.\n{i % 7} + {i % 5} =", str(i % 7 + i % 5)) for i in range(count)]


class Ticking:
    """A clock that moves on by `tick` seconds whenever it is read."""

    def __init__(self, tick: float = 0.0) -> None:
        self.time, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.time += self.tick
        return self.time


class Run:
    def __init__(self, raw: dict[str, Any], now: Ticking | None = None) -> None:
        self.spec = parse_spec(raw)
        self.events: list[Event] = []
        self.model = load_base(self.spec.base_model.path, CPU)
        encode = encoder(self.spec.base_model.path, self.model.config, self.spec.prompt_format)
        rows = read_rows(self.spec.train_file, encode, self.spec.training.max_length, 256)
        file = self.spec.validation_file
        validation = None if file is None else read_rows(file, encode, rows.max_length, 256)
        shapes = self.model.shapes(self.spec.adapter)
        seed = self.spec.training.seed
        lora = new_lora(self.spec.adapter, self.model.config, seed, CPU, shapes, self.model.squares)
        if self.spec.adapter.init_adapter is not None:
            lora = go_on_from(self.spec.adapter.init_adapter, self.spec, lora)
        self.job = Job(self.spec, rows, validation, lora, self.events.append, now or Ticking())
        self.job.start("cpu")

    def train(self, check: Any = lambda: None) -> Finished:
        group = Group(self.model, CPU, check)
        group.join(self.job)
        group.run()
        done = self.events[-1]
        assert isinstance(done, Finished)
        return done

    def of(self, kind: Any) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]
