"""The native kernels of a step against the same written in torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trainer import native
from trainer.frozen import Whole
from trainer.layers import HeadLoss, RmsNorm, Rotary, SwiGlu
from trainer.lora_linear import LoraLinear, LoraPart, LoraRows

pytestmark = pytest.mark.skipif(not native.fits(torch.zeros(1)), reason="there is no compiler here")
Pairs = list[tuple[Tensor, Tensor]]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def both_ways(monkeypatch: pytest.MonkeyPatch, act: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> None:
    """Outputs and the gradient of x, with the kernels and without."""
    found = []
    for kernels in (True, False):
        if not kernels:
            monkeypatch.setattr(native, "fits", lambda *_: False)
        leaf = x.clone().requires_grad_()
        outs = act(leaf)
        torch.autograd.backward(outs, [random(*out.shape, seed=7) for out in outs])
        assert leaf.grad is not None
        found.append([*outs, leaf.grad])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(1, 16), (3, 37), (246, 576), (5, 4, 64), (9, 5)])
def test_the_norm(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]) -> None:
    weight = random(shape[-1], seed=1)
    both_ways(monkeypatch, lambda x: (RmsNorm.apply(x, weight, 1e-5),), random(*shape))


@pytest.mark.parametrize(("rows", "width"), [(1, 16), (7, 37), (246, 1536)])
def test_swiglu_where_gates_are_far_out_too(monkeypatch: pytest.MonkeyPatch, rows: int, width: int) -> None:
    both = random(rows, 2 * width) * 4
    both[0, :4] = torch.tensor([-200.0, 200.0, -90.0, 0.0])
    both_ways(monkeypatch, lambda x: (SwiGlu.apply(x),), both)


@pytest.mark.parametrize(("rows", "q_heads", "kv_heads", "dim"), [(1, 1, 1, 4), (7, 3, 1, 10), (246, 9, 3, 64)])
def test_the_rotation(monkeypatch: pytest.MonkeyPatch, rows: int, q_heads: int, kv_heads: int, dim: int) -> None:
    angles = random(rows, 1, dim // 2, seed=2)
    sizes = [q_heads, kv_heads, kv_heads]
    heads = random(rows, sum(sizes), dim)
    both_ways(monkeypatch, lambda x: Rotary.apply(x, angles.cos(), angles.sin(), sizes), heads)


PRODUCTS = [torch.float32, *([torch.bfloat16] if native.multiplies(random(1, 32), random(32, 32).bfloat16()) else [])]


@pytest.mark.parametrize("rows", [1, 11, 12, 16, 17, 32, 45, 300])
@pytest.mark.parametrize(("out", "inputs"), [(32, 32), (960, 576), (64, 1056), (33, 7), (1, 300), (260, 37)])
def test_products_with_a_frozen_weight_both_ways(rows: int, out: int, inputs: int) -> None:
    x, dy = random(rows, inputs), random(rows, out, seed=1)
    for dtype in PRODUCTS:
        weight = random(out, inputs, seed=2).to(dtype)
        if dtype == torch.bfloat16 and not native.multiplies(x, weight):
            continue  # widths that are not whole tiles
        wide = weight.double()
        for found, left, right in (
            (native.product(x, weight), x.to(dtype).double(), wide.t()),
            (native.product_back(dy, weight), dy.to(dtype).double(), wide),
        ):
            assert bool(((found - left @ right).abs() <= 1e-6 * (left.abs() @ right.abs())).all())


@pytest.mark.parametrize("dtype", PRODUCTS)
@pytest.mark.parametrize(("begin", "end"), [(0, 1), (3, 9), (5, 40), (64, 100), (1, 100)])
def test_a_rows_product_is_the_same_to_the_bit_whatever_stands_beside_it(
    dtype: torch.dtype, begin: int, end: int
) -> None:
    weight = random(96, 576).to(dtype)
    x, dy = random(100, 576), random(100, 96)
    assert torch.equal(native.product(x[begin:end], weight), native.product(x, weight)[begin:end])
    assert torch.equal(native.product_back(dy[begin:end], weight), native.product_back(dy, weight)[begin:end])


def test_a_weight_that_the_kernels_cannot_take_goes_through_torch() -> None:
    x = random(2, 48)
    assert not native.multiplies(x, random(48, 8).t())  # not as it lies in memory
    assert not native.multiplies(x, random(8, 48).half())
    assert not native.multiplies(x, random(8, 48).bfloat16())  # no whole tile
    assert not native.multiplies(x.double(), random(8, 48))


@pytest.mark.parametrize(("rows", "vocabulary"), [(1, 260), (7, 49_152), (40, 37), (2, 5)])
def test_the_head_and_its_loss(monkeypatch: pytest.MonkeyPatch, rows: int, vocabulary: int) -> None:
    head, weights = random(vocabulary, 24, seed=1), random(rows, seed=2).abs()
    targets = torch.arange(rows) * 7 % vocabulary
    both_ways(monkeypatch, lambda x: (HeadLoss.apply(x, head, targets, weights, 16),), random(rows, 24))


def pairs_of(rank: int, inputs: int, outs: list[int]) -> Pairs:
    made = []
    for i, out in enumerate(outs):
        a, b = random(rank, inputs, seed=10 + i).requires_grad_(), random(out, rank, seed=20 + i).requires_grad_()
        a.grad, b.grad = random(rank, inputs, seed=30), random(out, rank, seed=40)  # what an earlier pass left
        made.append((a, b))
    return made


def linear(
    x: Tensor, dy: Tensor, outs: list[int], jobs: list[tuple[int, int, Pairs, Tensor | None]], kernels: bool
) -> tuple[Tensor, ...]:
    """Each job (begin, end, pairs, mask) on its rows of x: the output, the gradients of x and of every A and B."""
    weight = random(sum(outs), x.shape[1], seed=3)
    begins = [sum(outs[:i]) for i in range(len(outs))]
    parts = tuple(LoraPart(begin, begin + out, 0.7) for begin, out in zip(begins, outs, strict=True))
    rows = []
    for begin, end, pairs, keep in jobs:
        assert native.Adapters.fit(pairs)
        rows.append(LoraRows(begin, end, parts, keep, native.Adapters(pairs, begins, 0.7) if kernels else None))
    leaf = x.clone().requires_grad_()
    tensors = [tensor for _, _, pairs, _ in jobs for pair in pairs for tensor in pair]
    y = LoraLinear.apply(leaf, Whole(weight), None, tuple(rows), *tensors)
    y.backward(dy)
    grads = [tensor.grad.clone() for tensor in tensors if tensor.grad is not None]
    assert leaf.grad is not None and len(grads) == len(tensors)
    return (y.detach(), leaf.grad, *grads)


@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize(
    ("rank", "rows", "inputs", "outs"),
    [(1, 1, 16, [16]), (8, 45, 64, [64, 32, 32]), (11, 70, 37, [19, 48, 5]), (64, 33, 576, [960]), (256, 3, 32, [40])],
)
def test_adapters_of_any_rank_and_width(rank: int, rows: int, inputs: int, outs: list[int], dropped: bool) -> None:
    x, dy = random(rows, inputs), random(rows, sum(outs), seed=5)
    keep = (random(rows, inputs, seed=9) > 0).float() * 2 if dropped else None
    ours, plain = (
        linear(x, dy, outs, [(0, rows, pairs_of(rank, inputs, outs), keep)], kernels) for kernels in (True, False)
    )
    for own, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_a_jobs_gradient_is_the_same_to_the_bit_whoever_shares_its_step() -> None:
    outs = [64, 32]
    x, dy = random(90, 64), random(90, sum(outs), seed=5)
    alone = linear(x[50:], dy[50:], outs, [(0, 40, pairs_of(8, 64, outs), None)], kernels=True)
    jobs = [(0, 50, pairs_of(4, 64, outs), None), (50, 90, pairs_of(8, 64, outs), None)]
    shared = linear(x, dy, outs, jobs, kernels=True)
    assert len(alone) == 6
    for own, other in zip(alone[2:], shared[6:], strict=True):
        assert torch.equal(own, other)


def test_an_adapter_that_the_kernels_cannot_take_goes_through_torch() -> None:
    (a, b), other = pairs_of(8, 16, [16])[0], pairs_of(4, 16, [16])[0]
    assert not native.Adapters.fit([(a, b), other])  # two ranks
    assert not native.Adapters.fit([(a.detach().double().requires_grad_(), b)])
    a.grad = None
    assert not native.Adapters.fit([(a, b)])
