"""Adapter folders in PEFT's format: read, checked, written. What we cannot serve right is refused by name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from lora_py.peft_config import CONFIG_FILE, AdapterConfig, json_object, parse_config, scaling_of
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
    "parse_adapter",
    "prompt_format",
    "read_adapter",
    "read_files",
    "scaling_of",
    "sha256_of",
    "write_adapter",
]

GROVE_FILE = "grove.json"
CONFIG_LIMIT = 1 << 20


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
    use_dora: bool = False


def adapter_sha256(folder: Path) -> str:
    """The adapter's identity: its configuration's bytes, then its weights' bytes."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def read_adapter(folder: Path, expected_sha256: str | None = None, max_bytes: int | None = None) -> Adapter:
    """The bytes that are hashed are the bytes that are parsed, so a file swapped in between changes nothing."""
    config_bytes, weight_bytes = read_files(folder, max_bytes)
    sha256 = sha256_of(config_bytes, weight_bytes)
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise AdapterError("adapter_invalid", f"The adapter's SHA-256 is {sha256}, not {expected_sha256}.")
    return parse_adapter(config_bytes, weight_bytes, sha256, prompt_format(folder))


def read_files(folder: Path, max_bytes: int | None = None) -> tuple[bytes, bytes]:
    """The configuration's bytes and the weights', which must not be more than `max_bytes`."""
    return _file(folder, CONFIG_FILE, CONFIG_LIMIT), _file(folder, WEIGHTS_FILE, max_bytes)


def sha256_of(config_bytes: bytes, weight_bytes: bytes) -> str:
    digest = hashlib.sha256(config_bytes)
    digest.update(weight_bytes)
    return digest.hexdigest()


def parse_adapter(config_bytes: bytes, weight_bytes: bytes, sha256: str, form: PromptFormat = "raw") -> Adapter:
    """sha256: of these bytes, as `sha256_of` gives it."""
    config, targets = parse_config(config_bytes, form)
    weights = parse_weights(weight_bytes, config.module_rank)
    if targets is not None:
        strange = [name for name in weights if not _targeted(name, targets)]
        if strange:
            raise AdapterError(
                "adapter_invalid",
                f"{WEIGHTS_FILE} holds {name_some(strange)}, which target_modules of {CONFIG_FILE} does not name.",
            )
    found = tuple(sorted({name.rsplit(".", 1)[1] for name in weights}))
    return Adapter(replace(config, target_modules=found), weights, sha256, len(config_bytes) + len(weight_bytes))


def _targeted(name: str, targets: tuple[str, ...]) -> bool:
    return any(f"model.{name}" == target or f".{name}".endswith(f".{target}") for target in targets)


def write_adapter(
    folder: Path,
    settings: AdapterSettings,
    weights: Mapping[str, tuple[Tensor, Tensor]],
    card: str,
    extra: dict[str, Any],
    magnitudes: Mapping[str, Tensor] | None = None,
) -> str:
    """Writes the folder by one rename and returns its SHA-256. The same input gives the same bytes. `magnitudes`, of
    DoRA: module -> [out]."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    work.chmod(0o755)
    grove = {"version": 1, "prompt_format": settings.prompt_format, "base_model": settings.base_model, **extra}
    tensors = {}
    for name, (a, b) in weights.items():
        tensors[f"base_model.model.model.{name}.lora_A.weight"] = a.detach().to("cpu", torch.float32).contiguous()
        tensors[f"base_model.model.model.{name}.lora_B.weight"] = b.detach().to("cpu", torch.float32).contiguous()
    for name, magnitude in (magnitudes or {}).items():
        key = f"base_model.model.model.{name}.lora_magnitude_vector"
        tensors[key] = magnitude.detach().to("cpu", torch.float32).contiguous()
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


def _file(folder: Path, name: str, limit: int | None) -> bytes:
    path = folder / name
    if not path.is_file():
        pickled = " Pickled weights (.bin, .pt) are never loaded." if list(folder.glob("*.bin")) else ""
        raise AdapterError("adapter_not_found", f"The adapter folder has no {name}.{pickled}")
    if limit is not None and path.stat().st_size > limit:
        raise AdapterError("adapter_invalid", f"{name} is larger than {limit} bytes.")
    return path.read_bytes()


def prompt_format(folder: Path) -> PromptFormat:
    """How prompts of this adapter are written; "raw" for a folder without Grove's own file."""
    if not (folder / GROVE_FILE).is_file():
        return "raw"
    value = json_object(_file(folder, GROVE_FILE, CONFIG_LIMIT), GROVE_FILE).get("prompt_format", "raw")
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
        "use_dora": settings.use_dora,
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
