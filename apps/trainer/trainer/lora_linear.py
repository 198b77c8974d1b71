"""A frozen linear to whose rows each job adds its own adapter, LoRA or DoRA, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from trainer import native
from trainer.frozen import Frozen, product, product_back


@dataclass(frozen=True, slots=True)
class LoraPart:
    """One module's share of a fused linear: the output columns it owns."""

    begin: int
    end: int
    scaling: float
    norm: Tensor | None = None  # of DoRA: the length of each output's weights, adapter included


@dataclass(frozen=True, slots=True)
class LoraRows:
    """The rows of one job: which they are, its modules in this linear, and its dropout mask. All of its modules are
    DoRA's, with A, B and a magnitude each, or none is."""

    begin: int
    end: int
    parts: tuple[LoraPart, ...]
    keep: Tensor | None  # [rows, in], already divided by the keep probability
    native: native.Adapters | None = None  # adds to the gradients of A and B itself

    @property
    def dora(self) -> bool:
        return self.parts[0].norm is not None

    @property
    def tensors(self) -> int:
        return len(self.parts) * (3 if self.dora else 2)

    def of(self, x: Tensor) -> Tensor:
        rows = x[self.begin : self.end]
        return rows if self.keep is None else rows * self.keep


@dataclass(frozen=True, slots=True)
class Own:
    """One job's tensors in a linear, module by module."""

    a: tuple[Tensor, ...]
    b: tuple[Tensor, ...]
    magnitude: tuple[Tensor, ...]  # of DoRA alone
    columns: tuple[slice, ...]  # where each module's rank lies in the stacked A

    def stacked(self, dtype: torch.dtype) -> Tensor:
        return torch.cat(self.a).to(dtype)


class LoraLinear(Function):
    """x @ weight^T + bias, to which each job's rows add their own scaling * dropped(x) @ A^T @ B^T. Under DoRA that sum
    is brought to the magnitude of each output: see `_add_dora`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Frozen, bias: Tensor | None, jobs: tuple[LoraRows, ...], *adapters: Tensor
    ) -> Tensor:
        dense = weight.dense()
        y = product(x, dense)
        if bias is not None:
            y += bias
        hidden: list[Tensor] = []
        sums: list[Tensor] = []
        for job, own in _each(jobs, adapters):
            if job.native is not None:
                hidden.append(job.native.add(job.of(x).contiguous(), y[job.begin : job.end]))
                continue
            h = job.of(x) @ own.stacked(x.dtype).t()
            if job.dora:
                base = None if job.keep is None else product(job.of(x), dense)
                sums += _add_dora(y, job, own, h, bias, base)
            else:
                _add_lora(y, job, own, h)
            hidden.append(h)
        ctx.save_for_backward(x, *hidden, *sums, *adapters)
        ctx.jobs, ctx.weight = jobs, weight
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        jobs: tuple[LoraRows, ...] = ctx.jobs
        x, *rest = ctx.saved_tensors
        hidden, rest = rest[: len(jobs)], rest[len(jobs) :]
        count = sum(len(job.parts) for job in jobs if job.dora)
        sums, each = rest[:count], _each(jobs, rest[count:])
        grads: list[Tensor | None] = []
        inner: list[Tensor | None] = []  # each job's gradient of h, but for those that go through the kernels
        scaled: list[Tensor | None] = []  # what DoRA adds to the gradient of the base's outputs
        for (job, own), h in zip(each, hidden, strict=True):
            if job.native is not None:
                grads += [None] * job.tensors
                inner.append(None)
                scaled.append(None)
                continue
            if job.dora:
                mine, sums = sums[: len(job.parts)], sums[len(job.parts) :]
                dh, db, dmagnitude, dbase = _dora_back(dy, job, own, h, mine)
            else:
                (dh, db), dmagnitude, dbase = _lora_back(dy, job, own, h), [], None
            da = (dh.t() @ job.of(x)).to(own.a[0].dtype)
            for at, column in enumerate(own.columns):
                grads += [da[column], db[at], *dmagnitude[at : at + 1]]
            inner.append(dh)
            scaled.append(dbase)
        dx = _input_grad(ctx.weight.dense(), x, dy, each, inner, scaled) if ctx.needs_input_grad[0] else None
        for (job, _), h in zip(each, hidden, strict=True):
            if job.native is not None:
                _native_back(job, job.native, x, dy, h, dx)
        return (dx, None, None, None, *grads)


def _native_back(job: LoraRows, adapters: native.Adapters, x: Tensor, dy: Tensor, h: Tensor, dx: Tensor | None) -> None:
    rows, own = job.of(x).contiguous(), dy[job.begin : job.end].contiguous()
    into = None if dx is None else dx[job.begin : job.end]
    if into is None or job.keep is None:
        adapters.back(own, rows, h, into)
    else:
        dropped = torch.zeros_like(into)
        adapters.back(own, rows, h, dropped)
        into.addcmul_(dropped, job.keep)


def _add_lora(y: Tensor, job: LoraRows, own: Own, h: Tensor) -> None:
    for part, column, b in zip(job.parts, own.columns, own.b, strict=True):
        out = y[job.begin : job.end, part.begin : part.end]
        out.addmm_(h[:, column], b.to(h.dtype).t(), alpha=part.scaling)


def _add_dora(
    y: Tensor, job: LoraRows, own: Own, h: Tensor, bias: Tensor | None, dropped: Tensor | None
) -> list[Tensor]:
    """y + magnitude / norm * (base + LoRA) - base, where base is without bias and, as in PEFT, of the dropped input.
    Gives back what the magnitudes scale."""
    sums = []
    for part, column, b, magnitude in zip(job.parts, own.columns, own.b, own.magnitude, strict=True):
        columns = slice(part.begin, part.end)
        out = y[job.begin : job.end, columns]
        base = out if bias is None else out - bias[columns]
        base = base if dropped is None else dropped[:, columns]
        both = torch.addmm(base, h[:, column], b.to(h.dtype).t(), alpha=part.scaling)
        out.add_((both * (magnitude / _norm(part))).sub_(base))
        sums.append(both)
    return sums


def _lora_back(dy: Tensor, job: LoraRows, own: Own, h: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The gradients of h and of each B."""
    dh, db = torch.empty_like(h), []
    for part, column, b in zip(job.parts, own.columns, own.b, strict=True):
        dpart = dy[job.begin : job.end, part.begin : part.end]
        dh[:, column] = (dpart @ b.to(h.dtype)).mul_(part.scaling)
        db.append((dpart.t() @ h[:, column]).mul_(part.scaling).to(b.dtype))
    return dh, db


def _dora_back(
    dy: Tensor, job: LoraRows, own: Own, h: Tensor, sums: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor]:
    """The gradients of h, of each B and magnitude, and what comes to the base's outputs beside dy. The norm is a
    constant, as in PEFT."""
    dh, db, dmagnitude = torch.empty_like(h), [], []
    dbase = dy.new_zeros(job.end - job.begin, dy.shape[1])
    for i, (part, column, b) in enumerate(zip(job.parts, own.columns, own.b, strict=True)):
        dpart = dy[job.begin : job.end, part.begin : part.end]
        magnitude = own.magnitude[i]
        dboth = dpart * (magnitude / _norm(part))
        dh[:, column] = (dboth @ b.to(h.dtype)).mul_(part.scaling)
        db.append((dboth.t() @ h[:, column]).mul_(part.scaling).to(b.dtype))
        dmagnitude.append((dpart * sums[i]).sum(0).div_(_norm(part)).to(magnitude.dtype))
        torch.sub(dboth, dpart, out=dbase[:, part.begin : part.end])
    return dh, db, dmagnitude, dbase


def _input_grad(
    dense: Tensor,
    x: Tensor,
    dy: Tensor,
    each: list[tuple[LoraRows, Own]],
    inner: list[Tensor | None],
    scaled: list[Tensor | None],
) -> Tensor:
    if any(dbase is not None and job.keep is None for (job, _), dbase in zip(each, scaled, strict=True)):
        dy = dy.clone()
        for (job, _), dbase in zip(each, scaled, strict=True):
            if dbase is not None and job.keep is None:
                dy[job.begin : job.end] += dbase
    dx = product_back(dy, dense)
    for (job, own), dh, dbase in zip(each, inner, scaled, strict=True):
        if dh is None:
            continue
        rows, a = dx[job.begin : job.end], own.stacked(x.dtype)
        if job.keep is None:
            rows.addmm_(dh, a)
        else:
            dropped = dh @ a
            rows.addcmul_(dropped if dbase is None else dropped.add_(product_back(dbase, dense)), job.keep)
    return dx


def _norm(part: LoraPart) -> Tensor:
    assert part.norm is not None
    return part.norm


def _each(jobs: tuple[LoraRows, ...], adapters: Sequence[Tensor]) -> list[tuple[LoraRows, Own]]:
    """Each job with its own tensors, out of the flat list that autograd needs."""
    found, at = [], 0
    for job in jobs:
        mine, step = tuple(adapters[at : at + job.tensors]), 3 if job.dora else 2
        ranks = [a.shape[0] for a in mine[0::step]]
        ends = [sum(ranks[: i + 1]) for i in range(len(ranks))]
        columns = tuple(slice(end - rank, end) for rank, end in zip(ranks, ends, strict=True))
        found.append((job, Own(mine[0::step], mine[1::step], mine[2::step] if job.dora else (), columns)))
        at += job.tensors
    return found
