"""Checkpoints: one safetensors file each, with adapter, optimizer and position. Written beside and renamed, so a file
that exists is whole; the one before it is kept until the next."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

KEPT = 2


@dataclass(frozen=True, slots=True)
class Position:
    """Where a run stands. The order of rows and all random numbers follow from the seed and the step."""

    step: int
    tokens: int
    seconds: float
    recent_losses: tuple[float, ...]
    validation_loss: float | None
    best_loss: float | None
    worse_in_a_row: int


def write_checkpoint(folder: Path, fingerprint: str, position: Position, tensors: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    data = save(tensors, metadata={"fingerprint": fingerprint, "position": json.dumps(asdict(position))})
    path = folder / f"step-{position.step:08d}.safetensors"
    work = path.with_suffix(".part")
    try:
        with work.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        work.rename(path)
    finally:
        work.unlink(missing_ok=True)
    for old in sorted(folder.glob("step-*.safetensors"))[:-KEPT]:
        old.unlink(missing_ok=True)


def read_latest(folder: Path, fingerprint: str) -> tuple[tuple[Position, dict[str, Tensor]] | None, list[str]]:
    """The newest checkpoint of the same job settings and data, and the reasons why newer ones were passed over."""
    ignored = []
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != fingerprint:
                    ignored.append(f"{path.name} belongs to other settings, data or base model.")
                    continue
                raw = json.loads(metadata["position"])
                position = Position(**{**raw, "recent_losses": tuple(raw["recent_losses"])})
                return (position, {name: file.get_tensor(name) for name in file.keys()}), ignored  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            ignored.append(f"{path.name} cannot be read: {error}")
    return None, ignored
