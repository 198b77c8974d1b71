"""A base whose forward pass is transformers' own: the families that `model` does not write by hand.

Its linears are replaced by ours, so several jobs share a pass, a base may be quantized, and the adapter is the same
flat tensor; all else is transformers' forward and autograd's way back. A step is one table of rows, padded at their
ends, where nothing that carries loss can look. Slower than `model`: no shared prefix, and pads are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from trainer.base import Shapes
from trainer.foreign_families import own_names
from trainer.foreign_table import TableMasks, make_table
from trainer.frozen import Frozen
from trainer.model import HEAD_CHUNK, Linear, Trained, adapted
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
