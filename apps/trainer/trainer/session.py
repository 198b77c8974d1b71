"""What a spec file asks for: one job, or several over one base; and the jobs made ready for the loop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from lora_py.quantized_base import Kind

from trainer.base import Base
from trainer.data import Rows, read_rows
from trainer.encode import encoder
from trainer.errors import TrainerError, as_trainer_error
from trainer.events import Emit, Failed
from trainer.foreign_load import load_base
from trainer.interrupt import Stopped
from trainer.job import Job
from trainer.loop import Group
from trainer.lora import adapter_size, new_lora
from trainer.memory import (
    Need,
    adapter_bytes,
    available_bytes,
    base_bytes,
    largest_pass,
    refuse_what_cannot_fit,
    step_bytes,
)
from trainer.rows import DataKind
from trainer.spec import Spec, parse_spec
from trainer.start_adapter import go_on_from
from trainer.team import PeerLost, Team

log = logging.getLogger("trainer")
Precision = Literal["auto", "fp32", "bf16"]
KINDS: dict[int, Kind] = {4: "nf4", 8: "int8"}  # by the bits of a spec's quantization
EmitFor = Callable[[str], Emit]  # job id -> where its events go


@dataclass(frozen=True, slots=True)
class Request:
    raw: tuple[Any, ...]  # one spec a job, not yet parsed
    grouped: bool


def read_request(path: Path) -> Request:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError("trainer_bad_spec", f"The spec file cannot be read: {error}") from error
    if not isinstance(raw, dict) or "jobs" not in raw:
        return Request((raw,), grouped=False)
    if set(raw) != {"version", "jobs"} or raw["version"] != 1 or not isinstance(raw["jobs"], list) or not raw["jobs"]:
        raise TrainerError("trainer_bad_spec", "A group's spec has exactly version (1) and jobs (a list of specs).")
    return Request(tuple(raw["jobs"]), grouped=True)


class Session:
    """One base, loaded for the first job that parses, and the group of jobs that train over it."""

    def __init__(
        self,
        emit_for: EmitFor,
        check: Callable[[], None],
        precision: Precision = "auto",
        team: Team | None = None,
    ) -> None:
        self._team = team or Team()
        self._emit_for = emit_for if self._team.leads else lambda _: lambda _: None
        self._check, self._precision = check, precision
        self._base: tuple[Spec, Base, torch.device] | None = None
        self.group: Group | None = None
        self.refused = 0
        self.free = 0  # bytes, before the base was loaded
        self._step_bytes = 0.0  # of the largest step of any job: they go through the base together

    def add(self, raw: Any) -> None:
        """Lets a job join. One that cannot is told so, and the others go on."""
        job_id = raw.get("job_id") if isinstance(raw, dict) else None
        emit = self._emit_for(job_id if isinstance(job_id, str) else "")
        try:
            group, job = self._team.together(lambda: self._started(raw, emit))
            group.join(job)
        except (Stopped, BrokenPipeError):
            raise
        except Exception as error:
            log.exception("a job could not start")
            failure = as_trainer_error(error)
            emit(Failed(failure.code, failure.message))
            self.refused += 1
            if isinstance(error, PeerLost):
                raise

    def _started(self, raw: Any, emit: Emit) -> tuple[Group, Job]:
        group, job, model, device = self.ready(parse_spec(raw), emit)
        job.start(describe(model, device, self._team))
        return group, job

    def ready(self, spec: Spec, emit: Emit) -> tuple[Group, Job, Base, torch.device]:
        """The job with its rows read and its adapter new, not yet begun."""
        group, model, device = self._group_for(spec)
        if any(job.spec.job_id == spec.job_id for job in group.jobs):
            raise TrainerError("trainer_bad_spec", f"job_id {spec.job_id} is in the group twice.")
        return group, self._job(spec, model, device, emit), model, device

    def _group_for(self, spec: Spec) -> tuple[Group, Base, torch.device]:
        if self._base is None or self.group is None:
            device = choose_device(spec.device, self._team.local_rank)
            product_dtype = choose_product_dtype(self._precision, device)
            bits = None if spec.quantization is None else spec.quantization.bits
            self.free = self._free(device)
            refuse_what_cannot_fit(Need(base_bytes(spec.base_model.path, product_dtype, bits), 0, 0), self.free, spec)
            quantized = None if bits is None else KINDS[bits]
            model = load_base(spec.base_model.path, device, product_dtype, self._check, quantized)
            self._base = (spec, model, device)
            self.group = Group(model, device, self._check, self._team)
        first, model, device = self._base
        if any(getattr(first, name) != getattr(spec, name) for name in ("base_model", "device", "quantization")):
            same = "The jobs of a group must have the same base model, device and quantization."
            raise TrainerError("trainer_bad_spec", same)
        self._check()
        return self.group, model, device

    def _job(self, spec: Spec, model: Base, device: torch.device, emit: Emit) -> Job:
        encode = encoder(spec.base_model.path, model.config, spec.prompt_format)
        asked = spec.training.max_length
        rows = read_rows(spec.train_file, encode, asked, model.max_length, self._check, spec.data_kind)
        check_method(spec, rows.kind)
        validation = None
        if spec.validation_file is not None:
            length = rows.max_length
            validation = read_rows(spec.validation_file, encode, length, model.max_length, self._check, rows.kind)
        shapes = model.shapes(spec.adapter)
        self._check_memory(spec, model, device, rows, adapter_size(spec.adapter, shapes))
        lora = new_lora(spec.adapter, model.config, spec.training.seed, device, shapes, model.squares)
        if spec.adapter.init_adapter is not None:
            lora = go_on_from(spec.adapter.init_adapter, spec, lora)
        return Job(spec, rows, validation, lora, emit, self._team.now)

    def _free(self, device: torch.device) -> int:
        """This process's part of main memory, where there are several; a GPU is its own."""
        return available_bytes(device) // (self._team.size if device.type == "cpu" else 1)

    def _check_memory(self, spec: Spec, model: Base, device: torch.device, rows: Rows, numbers: int) -> None:
        size = largest_pass(rows.examples, spec.training.batch_size)
        step = step_bytes(model.config, size, spec.adapter.use_dora)
        need = Need(0, adapter_bytes(spec, numbers), max(0, step - self._step_bytes))
        refuse_what_cannot_fit(need, self._free(device), spec, size)
        self._step_bytes = max(self._step_bytes, step)


def check_method(spec: Spec, kind: DataKind) -> None:
    method = spec.training.method
    if kind == "preference" and method == "sft":
        raise TrainerError("trainer_bad_spec", "Rows of prompt, chosen and rejected need training.method dpo or orpo.")
    if kind != "preference" and method != "sft":
        raise TrainerError("trainer_bad_spec", f"training.method {method} needs rows of prompt, chosen and rejected.")


def choose_device(asked: str, local_rank: int = 0) -> torch.device:
    """local_rank: which of the machine's processes this is, and so which GPU is its own."""
    if asked == "cuda" and not torch.cuda.is_available():
        raise TrainerError("trainer_bad_spec", "device is cuda, and this machine has no CUDA device.")
    if asked == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        words = f"There are more trainer processes than the {torch.cuda.device_count()} GPUs of this machine."
        raise TrainerError("trainer_bad_spec", f"{words} Set GROVE_TRAINER_PROCESSES to that many at most.")
    return torch.device("cuda", local_rank)


def choose_product_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """bf16 pays where the machine multiplies it in hardware, and is ruinous where it does not: on a CPU without AMX a
    step took 16 times longer."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _has_amx()
    return torch.bfloat16 if fast else torch.float32


def _has_amx() -> bool:
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


def describe(model: Base, device: torch.device, team: Team) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    return ", ".join([name, *model.notes, *([f"{team.size} processes"] if team.size > 1 else [])])
