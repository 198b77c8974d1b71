"""`adapter_config.json` of PEFT: what it says about rank and scale of each module. What we cannot serve right is
refused by name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_py.peft_weights import AdapterError, PromptFormat

CONFIG_FILE = "adapter_config.json"
MAX_RANK = 1024

# PiSSA, OLoRA, CorDA, LoftQ and LoRA-GA change the base weights too, so the A and B alone are not the adapter.
_PLAIN_INITS = (True, False, None, "gaussian", "eva", "orthogonal")
_MUST_BE_EMPTY = (
    "modules_to_save",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "fan_in_fan_out",
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "megatron_config",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
)
# PEFT takes a pattern's key as a regular expression; a module's name, or its end, is all that adapters use.
_PATTERN_KEY = re.compile(r"\^?\w+(?:\.\w+)*")

Pattern = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """`rank` and `scaling` are those of modules that no pattern names; ask `module_rank` and `module_scaling`."""

    rank: int
    alpha: float
    scaling: float  # alpha / rank, or alpha / sqrt(rank) for rsLoRA
    target_modules: tuple[str, ...]
    prompt_format: PromptFormat
    base_model: str | None
    use_rslora: bool = False
    rank_pattern: Pattern = field(default_factory=dict)
    alpha_pattern: Pattern = field(default_factory=dict)

    def module_rank(self, name: str) -> int:
        """name: "layers.0.self_attn.q_proj"."""
        return int(_by_pattern(self.rank_pattern, name, self.rank))

    def module_scaling(self, name: str) -> float:
        alpha = _by_pattern(self.alpha_pattern, name, self.alpha)
        return scaling_of(self.module_rank(name), alpha, self.use_rslora)


def scaling_of(rank: int, alpha: float, use_rslora: bool) -> float:
    return alpha / math.sqrt(rank) if use_rslora else alpha / rank


def parse_config(data: bytes, prompt_format: PromptFormat) -> tuple[AdapterConfig, tuple[str, ...] | None]:
    """The configuration, and the module names it targets (None where it gives a regular expression or a keyword)."""
    raw = json_object(data, CONFIG_FILE)
    _refuse_unsupported(raw)
    rank, alpha = _rank(raw.get("r"), "r"), _number(raw.get("lora_alpha"), "lora_alpha")
    use_rslora = raw.get("use_rslora") is True
    base = raw.get("base_model_name_or_path")
    targets = raw.get("target_modules")
    named = tuple(str(name) for name in targets) if isinstance(targets, list) else None
    config = AdapterConfig(
        rank=rank,
        alpha=alpha,
        scaling=scaling_of(rank, alpha, use_rslora),
        target_modules=named or (),
        prompt_format=prompt_format,
        base_model=base if isinstance(base, str) and base else None,
        use_rslora=use_rslora,
        rank_pattern={key: float(_rank(value, "rank_pattern")) for key, value in _pattern(raw, "rank_pattern")},
        alpha_pattern={key: _number(value, "alpha_pattern") for key, value in _pattern(raw, "alpha_pattern")},
    )
    return config, named


def json_object(data: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AdapterError("adapter_invalid", f"{name} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise AdapterError("adapter_invalid", f"{name} must hold a JSON object.")
    return value


def _refuse_unsupported(raw: dict[str, Any]) -> None:
    if raw.get("peft_type") != "LORA":
        kind = str(raw.get("peft_type"))[:40]
        raise AdapterError("adapter_unsupported", f"Adapters of type {kind!r} are not supported, only LORA.")
    if raw.get("bias") not in (None, "none"):
        raise AdapterError(
            "adapter_unsupported", f"{CONFIG_FILE}: bias={str(raw['bias'])[:40]!r} is not supported, only 'none'."
        )
    for key in _MUST_BE_EMPTY:
        if raw.get(key):
            raise AdapterError("adapter_unsupported", f"{CONFIG_FILE}: {key} is set, which is not supported.")
    if raw.get("init_lora_weights", True) not in _PLAIN_INITS:
        raise AdapterError(
            "adapter_unsupported",
            f"{CONFIG_FILE}: init_lora_weights={str(raw['init_lora_weights'])[:40]!r} changes the base weights too; "
            "convert the adapter to plain LoRA with PEFT's path_initial_model_for_weight_conversion first.",
        )


def _number(value: object, key: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise AdapterError("adapter_invalid", f"{CONFIG_FILE}: {key} must be a number.")
    return float(value)


def _rank(value: object, key: str) -> int:
    rank = _number(value, key)
    if rank != int(rank) or not 1 <= rank <= MAX_RANK:
        raise AdapterError("adapter_invalid", f"{CONFIG_FILE}: {key} must be a whole number from 1 to {MAX_RANK}.")
    return int(rank)


def _pattern(raw: dict[str, Any], key: str) -> list[tuple[str, object]]:
    found = raw.get(key) or {}
    if not isinstance(found, dict):
        raise AdapterError("adapter_invalid", f"{CONFIG_FILE}: {key} must be an object of module names.")
    items = []
    for name, value in found.items():
        plain = name.removesuffix("$").replace("\\.", ".")
        if not _PATTERN_KEY.fullmatch(plain):
            raise AdapterError(
                "adapter_unsupported",
                f"{CONFIG_FILE}: {key} names {name[:80]!r}; only whole module names or their ends are supported.",
            )
        items.append((plain, value))
    return items


def _by_pattern(pattern: Pattern, name: str, default: float) -> float:
    """The value of the first key that is the module's name or ends it after a dot; "^" asks for the whole name."""
    if not pattern:
        return default
    parts = f"model.{name}".split(".")
    ends = {".".join(parts[start:]) for start in range(len(parts))} | {f"^model.{name}", f"^{name}"}
    return next((value for key, value in pattern.items() if key in ends), default)
