"""Where a family computes otherwise than Llama: Gemma and Phi-3."""

from __future__ import annotations

from dataclasses import dataclass

from serving.models.config_file import Fields, ModelError
from serving.models.rope_config import RopeConfig, read_rope

ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh")
GEMMA = ("gemma", "gemma2", "gemma3_text")


@dataclass(frozen=True, slots=True)
class Variant:
    """The values here are Llama's, which the native kernels compute."""

    activation: str = "silu"
    norm_offset: float = 0.0  # what norms add to their weight
    sandwich: bool = False  # norms behind attention and the MLP too
    embed_scale: float = 1.0
    query_scale: float = 1.0  # beyond the usual one
    attention_cap: float | None = None  # what scores and logits are bent under, softly
    logit_cap: float | None = None
    rotary_dim: int | None = None  # how many of a head's dimensions turn; None: all
    open_layers: frozenset[int] = frozenset()  # layers that see everything where the others have a window
    window_rope: RopeConfig | None = None  # of the layers with a window, where it is another


def read_variant(fields: Fields, family: str, head_dim: int) -> Variant:
    if family == "phi3":
        rope = fields.inner("rope_parameters") or fields.inner("rope_scaling") or fields
        share = rope.number("partial_rotary_factor", fields.number("partial_rotary_factor", 1.0))
        turned = int(head_dim * share)
        return Variant(rotary_dim=turned if turned < head_dim else None)
    return _gemma(fields, family, head_dim) if family in GEMMA else Variant()


def _gemma(fields: Fields, family: str, head_dim: int) -> Variant:
    if fields.flag("use_bidirectional_attention", False):
        raise ModelError(f"{fields.path}: use_bidirectional_attention is set, so it does not write text")
    first = family == "gemma"
    scalar = float(head_dim) if first else fields.number("query_pre_attn_scalar", 256)
    return Variant(
        activation=activation(fields, family),
        norm_offset=1.0,
        sandwich=not first,
        embed_scale=fields.whole("hidden_size") ** 0.5,
        query_scale=(head_dim / scalar) ** 0.5,
        attention_cap=_cap(fields, "attn_logit_softcapping", 50.0) if family == "gemma2" else None,
        logit_cap=_cap(fields, "final_logit_softcapping", 30.0 if family == "gemma2" else None),
        open_layers=frozenset() if first else _open_layers(fields, family),
        window_rope=_window_rope(fields) if family == "gemma3_text" else None,
    )


def activation(fields: Fields, family: str) -> str:
    name, default = "hidden_act", "silu"
    if family in GEMMA:
        name, default = ("hidden_act" if family == "gemma" else "hidden_activation"), "gelu_pytorch_tanh"
    found = str(fields.data.get(name) or default)
    if found not in ACTIVATIONS or (family not in GEMMA and found != "silu"):
        known = "silu is" if family not in GEMMA else f"{', '.join(ACTIVATIONS)} are"
        raise ModelError(f"{fields.path}: {name} {found!r} is not supported ({known})")
    return found


def full_rope(fields: Fields, family: str) -> RopeConfig:
    """Of the layers that see everything."""
    if family != "gemma3_text":
        return read_rope(fields)
    nested = fields.inner("rope_parameters")
    own = nested and nested.inner("full_attention")
    return read_rope(Fields({**fields.data, "rope_parameters": own and own.data}, fields.path), 1_000_000.0)


def _window_rope(fields: Fields) -> RopeConfig:
    nested = fields.inner("rope_parameters")
    own = nested and nested.inner("sliding_attention")
    theta = fields.number("rope_local_base_freq", 10000.0)
    parameters = own.data if own else {"rope_theta": theta, "rope_type": "default"}
    return read_rope(Fields({**fields.data, "rope_parameters": parameters}, fields.path))


def _open_layers(fields: Fields, family: str) -> frozenset[int]:
    kinds = fields.data.get("layer_types")
    count = fields.whole("num_hidden_layers")
    if isinstance(kinds, list):
        if len(kinds) != count or not set(kinds) <= {"sliding_attention", "full_attention"}:
            raise ModelError(f"{fields.path}: layer_types is not a kind of attention for each layer")
        return frozenset(i for i, kind in enumerate(kinds) if kind == "full_attention")
    every = 2 if family == "gemma2" else fields.whole("sliding_window_pattern", 6)
    return frozenset(i for i in range(count) if (i + 1) % every == 0)


def _cap(fields: Fields, name: str, default: float | None) -> float | None:
    return fields.maybe(name) if name in fields.data else default
