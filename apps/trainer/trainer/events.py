"""Event lines: one JSON object a line on stdout. packages/contracts/README.md §1 names every field."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from trainer.errors import FailureCode
from trainer.rows import DataKind

StoppedBy = Literal["epochs", "max_steps", "max_seconds", "early_stopping", "task_metric"]
WarningCode = Literal[
    "checkpoint_ignored",
    "checkpoint_missing",
    "rows_dropped",
    "rows_cut",
    "no_validation",
    "validation_sampled",
    "modules_mapped",
]


@dataclass(frozen=True, slots=True)
class Started:
    event: ClassVar = "started"
    total_steps: int
    train_rows: int
    validation_rows: int
    max_length: int
    rows_cut: int
    rows_dropped: int
    tokens_per_epoch: int
    trainable_parameters: int
    device: str
    resumed_from_step: int
    data_kind: DataKind
    lengths: list[list[int]]  # [longest length in tokens, rows] of each bin
    labels: Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class StepDone:
    event: ClassVar = "step"
    step: int
    total_steps: int
    epoch: float
    loss: float
    learning_rate: float
    tokens: int
    tokens_per_second: float
    seconds: float
    seconds_left: float
    preferred: float | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    event: ClassVar = "validation"
    step: int
    loss: float
    preferred: float | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    event: ClassVar = "checkpoint"
    step: int
    sha256: str  # of the adapter as it stands
    path: str  # its folder


@dataclass(frozen=True, slots=True)
class Paused:
    event: ClassVar = "paused"
    step: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Resumed:
    event: ClassVar = "resumed"
    step: int


@dataclass(frozen=True, slots=True)
class Warning:
    event: ClassVar = "warning"
    code: WarningCode
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    event: ClassVar = "finished"
    steps: int
    epochs: float
    tokens: int
    seconds: float
    train_loss: float
    validation_loss: float | None
    sha256: str
    bytes: int
    stopped_by: StoppedBy


@dataclass(frozen=True, slots=True)
class Cancelled:
    event: ClassVar = "cancelled"
    step: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Failed:
    event: ClassVar = "failed"
    code: FailureCode
    message: str


Event = Started | StepDone | Validation | Checkpoint | Paused | Resumed | Warning | Finished | Cancelled | Failed
Emit = Callable[[Event], None]


def event_line(event: Event) -> str:
    return json.dumps(_fields(event), allow_nan=False)


def group_line(job_id: str, event: Event) -> str:
    """In a group, each event says whose it is."""
    return json.dumps({"job_id": job_id, "event": _fields(event)}, allow_nan=False)


def _fields(event: Event) -> dict[str, object]:
    fields = {k: round(v, 6) if isinstance(v, float) and k != "learning_rate" else v for k, v in asdict(event).items()}
    return {"event": event.event, **fields}
