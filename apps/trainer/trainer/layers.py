"""The differentiable pieces of a step over a frozen base. Each has its gradient written out: no gradient of a base
weight is ever formed, and little is kept for the way back. On the CPU the elementwise ones are native kernels where
there are any: a dozen of torch's small operations take longer than what they compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from trainer import native
from trainer.frozen import product, product_back


class RmsNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        if native.fits(x, weight):
            out, rstd = native.rms_norm(x, weight, eps)
            ctx.save_for_backward(x, weight, rstd)
            return out
        wide = x.float()
        rstd = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(eps))
        ctx.save_for_backward(x, weight, rstd)
        return (wide * rstd).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None]:
        if not ctx.needs_input_grad[0]:
            return None, None, None
        x, weight, rstd = ctx.saved_tensors
        if native.fits(dy, x, weight):
            return native.rms_norm_back(dy, x, weight, rstd), None, None
        normal = x.float().mul(rstd)
        dn = (dy * weight).float()
        mean = (dn * normal).mean(-1, keepdim=True)
        return dn.sub_(normal.mul_(mean)).mul_(rstd).to(x.dtype), None, None


class Rotary(Function):
    """Parts the fused [q | k | v] heads and turns the two halves of q's and k's by their position; the way back turns
    the other way. As one function, the three gradients land in one tensor instead of being padded and added."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        ctx.sizes = sizes
        if native.fits(heads, cos, sin):
            return native.rotary(heads, cos, sin, sizes[0], sizes[1])
        q, k, v = heads.split_with_sizes(sizes, 1)
        return _rotate(q, cos, sin, torch.empty_like(q)), _rotate(k, cos, sin, torch.empty_like(k)), v.contiguous()

    @staticmethod
    def backward(ctx: Any, dq: Tensor, dk: Tensor, dv: Tensor) -> tuple[Tensor, None, None, None]:
        cos, sin = ctx.saved_tensors
        if native.fits(dq, dk, dv, cos, sin):
            return native.rotary_back(dq, dk, dv, cos, sin), None, None, None
        out = dq.new_empty(dq.shape[0], sum(ctx.sizes), dq.shape[2])
        q, k, v = out.split_with_sizes(ctx.sizes, 1)
        _rotate(dq, cos, -sin, q)
        _rotate(dk, cos, -sin, k)
        v.copy_(dv)
        return out, None, None, None


class Pad(Function):
    """Packed rows into a table, pads repeating token 0. No gradient comes to a pad, as nothing looks at it, so the way
    back is a plain selection."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, padded: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(valid)
        return x[padded]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        (valid,) = ctx.saved_tensors
        return dy.flatten(0, 1)[valid], None, None


class Unpad(Function):
    """The tokens of a table, packed again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, valid: Tensor) -> Tensor:
        ctx.save_for_backward(valid)
        ctx.shape = x.shape
        return x.flatten(0, 1)[valid]

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (valid,) = ctx.saved_tensors
        out = dy.new_zeros(ctx.shape)
        out.flatten(0, 1).index_copy_(0, valid, dy)
        return out, None


class SwiGlu(Function):
    """silu(gate) * up, from the fused [gate | up] linear."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:
        ctx.save_for_backward(both)
        if native.fits(both):
            return native.swiglu(both)
        gate, up = both.chunk(2, -1)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (both,) = ctx.saved_tensors
        if native.fits(dy, both):
            return native.swiglu_back(dy, both)
        gate, up = both.chunk(2, -1)
        out = torch.empty_like(both)
        dgate, dup = out.chunk(2, -1)
        torch.mul(dy, torch.nn.functional.silu(gate), out=dup)
        torch.ops.aten.silu_backward.grad_input(dy * up, gate, grad_input=dgate)
        return out


class HeadLoss(Function):
    """Cross-entropy of each row under the frozen head, in chunks: the full table of logits never exists. The rows'
    gradient is found on the way forward, while their logits are at hand; `weights` are the rows' shares of the loss."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, head: Tensor, targets: Tensor, weights: Tensor, chunk: int) -> Tensor:
        losses = torch.empty(x.shape[0], dtype=torch.float32, device=x.device)
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        for begin in range(0, x.shape[0], chunk):
            rows = slice(begin, begin + chunk)
            logits = product(x[rows], head).float()
            _cross_entropy(logits, targets[rows], weights[rows], losses[rows], dx is not None)
            if dx is not None:
                dx[rows] = product_back(logits.to(x.dtype), head)
        ctx.dx = dx
        return losses

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, None, None, None, None]:
        # the losses are only ever summed, so dy is a vector of ones, or of one factor per row
        return (ctx.dx * dy[:, None].to(ctx.dx.dtype), None, None, None, None)


def _cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor, losses: Tensor, slope: bool) -> None:
    """As `native.cross_entropy`, wherever the tensors are."""
    if native.fits(logits, weights):
        native.cross_entropy(logits, targets, weights, losses, slope)
        return
    total, index = logits.logsumexp(-1, keepdim=True), targets[:, None]
    torch.mul((total - logits.gather(1, index)).squeeze(1), weights, out=losses)
    if slope:
        logits.sub_(total).exp_().scatter_add_(1, index, logits.new_full(index.shape, -1.0)).mul_(weights[:, None])


def _rotate(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    low, high = x[..., :half], x[..., half:]
    torch.mul(low, cos, out=out[..., :half])
    torch.mul(high, cos, out=out[..., half:])
    out[..., :half].addcmul_(high, sin, value=-1)
    out[..., half:].addcmul_(low, sin)
    return out
