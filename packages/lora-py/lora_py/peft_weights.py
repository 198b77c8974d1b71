"""The linears an adapter may touch, and the tensors of an adapter file, checked one by one."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

WEIGHTS_FILE = "adapter_model.safetensors"
HEADER_LIMIT = 8 << 20
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

MODULE_PARENTS = {
    "q_proj": "self_attn",
    "k_proj": "self_attn",
    "v_proj": "self_attn",
    "o_proj": "self_attn",
    "gate_proj": "mlp",
    "up_proj": "mlp",
    "down_proj": "mlp",
}
# Linears that some bases (Phi-3) keep end to end in one: PEFT adapts such a one as a whole.
FUSED_MODULES = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
_PARENTS = MODULE_PARENTS | {fused: MODULE_PARENTS[parts[0]] for fused, parts in FUSED_MODULES.items()}
PromptFormat = Literal["raw", "chat"]
AdapterErrorCode = Literal["adapter_not_found", "adapter_invalid", "adapter_unsupported", "adapter_modules_mismatch"]
Weights = dict[str, tuple[Tensor, Tensor]]

_KEY = re.compile(
    r"base_model\.model\.(?:model\.)?(layers\.(?:0|[1-9]\d{0,4})\.(?:self_attn|mlp)\.\w+)\.lora_(A|B)\.weight"
)


class AdapterError(Exception):
    """An adapter that will not be used, with the reason for its owner."""

    def __init__(self, code: AdapterErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: AdapterErrorCode = code
        self.message = message


def module_shapes(base_config: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Every linear an adapter may touch in a base of Llama's layout (Phi-3's as it fuses them): (out, in)."""
    hidden, heads = int(base_config["hidden_size"]), int(base_config["num_attention_heads"])
    head_dim = int(base_config.get("head_dim") or hidden // heads)
    kv = int(base_config.get("num_key_value_heads") or heads) * head_dim
    inner = int(base_config["intermediate_size"])
    sizes = {
        "q_proj": (heads * head_dim, hidden),
        "k_proj": (kv, hidden),
        "v_proj": (kv, hidden),
        "o_proj": (hidden, heads * head_dim),
        "gate_proj": (inner, hidden),
        "up_proj": (inner, hidden),
        "down_proj": (hidden, inner),
    }
    if base_config.get("model_type") == "phi3":
        for fused, parts in FUSED_MODULES.items():
            sizes[fused] = (sum(sizes.pop(part)[0] for part in parts), hidden)
    layers = range(int(base_config["num_hidden_layers"]))
    return {f"layers.{i}.{_PARENTS[name]}.{name}": size for i in layers for name, size in sizes.items()}


def unfused(weights: Weights, base_config: Mapping[str, Any]) -> tuple[Weights, dict[str, str]]:
    """The same adapter on the seven linears alone, and the names of the fused ones that some of its pairs come from:
    the product of a part of B's rows is that part of the product."""
    shapes = module_shapes({**base_config, "model_type": "llama"})
    found: Weights = {}
    origins: dict[str, str] = {}
    for name, (a, b) in weights.items():
        layer, module = name.rsplit(".", 1)
        parts = [f"{layer}.{part}" for part in FUSED_MODULES.get(module, (module,))]
        rows = torch.split(b, [shapes[part][0] for part in parts])
        found |= {part: (a, own) for part, own in zip(parts, rows, strict=True)}
        origins |= dict.fromkeys(parts, name) if len(parts) > 1 else {}
    return found, origins


def parted_names(modules: Iterable[str]) -> tuple[str, ...]:
    """Among the seven names: a fused linear is all of its parts."""
    return tuple(sorted({part for module in modules for part in FUSED_MODULES.get(module, (module,))}))


def parse_weights(data: bytes, rank_of: Callable[[str], int]) -> Weights:
    """rank_of: the rank that a module must have, by its name."""
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE} has a header of more than {HEADER_LIMIT} bytes.")
    try:
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE} is not a readable safetensors file: {error}") from error
    halves: dict[str, dict[str, Tensor]] = {}
    strange = []
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match and _PARENTS.get(match[1].rsplit(".", 1)[1]) == match[1].split(".")[2]:
            halves.setdefault(match[1], {})[match[2]] = tensor
        else:
            strange.append(key)
    if strange:
        raise AdapterError(
            "adapter_modules_mismatch", f"{WEIGHTS_FILE} holds tensors we cannot place: {name_some(strange)}."
        )
    if not halves:
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE} holds no LoRA weights.")
    found = {name: _pair(name, halves[name], rank_of(name)) for name in sorted(halves, key=_layer_order)}
    if not _finite_at_a_glance(data, tensors):
        _refuse_not_finite(found)
    return found


def _finite_at_a_glance(data: bytes, tensors: Mapping[str, Tensor]) -> bool:
    """One sum over a file of one type, as most are. It is not finite wherever one of its terms is not."""
    dtype = next(iter(tensors.values())).dtype
    start = 8 + int.from_bytes(data[:8], "little")
    if any(tensor.dtype != dtype for tensor in tensors.values()) or start % dtype.itemsize:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nobody writes to these bytes
        whole = torch.frombuffer(data, dtype=dtype, offset=start)
    return bool(torch.isfinite(whole.sum(dtype=torch.float32 if dtype.itemsize < 4 else dtype)))


def _pair(name: str, half: dict[str, Tensor], rank: int) -> tuple[Tensor, Tensor]:
    if set(half) != {"A", "B"}:
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE}: {name} has lora_{next(iter(half))} only.")
    a, b = half["A"], half["B"]
    if a.dim() != 2 or b.dim() != 2 or a.shape[0] != rank or b.shape[1] != rank:
        shapes = f"{tuple(a.shape)} and {tuple(b.shape)}"
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE}: {name} has shapes {shapes}, which do not fit r={rank}.")
    if a.dtype not in FLOATS or b.dtype not in FLOATS:
        raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE}: {name} is not made of floating-point numbers.")
    return a.float(), b.float()


def _refuse_not_finite(weights: Weights) -> None:
    # A sum is not finite wherever one of its terms is not: one cheap pass, and a second look where that fails.
    sums = torch.stack([half.sum() for pair in weights.values() for half in pair])
    if torch.isfinite(sums).all():
        return
    for name, pair in weights.items():
        if not all(torch.isfinite(half).all() for half in pair):
            raise AdapterError("adapter_invalid", f"{WEIGHTS_FILE}: {name} holds numbers that are not finite.")


def _layer_order(name: str) -> tuple[int, str]:
    return int(name.split(".")[1]), name


def name_some(names: list[str]) -> str:
    shown = ", ".join(name[:120] for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
