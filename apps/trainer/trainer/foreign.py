"""A base whose forward pass is transformers' own: the families that `model` does not write by hand.

Its linears are replaced by ours, so several jobs share a pass, a base may be quantized, and the adapter is the same
flat tensor; all else is transformers' forward and autograd's way back. A step is one table of rows, padded at their
ends, where nothing that carries loss can look. Slower than `model`: no shared prefix, and pads are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lora_py.base_model import LLAMA_FAMILY, BaseModel, BaseModelError, open_folder
from lora_py.quantized_base import Kind, quantize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from trainer.base import Base, Shapes
from trainer.errors import TrainerError
from trainer.foreign_families import architecture_of, own_names
from trainer.foreign_table import TableMasks, make_table
from trainer.frozen import Frozen, Quantized, Whole
from trainer.model import HEAD_CHUNK, Linear, Trained, adapted, load_model
from trainer.packing import Packed
from trainer.spec import AdapterSpec


@dataclass(slots=True)
class Pass:
    """What the linears must know of the pass that goes through them."""

    spans: Sequence[tuple[int, int]] = ()
    jobs: Sequence[Trained] = ()
    check: Callable[[], None] = field(default=lambda: None)


class AdaptedLinear(nn.Module):
    """Takes a linear's place in transformers' model."""

    def __init__(self, linear: Linear, layer: int, current: Pass) -> None:
        super().__init__()
        self._linear, self._layer, self._current = linear, layer, current

    def forward(self, x: Tensor) -> Tensor:
        y = adapted(x.flatten(0, -2), self._linear, self._layer, self._current.spans, self._current.jobs)
        return y.view(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class ForeignModel:
    architecture: str
    config: Mapping[str, Any]  # with transformers' defaults
    linears: Mapping[str, tuple[int, int]]
    weights: Mapping[str, Frozen]  # of the linears
    widest: int
    max_length: int
    notes: tuple[str, ...]
    _model: Any  # transformers' causal model
    _current: Pass

    def shapes(self, adapter: AdapterSpec) -> Shapes:
        names = own_names(self.architecture, adapter.target_modules)
        return {name: shape for name, shape in self.linears.items() if name.rsplit(".", 1)[1] in names}

    def squares(self, name: str) -> Tensor:
        return self.weights[name].dense().float().square().sum(1)

    def losses(self, packed: Packed, jobs: Sequence[Trained], check: Callable[[], None] = lambda: None) -> Tensor:
        hidden = self.hidden(packed, jobs, check)
        chunks = zip(torch.split(hidden, HEAD_CHUNK), torch.split(packed.targets, HEAD_CHUNK), strict=True)
        losses: list[Tensor] = [
            checkpoint(self._head_loss, rows, targets, use_reentrant=False, preserve_rng_state=False)
            for rows, targets in chunks
        ]
        return torch.cat(losses) * packed.weights

    def hidden(self, packed: Packed, jobs: Sequence[Trained], check: Callable[[], None] = lambda: None) -> Tensor:
        """[loss tokens, width]: what the head reads."""
        table = make_table(packed)
        x = self._embed(packed, jobs)[table.tokens]
        current = self._current
        groups = zip(jobs, packed.groups, table.own, strict=True)
        current.spans, current.check = table.spans, check
        current.jobs = [_tabled(job, group.end - group.begin, own) for job, group, own in groups]
        try:
            found = self._model.base_model(inputs_embeds=x, use_cache=False).last_hidden_state
        finally:
            current.spans, current.jobs, current.check = (), (), lambda: None
        rows: Tensor = found.flatten(0, 1)[table.outputs]
        return rows

    def logits(self, hidden: Tensor) -> Tensor:
        """As transformers' own causal model makes them of its last hidden state."""
        logits: Tensor = self._model.get_output_embeddings()(hidden).float()
        if scale := self.config.get("logits_scaling"):  # Granite
            logits = logits / scale
        if cap := self.config.get("final_logit_softcapping"):  # Gemma 2
            logits = torch.tanh(logits / cap) * cap
        return logits

    def _head_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(self.logits(hidden), targets, reduction="none")

    def _embed(self, packed: Packed, jobs: Sequence[Trained]) -> Tensor:
        x: Tensor = self._model.get_input_embeddings()(packed.ids)
        own = [(x[group.begin : group.end], group, job) for group, job in zip(packed.groups, jobs, strict=True)]
        return torch.cat([rows if job.noise is None else job.noise.add(rows, g.lengths) for rows, g, job in own])


def _tabled(job: Trained, packed: int, own: Tensor) -> Trained:
    return job if job.masks is None else replace(job, masks=TableMasks(job.masks, packed, own))


def load_base(
    path: Path,
    device: torch.device,
    product_dtype: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
    quantized: Kind | None = None,
) -> Base:
    """The base in the folder, by hand where we can and by transformers where we may. Raises TrainerError."""
    try:
        base = open_folder(path)
    except BaseModelError as error:
        raise TrainerError("trainer_bad_spec", str(error)) from error
    if base.config.get("model_type") in LLAMA_FAMILY:
        return load_model(path, device, torch.float32, product_dtype, check, quantized)
    return load_foreign(base, device, product_dtype, check, quantized)


def load_foreign(
    base: BaseModel,
    device: torch.device,
    product_dtype: torch.dtype = torch.float32,
    check: Callable[[], None] = lambda: None,
    quantized: Kind | None = None,
) -> ForeignModel:
    architecture = architecture_of(base)
    model = _transformers_model(base.path, architecture)
    current = Pass()
    linears: dict[str, tuple[int, int]] = {}
    weights: dict[str, Frozen] = {}
    for index, layer in enumerate(model.base_model.layers):
        layer.register_forward_pre_hook(lambda *_: current.check())
        for name, found in [pair for pair in layer.named_modules() if isinstance(pair[1], nn.Linear)]:
            check()
            whole = f"layers.{index}.{name}"
            linears[whole] = (found.out_features, found.in_features)
            weights[whole] = _frozen(found.weight.data.to(device), product_dtype, quantized)
            bias = None if found.bias is None else found.bias.data.to(device)
            linear = Linear(weights[whole], bias, {name: (0, found.out_features)})
            parent, _, child = name.rpartition(".")
            setattr(layer.get_submodule(parent), child, AdaptedLinear(linear, index, current))
    model.to(device)
    config = model.config.to_dict()
    return ForeignModel(
        architecture=architecture,
        config=config,
        linears=linears,
        weights=weights,
        widest=max(in_size for _, in_size in linears.values()),
        max_length=int(config["max_position_embeddings"]),
        notes=(
            *(["bf16 products"] if product_dtype == torch.bfloat16 else []),
            f"by transformers {version('transformers')}",
        ),
        _model=model,
        _current=current,
    )


def _frozen(weight: Tensor, product_dtype: torch.dtype, quantized: Kind | None) -> Frozen:
    if quantized is None:
        return Whole(weight.to(product_dtype))
    return Quantized((quantize(weight, quantized),), product_dtype)


def _transformers_model(path: Path, architecture: str) -> Any:
    import transformers  # seconds, and no business of the other families

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    made, info = getattr(transformers, architecture).from_pretrained(
        path, dtype=torch.float32, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if missing := sorted(info["missing_keys"]):
        raise TrainerError("trainer_bad_spec", f"The base model at {path} has no tensor {missing[0]}.")
    return made.eval().requires_grad_(False)
