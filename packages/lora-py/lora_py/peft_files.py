"""Adapter folders in PEFT's format: read, checked, written. What we cannot serve right is refused by name."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lora_py.peft_weights import (
    MODULE_PARENTS,
    WEIGHTS_FILE,
    AdapterError,
    AdapterErrorCode,
    PromptFormat,
    Weights,
    module_shapes,
    name_some,
    parse_weights,
)

__all__ = [
    "CONFIG_FILE",
    "GROVE_FILE",
    "MODULE_PARENTS",
    "WEIGHTS_FILE",
    "Adapter",
    "AdapterConfig",
    "AdapterError",
    "AdapterErrorCode",
    "AdapterSettings",
    "PromptFormat",
    "Weights",
    "adapter_sha256",
    "check_against_base",
    "module_shapes",
    "read_adapter",
    "scaling_of",
    "write_adapter",
]

CONFIG_FILE = "adapter_config.json"
GROVE_FILE = "grove.json"
CONFIG_LIMIT = 1 << 20
MAX_RANK = 1024

# PiSSA, OLoRA, CorDA and LoftQ change the base weights too, so the A and B alone are not the adapter.
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
_MUST_BE_EMPTY = (
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "fan_in_fan_out",
    "use_dora",
    "use_qalora",
    "lora_bias",
    "exclude_modules",
    "megatron_config",
)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    rank: int
    alpha: float
    scaling: float  # alpha / rank, or alpha / sqrt(rank) for rsLoRA
    target_modules: tuple[str, ...]
    prompt_format: PromptFormat
    base_model: str | None


@dataclass(frozen=True, slots=True)
class Adapter:
    config: AdapterConfig
    weights: Weights  # "layers.0.self_attn.q_proj" -> (A [rank, in], B [out, rank]), fp32
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """What `write_adapter` needs to know beside the weights."""

    rank: int
    alpha: float
    dropout: float
    target_modules: tuple[str, ...]
    prompt_format: PromptFormat
    base_model: str
    use_rslora: bool = False


def scaling_of(rank: int, alpha: float, use_rslora: bool) -> float:
    return alpha / math.sqrt(rank) if use_rslora else alpha / rank


def adapter_sha256(folder: Path) -> str:
    """The adapter's identity: its configuration's bytes, then its weights' bytes."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_adapter(folder: Path, expected_sha256: str | None = None) -> Adapter:
    """The bytes that are hashed are the bytes that are parsed, so a file swapped in between changes nothing."""
    config_bytes, weight_bytes = _file(folder, CONFIG_FILE), _file(folder, WEIGHTS_FILE)
    sha256 = hashlib.sha256(config_bytes + weight_bytes).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise AdapterError("adapter_invalid", f"The adapter's SHA-256 is {sha256}, not {expected_sha256}.")
    raw = _object(config_bytes, CONFIG_FILE)
    _refuse_unsupported(raw)
    rank, alpha = _number(raw, "r"), _number(raw, "lora_alpha")
    if rank != int(rank) or not 1 <= rank <= MAX_RANK:
        raise AdapterError("adapter_invalid", f"{CONFIG_FILE}: r must be a whole number from 1 to {MAX_RANK}.")
    weights = parse_weights(weight_bytes, int(rank))
    base = raw.get("base_model_name_or_path")
    config = AdapterConfig(
        rank=int(rank),
        alpha=alpha,
        scaling=scaling_of(int(rank), alpha, raw.get("use_rslora") is True),
        target_modules=tuple(sorted({name.rsplit(".", 1)[1] for name in weights})),
        prompt_format=_prompt_format(folder),
        base_model=base if isinstance(base, str) and base else None,
    )
    return Adapter(config, weights, sha256, len(config_bytes) + len(weight_bytes))


def write_adapter(
    folder: Path,
    settings: AdapterSettings,
    weights: Mapping[str, tuple[Tensor, Tensor]],
    card: str,
    extra: dict[str, Any],
) -> str:
    """Writes the folder by one rename and returns its SHA-256. The same input gives the same bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    work.chmod(0o755)
    grove = {"version": 1, "prompt_format": settings.prompt_format, "base_model": settings.base_model, **extra}
    tensors = {}
    for name, (a, b) in weights.items():
        tensors[f"base_model.model.model.{name}.lora_A.weight"] = a.detach().to("cpu", torch.float32).contiguous()
        tensors[f"base_model.model.model.{name}.lora_B.weight"] = b.detach().to("cpu", torch.float32).contiguous()
    try:
        _write(work / CONFIG_FILE, _json(_peft_config(settings)))
        _write(work / WEIGHTS_FILE, save(tensors, metadata={"format": "pt"}))
        _write(work / GROVE_FILE, _json({"prompt_template_sha256": None, **grove}))
        _write(work / "README.md", card.encode())
        sha256 = adapter_sha256(work)
        if folder.exists():  # an earlier attempt of the same job got this far
            shutil.rmtree(folder)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sha256


def check_against_base(adapter: Adapter, base_config: Mapping[str, Any]) -> None:
    """Raises unless every module of the adapter exists in the base with that size."""
    shapes = module_shapes(base_config)
    strange = sorted(name for name in adapter.weights if name not in shapes)
    if strange:
        raise AdapterError("adapter_modules_mismatch", f"The base model has no module named {name_some(strange)}.")
    for name, (a, b) in adapter.weights.items():
        out_size, in_size = shapes[name]
        if a.shape[1] != in_size or b.shape[0] != out_size:
            raise AdapterError(
                "adapter_modules_mismatch",
                f"{name} is {b.shape[0]}x{a.shape[1]} in the adapter and {out_size}x{in_size} in the base model: "
                "the adapter was trained on another base.",
            )


def _refuse_unsupported(raw: dict[str, Any]) -> None:
    if raw.get("peft_type") != "LORA":
        kind = str(raw.get("peft_type"))[:40]
        raise AdapterError("adapter_unsupported", f"Adapters of type {kind!r} are not supported, only LORA.")
    if raw.get("bias") not in (None, "none"):
        raise AdapterError("adapter_unsupported", f"{CONFIG_FILE}: bias={raw['bias']!r} is not supported, only 'none'.")
    for key in _MUST_BE_EMPTY:
        if raw.get(key):
            raise AdapterError("adapter_unsupported", f"{CONFIG_FILE}: {key} is set, which is not supported.")
    if raw.get("init_lora_weights", True) not in _PLAIN_INITS:
        raise AdapterError(
            "adapter_unsupported",
            f"{CONFIG_FILE}: init_lora_weights={raw['init_lora_weights']!r} changes the base weights too; "
            "convert the adapter to plain LoRA with PEFT's path_initial_model_for_weight_conversion first.",
        )


def _file(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        pickled = " Pickled weights (.bin, .pt) are never loaded." if list(folder.glob("*.bin")) else ""
        raise AdapterError("adapter_not_found", f"The adapter folder has no {name}.{pickled}")
    if name != WEIGHTS_FILE and path.stat().st_size > CONFIG_LIMIT:
        raise AdapterError("adapter_invalid", f"{name} is larger than {CONFIG_LIMIT} bytes.")
    return path.read_bytes()


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AdapterError("adapter_invalid", f"{name} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise AdapterError("adapter_invalid", f"{name} must hold a JSON object.")
    return value


def _number(raw: dict[str, Any], key: str) -> float:
    value = raw.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise AdapterError("adapter_invalid", f"{CONFIG_FILE}: {key} must be a number.")
    return float(value)


def _prompt_format(folder: Path) -> PromptFormat:
    if not (folder / GROVE_FILE).is_file():
        return "raw"
    value = _object(_file(folder, GROVE_FILE), GROVE_FILE).get("prompt_format", "raw")
    if value not in ("raw", "chat"):
        raise AdapterError("adapter_invalid", f"{GROVE_FILE}: prompt_format must be raw or chat.")
    return "chat" if value == "chat" else "raw"


def _peft_config(settings: AdapterSettings) -> dict[str, Any]:
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": settings.base_model,
        "revision": None,
        "inference_mode": True,
        "r": settings.rank,
        "lora_alpha": int(settings.alpha) if settings.alpha == int(settings.alpha) else settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": sorted(settings.target_modules),
        "use_rslora": settings.use_rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "layers_to_transform": None,
        "layers_pattern": None,
    }


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
