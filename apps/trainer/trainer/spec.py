"""The spec file: parsed once, strictly, into frozen settings. packages/contracts/README.md §1 names every field."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from lora_py.peft_files import MODULE_PARENTS, PromptFormat

from trainer.errors import TrainerError
from trainer.rows import DataKind

Scheduler = Literal["cosine", "linear", "constant"]
Device = Literal["auto", "cpu", "cuda"]
OptimizerName = Literal["adamw", "adamw_8bit", "adam", "sgd", "lion"]
Method = Literal["sft", "dpo", "orpo"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BaseRef:
    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    rank: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]
    use_rslora: bool = False  # scale by alpha / sqrt(rank)
    use_dora: bool = False  # a magnitude for each output, as PEFT has it
    init_adapter: Path | None = None  # a PEFT folder to go on from

    def settings(self) -> dict[str, Any]:
        """What the result depends on, which is not where a folder lies."""
        return {**dataclasses.asdict(self), "init_adapter": None}


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    epochs: float
    max_steps: int | None
    max_seconds: int | None
    batch_size: int
    learning_rate: float
    scheduler: Scheduler
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    max_length: int | None
    evaluate_every_steps: int
    checkpoint_every_steps: int
    early_stopping_patience: int | None
    seed: int
    optimizer: OptimizerName = "adamw"
    neftune_alpha: float = 0.0  # noise on the embeddings of the rows in training; 0: none
    method: Method = "sft"
    beta: float = 0.1  # of DPO and ORPO


@dataclass(frozen=True, slots=True)
class QuantizationSpec:
    """How the frozen base is kept: NF4 with double quantization, or eight bits."""

    bits: int


@dataclass(frozen=True, slots=True)
class Spec:
    version: int
    job_id: str
    attempt: int
    base_model: BaseRef
    train_file: Path
    validation_file: Path | None
    output_dir: Path
    checkpoint_dir: Path
    prompt_format: PromptFormat
    adapter: AdapterSpec
    training: TrainingSpec
    device: Device
    data_kind: DataKind | None = None  # None: as the first row of the training file has it
    quantization: QuantizationSpec | None = None


# (lowest, highest) value of each number, both allowed
RANGES: dict[str, tuple[float, float]] = {
    "attempt": (1, math.inf),
    "adapter.rank": (1, 256),
    "adapter.alpha": (1e-6, 1e6),
    "adapter.dropout": (0, 0.9),
    "training.epochs": (0.001, 1000),
    "training.max_steps": (1, 10_000_000),
    "training.max_seconds": (1, 10_000_000),
    "training.batch_size": (1, 4096),
    "training.learning_rate": (1e-9, 10),
    "training.warmup_ratio": (0, 1),
    "training.weight_decay": (0, 10),
    "training.max_grad_norm": (1e-6, 1e6),
    "training.max_length": (2, 1_000_000),
    "training.evaluate_every_steps": (0, math.inf),
    "training.checkpoint_every_steps": (0, math.inf),
    "training.early_stopping_patience": (1, math.inf),
    "training.seed": (0, 2**63 - 1),
    "training.neftune_alpha": (0, 1000),
    "training.beta": (1e-6, 100),
}


def parse_spec(raw: Any) -> Spec:
    spec = _object(Spec, raw, "")
    if spec.version != 1:
        raise _bad("version", "must be 1")
    if not spec.adapter.target_modules:
        raise _bad("adapter.target_modules", "must name at least one module")
    for name in spec.adapter.target_modules:
        if name not in MODULE_PARENTS:
            raise _bad("adapter.target_modules", f"{name!r} is not one of {', '.join(MODULE_PARENTS)}")
    if len(set(spec.adapter.target_modules)) != len(spec.adapter.target_modules):
        raise _bad("adapter.target_modules", "names a module twice")
    if spec.quantization is not None and spec.quantization.bits not in (4, 8):
        raise _bad("quantization.bits", "must be 4 or 8")
    if spec.training.method != "sft" and spec.training.neftune_alpha:
        raise _bad("training.neftune_alpha", "is for method sft: a pair is compared without noise")
    return spec


def _object(cls: type[T], raw: Any, where: str) -> T:
    if not isinstance(raw, dict):
        raise _bad(where or "spec", "must be an object")
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(typing.cast(Any, cls))
    names = [field.name for field in fields]
    optional = {field.name for field in fields if field.default is not dataclasses.MISSING}
    for name in raw:
        if name not in names:
            raise _bad(_join(where, name), "is not a field of the spec")
    for name in names:
        if name not in raw and name not in optional:
            raise _bad(_join(where, name), "is missing")
    return cls(**{name: _value(hints[name], raw[name], _join(where, name)) for name in names if name in raw})


def _value(hint: Any, raw: Any, where: str) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        inner = next(h for h in typing.get_args(hint) if h is not type(None))
        return None if raw is None else _value(inner, raw, where)
    if dataclasses.is_dataclass(hint):
        return _object(typing.cast(Any, hint), raw, where)
    if typing.get_origin(hint) is Literal:
        if raw not in typing.get_args(hint):
            raise _bad(where, f"must be one of {', '.join(map(str, typing.get_args(hint)))}")
        return raw
    if typing.get_origin(hint) is tuple:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise _bad(where, "must be a list of strings")
        return tuple(raw)
    if hint is bool:
        if not isinstance(raw, bool):
            raise _bad(where, "must be true or false")
        return raw
    if hint in (str, Path):
        if not isinstance(raw, str) or not raw:
            raise _bad(where, "must be a string")
        return hint(raw)
    return _number(hint, raw, where)


def _number(hint: Any, raw: Any, where: str) -> int | float:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)) or not math.isfinite(raw):
        raise _bad(where, "must be a number")
    if hint is int and raw != int(raw):
        raise _bad(where, "must be a whole number")
    low, high = RANGES.get(where, (-math.inf, math.inf))
    if not low <= raw <= high:
        raise _bad(where, f"must lie between {low:g} and {high:g}")
    return int(raw) if hint is int else float(raw)


def _join(where: str, name: object) -> str:
    return f"{where}.{name}" if where else str(name)


def _bad(where: str, problem: str) -> TrainerError:
    return TrainerError("trainer_bad_spec", f"{where} {problem}.")
