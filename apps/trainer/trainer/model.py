"""The frozen base: Llama-family weights, and the forward pass of a packed step that adds each job's adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import BaseModelError, open_base
from lora_py.quantized_base import Kind, quantize
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import embedding

from trainer.attention import attend
from trainer.errors import TrainerError
from trainer.frozen import Frozen, Quantized, Whole
from trainer.layers import HeadLoss, RmsNorm, Rotary, SwiGlu
from trainer.lora import Lora, Masks, Noise, targeted_shapes
from trainer.lora_linear import LoraLinear, LoraPart, LoraRows
from trainer.packing import Packed
from trainer.rope import rotary_table
from trainer.spec import AdapterSpec

HEAD_CHUNK = 256  # rows of logits that exist at one time

# The fused linears and the modules that lie in each, in the order of their output rows.
FUSED = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "o": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


@dataclass(frozen=True, slots=True)
class Linear:
    weight: Frozen
    bias: Tensor | None
    columns: Mapping[str, tuple[int, int]]  # module -> its output columns


@dataclass(frozen=True, slots=True)
class Layer:
    input_norm: Tensor
    mlp_norm: Tensor
    q_norm: Tensor | None
    k_norm: Tensor | None
    linears: Mapping[str, Linear]


@dataclass(frozen=True, slots=True)
class Trained:
    """One job's adapter in a step, with its dropout masks and noise (None: evaluation, or not asked for)."""

    lora: Lora
    masks: Masks | None = None
    noise: Noise | None = None


@dataclass(frozen=True, slots=True)
class Model:
    config: Mapping[str, Any]
    embeddings: Tensor
    head: Tensor
    norm: Tensor
    layers: tuple[Layer, ...]
    heads: int
    kv_heads: int
    head_dim: int
    eps: float
    max_length: int
    widest: int  # the widest input of any linear

    @property
    def notes(self) -> tuple[str, ...]:
        return ("bf16 products",) if self.layers[0].linears["qkv"].weight.dtype == torch.bfloat16 else ()

    def shapes(self, adapter: AdapterSpec) -> Mapping[str, tuple[int, int]]:
        return targeted_shapes(self.config, adapter.target_modules)

    def squares(self, name: str) -> Tensor:
        _, layer, module = name.split(".", 2)
        linear = next(one for one in self.layers[int(layer)].linears.values() if module in one.columns)
        return linear.weight.dense()[slice(*linear.columns[module])].float().square().sum(1)

    def losses(self, packed: Packed, jobs: Sequence[Trained], check: Callable[[], None] = lambda: None) -> Tensor:
        """Each loss token's share of its job's mean loss. `check` may raise between two layers to stop the step."""
        hidden = self.hidden(packed, jobs, check)
        losses: Tensor = HeadLoss.apply(hidden, self.head, packed.targets, packed.weights, HEAD_CHUNK)  # type: ignore[no-untyped-call]
        return losses

    def hidden(self, packed: Packed, jobs: Sequence[Trained], check: Callable[[], None] = lambda: None) -> Tensor:
        """[loss tokens, width]: what the head reads."""
        x = self._embed(packed, jobs)
        cos, sin = rotary_table(self.config, self.head_dim, packed.positions)
        cos, sin = cos.to(x.dtype)[:, None], sin.to(x.dtype)[:, None]
        spans = [(group.begin, group.end) for group in packed.groups]
        for index, layer in enumerate(self.layers):
            check()
            last = index == len(self.layers) - 1
            attended = self._attention(index, layer, x, cos, sin, packed, jobs, spans)
            if last:  # only the tokens that carry loss go on
                x, attended = x[packed.outputs], attended[packed.outputs]
                spans = [(group.loss_rows.start, group.loss_rows.stop) for group in packed.groups]
            x = x + adapted(attended, layer.linears["o"], index, spans, jobs)
            h = _norm(x, layer.mlp_norm, self.eps)
            both = adapted(h, layer.linears["gate_up"], index, spans, jobs)
            x = x + adapted(SwiGlu.apply(both), layer.linears["down"], index, spans, jobs)  # type: ignore[no-untyped-call]
        return _norm(x, self.norm, self.eps)

    def _embed(self, packed: Packed, jobs: Sequence[Trained]) -> Tensor:
        x = embedding(packed.ids, self.embeddings)
        if all(job.noise is None for job in jobs):
            return x
        own = [(x[group.begin : group.end], group, job) for group, job in zip(packed.groups, jobs, strict=True)]
        return torch.cat([rows if job.noise is None else job.noise.add(rows, g.lengths) for rows, g, job in own])

    def _attention(
        self,
        index: int,
        layer: Layer,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        packed: Packed,
        jobs: Sequence[Trained],
        spans: list[tuple[int, int]],
    ) -> Tensor:
        qkv = adapted(_norm(x, layer.input_norm, self.eps), layer.linears["qkv"], index, spans, jobs)
        heads = qkv.view(len(x), self.heads + 2 * self.kv_heads, self.head_dim)
        sizes = [self.heads, self.kv_heads, self.kv_heads]
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k, v = heads.split_with_sizes(sizes, 1)
            heads = torch.cat([_norm(q, layer.q_norm, self.eps), _norm(k, layer.k_norm, self.eps), v], 1)
        q, k, v = Rotary.apply(heads, cos, sin, sizes)  # type: ignore[no-untyped-call]
        return attend(q, k, v, packed.groups)


def load_model(
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
    product_dtype: torch.dtype | None = None,
    check: Callable[[], None] = lambda: None,
    quantized: Kind | None = None,
) -> Model:
    """`product_dtype`: what the linears of the layers are multiplied in, and kept in unless `quantized`. All else is
    `dtype`."""
    try:
        base = open_base(path)
    except BaseModelError as error:
        raise TrainerError("trainer_bad_spec", str(error)) from error
    config = base.config
    stored: dict[str, Tensor] = {}
    for file in base.weight_files:
        with safe_open(file, framework="pt") as tensors:
            stored.update({name: tensors.get_tensor(name) for name in tensors.keys()})  # noqa: SIM118 - not a dict

    def get(name: str) -> Tensor:
        check()
        if name not in stored:
            raise TrainerError("trainer_bad_spec", f"The base model at {path} has no tensor {name}.")
        return stored[name].to(device, dtype)

    heads = int(config["num_attention_heads"])
    embeddings = get("model.embed_tokens.weight")
    tied = bool(config.get("tie_word_embeddings", "lm_head.weight" not in stored))
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    return Model(
        config=config,
        embeddings=embeddings,
        head=embeddings if tied else get("lm_head.weight"),
        norm=get("model.norm.weight"),
        layers=tuple(
            _layer(i, stored, get, product_dtype or dtype, quantized) for i in range(int(config["num_hidden_layers"]))
        ),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
        eps=float(config["rms_norm_eps"]),
        max_length=min(int(config["max_position_embeddings"]), int(window or 10**9)),
        widest=max(int(config["intermediate_size"]), int(config["hidden_size"])),
    )


def _layer(
    index: int,
    stored: Mapping[str, Tensor],
    get: Callable[[str], Tensor],
    product_dtype: torch.dtype,
    quantized: Kind | None,
) -> Layer:
    prefix = f"model.layers.{index}."
    linears = {}
    for fused, modules in FUSED.items():
        weights = [get(f"{prefix}{module}.weight") for module in modules]
        biases = [get(f"{prefix}{m}.bias") if f"{prefix}{m}.bias" in stored else None for m in modules]
        columns, at = {}, 0
        for module, weight in zip(modules, weights, strict=True):
            columns[module] = (at, at + weight.shape[0])
            at += weight.shape[0]
        real = [weight.new_zeros(len(weight)) if b is None else b for weight, b in zip(weights, biases, strict=True)]
        bias = torch.cat(real) if any(b is not None for b in biases) else None
        if quantized is None:
            frozen: Frozen = Whole(torch.cat(weights).to(product_dtype))
        else:
            frozen = Quantized(tuple(quantize(weight, quantized) for weight in weights), product_dtype)
        linears[fused] = Linear(frozen, bias, columns)
    attention = f"{prefix}self_attn."
    own = {n: get(f"{attention}{n}.weight") for n in ("q_norm", "k_norm") if f"{attention}{n}.weight" in stored}
    return Layer(
        get(f"{prefix}input_layernorm.weight"),
        get(f"{prefix}post_attention_layernorm.weight"),
        own.get("q_norm"),
        own.get("k_norm"),
        linears,
    )


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    out: Tensor = RmsNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def adapted(x: Tensor, linear: Linear, layer: int, spans: Sequence[tuple[int, int]], jobs: Sequence[Trained]) -> Tensor:
    """The linear of `x`, to each span of whose rows its job adds its own adapter."""
    rows: list[LoraRows] = []
    tensors: list[Tensor] = []
    dense = linear.weight.dense() if any(job.lora.doras for job in jobs) else None
    for (begin, end), job in zip(spans, jobs, strict=True):
        parts = []
        targeted = {name: at for m, at in linear.columns.items() if (name := f"layers.{layer}.{m}") in job.lora.pairs}
        for name, (first, stop) in targeted.items():
            (a, b), dora, norm = job.lora.pairs[name], job.lora.doras.get(name), None
            tensors += (a, b)
            if dora is not None and dense is not None:
                norm = dora.norm(dense[first:stop], a, b, job.lora.scaling)
                tensors.append(dora.magnitude)
            parts.append(LoraPart(first, stop, job.lora.scaling, norm))
        if parts:
            keep = None if job.masks is None else job.masks.next(end - begin, x.shape[1])
            native = job.lora.adapters(tuple(targeted), [part.begin for part in parts])
            rows.append(LoraRows(begin, end, tuple(parts), keep, native if x.dtype == torch.float32 else None))
    y: Tensor = LoraLinear.apply(x, linear.weight, linear.bias, tuple(rows), *tensors)  # type: ignore[no-untyped-call]
    return y
