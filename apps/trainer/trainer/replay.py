"""A finished run, once more: its manifest (the adapter's grove.json) and its data give the same adapter.

Refused where the result cannot be the same: other data, another base, or a run that a time budget ended. Told where it
may not be: other versions, hardware or threads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lora_py.peft_files import GROVE_FILE, adapter_sha256

from trainer.base_hash import base_sha256
from trainer.errors import TrainerError
from trainer.loop import Group
from trainer.save import versions

NEEDED = ("prompt_format", "base_model", "base_sha256", "data_sha256", "adapter", "training", "versions", "hardware")


@dataclass(frozen=True, slots=True)
class Replay:
    spec: dict[str, Any]
    expected: str | None  # the adapter's SHA-256, where its folder is still there
    hardware: Mapping[str, Any]
    warnings: list[str]
    adapter_step: int | None  # of a run that a task metric ended: the step whose adapter it kept

    def before_round(self, group: Group) -> None:
        """Ends the job where its adapter was taken: what came after did not change it."""
        for job in list(group.jobs):
            if self.adapter_step is not None and job.step >= self.adapter_step:
                group.finish(job.spec.job_id, job.step)


def plan(
    manifest: Path,
    train_file: Path,
    validation_file: Path | None,
    base: Path,
    output_dir: Path,
    init_adapter: Path | None = None,
) -> Replay:
    """The spec to run. Raises TrainerError."""
    grove = _read(manifest)
    _repeatable(grove, validation_file, init_adapter)
    _same("data", hashlib.sha256(_bytes(train_file)).hexdigest(), grove["data_sha256"])
    _same("base model", base_sha256(base), grove["base_sha256"])
    if init_adapter is not None:
        _same("adapter to go on from", _adapter_sha256(init_adapter), str(grove.get("init_adapter_sha256")))
    spec = {
        "version": 1,
        "job_id": str(grove.get("job_id", "replay")),
        "attempt": 1,
        "base_model": {"id": grove["base_model"], "path": str(base)},
        "train_file": str(train_file),
        "validation_file": None if validation_file is None else str(validation_file),
        "output_dir": str(output_dir),
        "checkpoint_dir": str(output_dir.parent / f".{output_dir.name}.checkpoints"),
        "prompt_format": grove["prompt_format"],
        "adapter": {**grove["adapter"], "init_adapter": None if init_adapter is None else str(init_adapter)},
        "training": grove["training"],
        "device": "cpu" if str(grove["hardware"].get("device", "")).startswith("cpu") else "auto",
        "data_kind": grove.get("data_kind"),
        "quantization": grove.get("quantization"),
    }
    warnings = [
        f"{name} is {here}, and was {then}: the bytes may differ."
        for name, then in grove["versions"].items()
        if (here := versions().get(name)) != then
    ]
    expected = adapter_sha256(manifest.parent) if manifest.name == GROVE_FILE else None
    return Replay(spec, expected, grove["hardware"], warnings, grove.get("adapter_step"))


def _repeatable(grove: Mapping[str, Any], validation_file: Path | None, init_adapter: Path | None) -> None:
    stopped_by, reason = grove.get("stopped_by"), None
    if stopped_by == "max_seconds":
        reason = "a time budget ended it"
    elif stopped_by == "checkpoint":
        reason = "it is a checkpoint, not an end"
    elif stopped_by == "task_metric" and grove["training"]["max_seconds"] is not None:
        reason = "its schedule followed a time budget"
    if reason is not None:
        raise TrainerError("trainer_bad_spec", f"This run cannot be repeated to the same bytes: {reason}.")
    if grove["training"]["early_stopping_patience"] is not None and validation_file is None:
        raise TrainerError("trainer_bad_spec", "The run stopped by its validation rows: give --validation-file too.")
    if grove.get("init_adapter_sha256") is not None and init_adapter is None:
        raise TrainerError("trainer_bad_spec", "The run went on from an adapter: give --init-adapter too.")


def _adapter_sha256(folder: Path) -> str:
    try:
        return adapter_sha256(folder)
    except OSError as error:
        raise TrainerError("trainer_bad_data", f"{folder} cannot be read: {error.strerror}.") from error


def hardware_warnings(then: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} is {here.get(name)}, and was {value}: the bytes may differ."
        for name, value in then.items()
        if here.get(name) != value
    ]


def take_threads(hardware: Mapping[str, Any]) -> None:
    """Sums in another order give other bits, so as many threads as the run had."""
    words = str(hardware.get("device", "")).removeprefix("cpu, ").split(" ")
    if words[0].isdigit():
        torch.set_num_threads(int(words[0]))


def _read(manifest: Path) -> dict[str, Any]:
    try:
        grove = json.loads(_bytes(manifest))
    except ValueError as error:
        raise TrainerError("trainer_bad_spec", f"{manifest} is not JSON: {error}") from error
    missing = [name for name in NEEDED if not isinstance(grove, dict) or name not in grove]
    if missing:
        raise TrainerError("trainer_bad_spec", f"{manifest} is not a run's manifest: it has no {missing[0]}.")
    return dict(grove)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrainerError("trainer_bad_data", f"{path} cannot be read: {error.strerror}.") from error


def _same(what: str, here: str, then: str) -> None:
    if here != then:
        raise TrainerError(
            "trainer_bad_data", f"The {what} is not the run's: SHA-256 {here[:12]}…, and was {then[:12]}…."
        )
